// The built-in interface "language_model": text from a causal language model, and what the model
// thinks of a text. One file an exposed function or small family; this one holds what they share. A
// LanguageModel is made once, when the interface loads, copied into each function, and used by any
// number of threads at once: their texts share the model's steps.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "interfaces/adapter.h"
#include "interfaces/interface.h"
#include "interfaces/steering.h"

namespace gpumcp::interfaces {

struct LanguageModel {
  std::string name;
  AutoModelForCausalLM model;
  AutoTokenizer tokenizer;
  AdapterChoice adapters;

  // What a call does to its text of so many tokens: steering, and an adapter.
  std::shared_ptr<gpu_runtime::RowTaps> taps(const std::vector<SteeringInput>& steering,
                                             const std::string& adapter, int64_t tokens) const {
    return with_adapter(steering_taps(steering, model.config().num_hidden_layers, tokens), adapter,
                        adapters);
  }

  // Never cut: a model that goes on from half a prompt answers another question.
  gpu_runtime::BatchEncoding encode(const std::string& text, bool add_special_tokens) const;
};

// A token as people read it; bytes that make no character are U+FFFD.
std::string token_text(const LanguageModel& lm, int32_t id);

mcp::ToolAnnotations model_tool(std::string title);

void expose_generate(Interface& interface, const LanguageModel& lm);  // generate and chat
void expose_next_tokens(Interface& interface, const LanguageModel& lm);
void expose_score_text(Interface& interface, const LanguageModel& lm);
void expose_tokenize(Interface& interface, const LanguageModel& lm);
void expose_model_info(Interface& interface, const LanguageModel& lm);

}  // namespace gpumcp::interfaces
