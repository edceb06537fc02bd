// The built-in interface "interpretability": what goes on inside a causal language model, read and
// changed. One file an exposed function or small family; this one holds what they share. Everything
// runs as rows of the model's ordinary batches (gpu_runtime/taps.h), so many agents' experiments
// and other calls share them. A Subject is made once, copied into each function, and used by any
// number of threads at once.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "gpu_runtime/taps.h"
#include "interfaces/adapter.h"
#include "interfaces/chat_message.h"
#include "interfaces/interface.h"
#include "interfaces/steering.h"

namespace gpumcp::interfaces {

struct Subject {
  std::string name;
  AutoModelForCausalLM model;
  AutoTokenizer tokenizer;
  AdapterChoice adapters;

  int64_t layers() const { return model.config().num_hidden_layers; }
  // Whole, with the special tokens that the tokenizer adds; `chat`: as a user's message in the
  // model's chat template. ToolError for a text without tokens.
  std::vector<int32_t> encode(const std::string& text, bool chat) const;
  // A conversation in the model's chat template.
  std::vector<int32_t> encode(const std::vector<Message>& messages) const;
  std::string token(int32_t id) const;  // as people read it
  // The one token that a text begins with: " Paris". ToolError where there is none.
  int32_t first_token(const std::string& text, std::string_view argument) const;

  // With the model's own adapter, if it has one.
  gpu_runtime::TokenRow row(std::vector<int32_t> ids, gpu_runtime::RowTaps taps,
                            const std::string& adapter = "") const {
    auto shared = std::make_shared<gpu_runtime::RowTaps>(std::move(taps));
    return {std::move(ids), {}, with_adapter(std::move(shared), adapter, adapters)};
  }
};

// Layers as a caller names them, from the end where negative, in ascending order; all where there
// are none. ToolError for one that the model does not have.
std::vector<int64_t> chosen_layers(const std::vector<int64_t>& layers, int64_t count);
// A site by its short name in some layer ("resid_post"). ToolError names those that there are.
gpu_runtime::Site site_in(const std::string& kind, int64_t layer);

// The parameters that several tools have.
mcp::Arg texts_arg(std::string name, std::string description, size_t least);
mcp::Arg chat_arg();
mcp::Arg site_arg();
mcp::Arg positions_arg(std::string description);

void expose_get_activations(Interface& interface, const Subject& subject);
void expose_contrast_vector(Interface& interface, const Subject& subject);
void expose_steer(Interface& interface, const Subject& subject);  // steer, ablate_direction
void expose_logit_lens(Interface& interface, const Subject& subject);
void expose_patch_activations(Interface& interface, const Subject& subject);
void expose_attention_pattern(Interface& interface, const Subject& subject);
void expose_get_weights(Interface& interface, const Subject& subject);
void expose_probe(Interface& interface);  // train_probe, apply_probe

}  // namespace gpumcp::interfaces
