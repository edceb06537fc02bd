#include "gpu_runtime/template/chat_template.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "gpu_runtime/error.h"
#include "gpu_runtime/template/builtins.h"
#include "gpu_runtime/template/interpreter.h"
#include "gpu_runtime/template/parser.h"
#include "gpu_runtime/unicode.h"

namespace gpumcp::gpu_runtime {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxTemplate = 1u << 20;

// A parsed template.
struct Parsed {
  std::string source, origin;
  jinja::Block block;
};

std::shared_ptr<const Parsed> parse(std::string source, std::string origin) {
  if (source.size() > kMaxTemplate) {
    throw Error(ErrorCode::corrupt_checkpoint,
                fmt::format("{}: {} bytes are too much for a chat template (at most {})", origin,
                            source.size(), kMaxTemplate));
  }
  if (const auto at = find_invalid_utf8(source)) {
    throw Error(ErrorCode::corrupt_checkpoint,
                fmt::format("{}: byte {} of the chat template is no UTF-8", origin, *at));
  }
  try {
    auto block = jinja::parse_template(source);
    return std::make_shared<const Parsed>(
        Parsed{std::move(source), std::move(origin), std::move(block)});
  } catch (const jinja::TemplateError& error) {
    throw Error(ErrorCode::corrupt_checkpoint,
                fmt::format("{}: the chat template, {}", origin, error.what()));
  }
}

// "<s>" or {"content": "<s>", …}.
std::optional<std::string> token_text(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object() && value.contains("content") && value["content"].is_string())
    return value["content"].get<std::string>();
  return std::nullopt;
}

Json read_if_there(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error) ? read_json_file(path) : Json::object();
}

std::map<std::string, std::string> read_special_tokens(const fs::path& folder, const Json& config) {
  std::map<std::string, std::string> out;
  const Json older = read_if_there(folder / "special_tokens_map.json");
  for (const Json* file : std::array<const Json*, 2>{&older, &config}) {
    if (!file->is_object()) continue;
    for (const auto& [key, value] : file->items()) {
      if (!key.ends_with("_token")) continue;
      if (auto text = token_text(value)) out[key] = std::move(*text);
    }
  }
  return out;
}

// What templates call the model's reasoning, old names and new.
constexpr std::array<const char*, 3> kReasoning{"reasoning_content", "thinking", "reasoning"};

OrderedJson with_reasoning_names(const OrderedJson& message) {
  for (const char* key : kReasoning) {
    const auto found = message.find(key);
    if (found == message.end() || found->is_null()) continue;
    OrderedJson out;
    out["thinking"] = *found;
    for (const auto& [name, value] : message.items()) out[name] = value;
    out["reasoning_content"] = *found;
    return out;
  }
  return message;
}

OrderedJson checked_messages(const OrderedJson& messages) {
  auto refuse = [](const std::string& what) {
    throw Error(ErrorCode::invalid_argument,
                what + ": expected an array of {\"role\": …, \"content\": …}");
  };
  if (!messages.is_array()) refuse("the messages are no array");
  OrderedJson out = OrderedJson::array();
  for (const OrderedJson& message : messages) {
    const auto role = message.is_object() ? message.find("role") : message.end();
    if (!message.is_object() || role == message.end() || !role->is_string())
      refuse(fmt::format("message {} has no role", out.size()));
    out.push_back(with_reasoning_names(message));
  }
  if (out.empty()) refuse("there are no messages");
  return out;
}

// Marks where the last message ends, so that what the template puts behind it can be cut off.
constexpr std::string_view kTag = "CONTINUE_FINAL_MESSAGE_TAG ";

// Adds the tag to the last message's text, and returns that text.
std::string mark_final_message(OrderedJson& messages) {
  OrderedJson& last = messages.back();
  const auto content = last.find("content");
  OrderedJson* text = content == last.end() ? nullptr : &*content;
  if (text != nullptr && text->is_array()) {
    OrderedJson* found = nullptr;
    for (OrderedJson& part : *text) {
      if (part.is_object() && part.contains("text")) found = &part["text"];
    }
    text = found;
  }
  if (text == nullptr || !text->is_string()) {
    throw Error(ErrorCode::invalid_argument,
                "continue_final_message: the last message has no text to go on with");
  }
  std::string plain = text->get<std::string>();
  *text = plain + std::string(kTag);
  return plain;
}

std::string_view stripped(std::string_view text) { return jinja::strip(text, {}, true, true); }

std::string cut_behind_final_message(std::string text, std::string_view message) {
  const std::size_t at = text.rfind(stripped(kTag));
  if (at == text.npos || text.find(stripped(message)) == text.npos) {
    throw Error(ErrorCode::invalid_argument,
                "continue_final_message: the template leaves out or changes the last message, so "
                "there is no place to go on from");
  }
  const bool kept_blanks = std::string_view(text).substr(at).starts_with(kTag);
  text.resize(at);
  if (!kept_blanks) text.resize(jinja::strip(text, {}, false, true).size());
  return text;
}

