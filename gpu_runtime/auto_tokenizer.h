#pragma once

// AutoTokenizer: a handle on a folder's tokenizer, as in transformers. Reads nothing before the
// first use; handles on one folder share what is read. Thread-safe. Adds its time to the thread's
// CallScope.
#include <c10/core/Device.h>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "gpu_runtime/export.h"
#include "gpu_runtime/model_store.h"
#include "gpu_runtime/resident_model.h"
#include "gpu_runtime/tokenizer.h"

namespace gpumcp::gpu_runtime {

// Tokenized texts on their way to a model, one row a text, not padded. A value.
class GPUMCP_RUNTIME_API BatchEncoding {
 public:
  explicit BatchEncoding(std::vector<Encoding> rows) : rows_(std::move(rows)) {}

  // As in Python. The ids travel to the device inside the batch that runs them, so nothing is
  // copied here.
  BatchEncoding to(c10::Device) && { return std::move(*this); }
  BatchEncoding to(c10::Device) const& { return *this; }

  std::size_t size() const { return rows_.size(); }
  const Encoding& operator[](std::size_t row) const { return rows_.at(row); }
  const std::vector<Encoding>& rows() const { return rows_; }
  std::vector<TokenRow> token_rows() const;

 private:
  std::vector<Encoding> rows_;
};

class GPUMCP_RUNTIME_API AutoTokenizer {
 public:
  static AutoTokenizer from_pretrained(const ModelPath& path, Runtime* runtime = nullptr);

  // Texts longer than the model takes are cut (usage says how many) unless options.max_length says
  // otherwise.
  BatchEncoding operator()(const std::string& text, const EncodeOptions& options = {}) const;
  BatchEncoding operator()(std::span<const std::string> texts,
                           const EncodeOptions& options = {}) const;
  std::string decode(std::span<const std::int32_t> ids, bool skip_special_tokens = true) const;

  // Messages to the text that the model was trained on, as in transformers. It has its special
  // tokens already: tokenize it with add_special_tokens = false. Error(unsupported) for a model
  // without a chat template; see template/chat_template.h.
  std::string apply_chat_template(const OrderedJson& messages,
                                  const ChatTemplateOptions& options = {}) const {
    return chat_template().render(messages, options);
  }
  const ChatTemplate& chat_template() const { return model_->chat_template(); }

  // The smaller of the tokenizer's own limit and the model's positions; nothing when neither is
  // known.
  std::optional<std::size_t> max_length() const;
  const Tokenizer& tokenizer() const { return model_->tokenizer(); }

 private:
  explicit AutoTokenizer(std::shared_ptr<ResidentModel> model) : model_(std::move(model)) {}
  std::shared_ptr<ResidentModel> model_;
};

// Tokenizes, and adds time and truncations to the thread's usage. Error(cancelled, deadline) as the
// scope's limits say.
GPUMCP_RUNTIME_API std::vector<Encoding> tokenize(const Tokenizer& tokenizer,
                                                  std::span<const std::string> texts,
                                                  const EncodeOptions& options);

// Each text behind the same first one, as a model that reads pairs takes them.
GPUMCP_RUNTIME_API std::vector<Encoding> tokenize_pairs(const Tokenizer& tokenizer,
                                                        const std::string& first,
                                                        std::span<const std::string> texts,
                                                        const EncodeOptions& options);

// The limit as AutoTokenizer::max_length has it.
std::optional<std::size_t> model_max_length(ResidentModel& model);

TokenRow to_token_row(const Encoding& encoding);

}  // namespace gpumcp::gpu_runtime
