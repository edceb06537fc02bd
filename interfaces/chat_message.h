// A conversation as tools take it, and as a model's chat template writes it. Values and a free
// function, callable from any thread.
#pragma once

#include <string>
#include <vector>

#include "interfaces/interface.h"

namespace gpumcp::interfaces {

struct Message {
  std::string role, content;
};
GPUMCP_DESCRIBE_DOC(Message, (role, "system, user or assistant."), (content, "The text."))

// With what begins an answer, but behind a last message of the assistant's: that one is gone on
// with. Its special tokens are in it already.
inline std::string render_chat(const AutoTokenizer& tokenizer,
                               const std::vector<Message>& messages) {
  gpu_runtime::OrderedJson chat = gpu_runtime::OrderedJson::array();
  for (const Message& message : messages)
    chat.push_back({{"role", message.role}, {"content", message.content}});
  const bool goes_on = !messages.empty() && messages.back().role == "assistant";
  return tokenizer.apply_chat_template(
      chat, {.add_generation_prompt = !goes_on, .continue_final_message = goes_on});
}

}  // namespace gpumcp::interfaces
