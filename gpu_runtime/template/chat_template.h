#pragma once

// A model's chat template: messages to the text that the model was trained on, exactly as
// transformers' apply_chat_template() renders it. The template comes with the model and is hostile
// input: it sees the messages, the tools and the special tokens, nothing else, and its work, text
// and nesting are bounded. Immutable after loading and thread-safe; copying copies a shared handle.
// Needs no torch.
#include <ctime>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "gpu_runtime/export.h"
#include "gpu_runtime/json.h"

namespace gpumcp::gpu_runtime {

// In the order in which keys came: templates write tools and arguments out as JSON.
using OrderedJson = nlohmann::ordered_json;

struct ChatTemplateOptions {
  bool add_generation_prompt = false;   // ends where the model's answer begins
  bool continue_final_message = false;  // ends in the last message, for the model to go on with it
  OrderedJson tools = nullptr;          // an array of function schemas
  OrderedJson documents = nullptr;
  OrderedJson variables = nullptr;  // an object: further names, such as enable_thinking
  std::optional<std::tm> now = {};  // for strftime_now(); left out: the local time
};

class GPUMCP_RUNTIME_API ChatTemplate {
 public:
  // From chat_template.jinja, else "chat_template" in tokenizer_config.json (one, or several by
  // name: "tool_use" is for calls with tools, "default" for the rest), else chat_template.json.
  // Error(unsupported) for a folder that has none, Error(corrupt_checkpoint) with the line for a
  // template that cannot be read.
  static ChatTemplate from_pretrained(const std::filesystem::path& folder);
  // special_tokens: what the template sees as bos_token, eos_token, ….
  static ChatTemplate from_text(const std::string& text,
                                std::map<std::string, std::string> special_tokens = {},
                                const std::string& origin = "chat template");

  // messages: an array of {"role": …, "content": …} and what else the template reads.
  // Error(invalid_argument) for messages that are none, and, with the line, for what the template
  // refuses or cannot do.
  std::string render(const OrderedJson& messages, const ChatTemplateOptions& options = {}) const;

 private:
  struct State;
  explicit ChatTemplate(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  std::shared_ptr<const State> state_;
};

}  // namespace gpumcp::gpu_runtime