std::tm local_time() {
  const std::time_t now = std::time(nullptr);
  std::tm out{};
  localtime_r(&now, &out);
  return out;
}

}  // namespace

struct ChatTemplate::State {
  std::shared_ptr<const Parsed> plain, for_tools;
  std::map<std::string, std::string> special_tokens;
};

ChatTemplate ChatTemplate::from_text(const std::string& text,
                                     std::map<std::string, std::string> special_tokens,
                                     const std::string& origin) {
  auto parsed = parse(text, origin);
  return ChatTemplate(
      std::make_shared<const State>(State{parsed, parsed, std::move(special_tokens)}));
}

ChatTemplate ChatTemplate::from_pretrained(const fs::path& folder) {
  const fs::path config_path = folder / "tokenizer_config.json";
  const Json config = read_if_there(config_path);
  State state;
  state.special_tokens = read_special_tokens(folder, config);
  std::error_code error;
  const fs::path own = folder / "chat_template.jinja", older = folder / "chat_template.json";
  const Json listed = config.is_object() ? config.value("chat_template", Json()) : Json();
  if (fs::exists(own, error)) {
    state.plain = parse(read_text_file(own, kMaxTemplate + 1), own.string());
    const fs::path tools = folder / "additional_chat_templates" / "tool_use.jinja";
    if (fs::exists(tools, error))
      state.for_tools = parse(read_text_file(tools, kMaxTemplate + 1), tools.string());
  } else if (listed.is_string()) {
    state.plain = parse(listed.get<std::string>(), config_path.string());
  } else if (listed.is_array()) {
    for (const Json& one : listed) {
      if (!one.is_object() || !one.value("name", Json()).is_string() ||
          !one.value("template", Json()).is_string())
        continue;
      const auto name = one["name"].get<std::string>();
      if (name != "default" && name != "tool_use") continue;
      auto& slot = name == "default" ? state.plain : state.for_tools;
      slot = parse(one["template"].get<std::string>(), config_path.string());
    }
  } else if (const Json file = read_if_there(older);
             file.is_object() && file.value("chat_template", Json()).is_string()) {
    state.plain = parse(file["chat_template"].get<std::string>(), older.string());
  }
  if (!state.plain && !state.for_tools) {
    throw Error(ErrorCode::unsupported,
                folder.string() +
                    ": this model has no chat template (tokenizer_config.json, "
                    "chat_template.jinja): it was not made for chats; give a plain prompt instead");
  }
  if (!state.plain) state.plain = state.for_tools;
  if (!state.for_tools) state.for_tools = state.plain;
  return ChatTemplate(std::make_shared<const State>(std::move(state)));
}

std::string ChatTemplate::render(const OrderedJson& given,
                                 const ChatTemplateOptions& options) const {
  if (options.add_generation_prompt && options.continue_final_message) {
    throw Error(
        ErrorCode::invalid_argument,
        "add_generation_prompt begins a new message and continue_final_message goes on with "
        "the last one: give one of them");
  }
  if (!options.variables.is_null() && !options.variables.is_object())
    throw Error(ErrorCode::invalid_argument, "the template's variables must be an object");
  OrderedJson messages = checked_messages(given);
  std::string final_message;
  if (options.continue_final_message) final_message = mark_final_message(messages);

  const Parsed& parsed = options.tools.is_null() ? *state_->plain : *state_->for_tools;
  std::string text;
  try {
    std::vector<std::pair<std::string, jinja::Value>> names;
    auto set = [&](const std::string& name, jinja::Value value) {
      const auto had = std::find_if(names.begin(), names.end(),
                                    [&](const auto& one) { return one.first == name; });
      if (had == names.end())
        names.emplace_back(name, std::move(value));
      else
        had->second = std::move(value);
    };
    for (const auto& [name, token] : state_->special_tokens) set(name, token);
    if (options.variables.is_object()) {
      for (const auto& [name, value] : options.variables.items())
        set(name, jinja::Value::from_json(value));
    }
    set("messages", jinja::Value::from_json(messages));
    set("tools", jinja::Value::from_json(options.tools));
    set("documents", jinja::Value::from_json(options.documents));
    set("add_generation_prompt", options.add_generation_prompt);
    jinja::Interpreter interpreter({}, options.now ? *options.now : local_time());
    text = interpreter.run(parsed.block, std::move(names));
  } catch (const jinja::TemplateError& error) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("{}: the chat template, {}", parsed.origin, error.what()));
  }
  if (options.continue_final_message)
    return cut_behind_final_message(std::move(text), final_message);
  return text;
}

}  // namespace gpumcp::gpu_runtime
