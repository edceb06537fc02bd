#include "mcp/client_features.h"

#include <fmt/format.h>

#include "mcp/json_members.h"
#include "mcp/json_schema.h"

namespace gpumcp::mcp {
namespace {

Json content_to_json(const ContentBlock& block, std::string_view version) {
  std::string text;
  append_json(text, block, version);
  return Json::parse(text);
}

// One block stands alone, several are an array; readers take both.
Json content_to_json(const std::vector<ContentBlock>& content, std::string_view version) {
  Json list = Json::array();
  for (const ContentBlock& block : content) list.push_back(content_to_json(block, version));
  return list.size() == 1 ? list[0] : list;
}

// A property with titled choices as 2025-06-18 has it: the titles stand beside the values.
void name_choices(Json& property) {
  const Json* choices = member(property, "oneOf");
  if (!choices || !choices->is_array()) return;
  Json values = Json::array(), names = Json::array();
  for (const Json& choice : *choices) {
    values.push_back(text_of(choice, "const"));
    names.push_back(text_of(choice, "title"));
  }
  property.erase("oneOf");
  property["enum"] = std::move(values);
  property["enumNames"] = std::move(names);
}

Result<std::vector<ContentBlock>> content_from_json(const Json* json) {
  if (!json || !(json->is_object() || json->is_array()))
    return fail(ErrorCode::invalid_params, "a message needs \"content\", a block or an array");
  std::vector<ContentBlock> out;
  for (const Json& one : json->is_array() ? *json : Json::array({*json})) {
    auto block = content_block_from_json(one);
    if (!block) return tl::unexpected(std::move(block.error()));
    out.push_back(std::move(*block));
  }
  return out;
}

void put_json(Json& json, const char* key, const Json& value) {
  if (!value.is_null()) json[key] = value;
}
Json json_of(const Json& json, const char* key) {
  const Json* value = member(json, key);
  return value ? *value : Json(nullptr);
}

Json to_params(const ElicitRequest& r, std::string_view version) {
  Json json = Json::object();
  if (!r.url.empty()) {
    json = {{"mode", "url"}, {"message", r.message}, {"url", r.url}};
    if (!is_modern_version(version)) put(json, "elicitationId", r.elicitationId);
    return json;
  }
  if (version >= "2025-11-25") json["mode"] = "form";
  json["message"] = r.message;
  json["requestedSchema"] = r.requestedSchema;
  if (version < "2025-11-25" && member(r.requestedSchema, "properties")) {
    for (Json& property : json["requestedSchema"]["properties"]) name_choices(property);
  }
  return json;
}

Json to_params(const CreateMessageRequest& r, std::string_view version) {
  Json messages = Json::array();
  for (const SamplingMessage& m : r.messages) {
    if (version >= "2025-11-25") {
      messages.push_back({{"role", m.role}, {"content", content_to_json(m.content, version)}});
      continue;
    }
    for (const ContentBlock& block : m.content)  // one block a message, before
      messages.push_back({{"role", m.role}, {"content", content_to_json(block, version)}});
  }
  Json json = {{"messages", std::move(messages)}};
  put_json(json, "modelPreferences", r.modelPreferences);
  put(json, "systemPrompt", r.systemPrompt);
  put(json, "includeContext", r.includeContext);
  if (r.temperature) json["temperature"] = *r.temperature;
  json["maxTokens"] = r.maxTokens;
  if (!r.stopSequences.empty()) json["stopSequences"] = r.stopSequences;
  put_json(json, "metadata", r.metadata);
  if (version >= "2025-11-25") {
    put_json(json, "tools", r.tools);
    put_json(json, "toolChoice", r.toolChoice);
  }
  return json;
}

Json to_params(const ListRootsRequest&, std::string_view) { return Json::object(); }

Result<JsonSchema> form_schema(const ElicitRequest& request) {
  return JsonSchema::compile(request.requestedSchema, {.assert_formats = true});
}

Result<ElicitResult> elicit_result(const ElicitRequest& request, const Json& json) {
  const std::string action = text_of(json, "action");
  ElicitResult out;
  if (action == "accept")
    out.action = ElicitResult::Action::accept;
  else if (action == "decline")
    out.action = ElicitResult::Action::decline;
  else if (action != "cancel")
    return fail(ErrorCode::invalid_params,
                fmt::format("action: expected accept, decline or cancel, got \"{}\"",
                            action.substr(0, 40)));
  if (!out.accepted() || !request.url.empty()) return out;
  out.content = json_of(json, "content");
  if (out.content.is_null()) out.content = Json::object();
  if (!out.content.is_object())
    return fail(ErrorCode::invalid_params, "content: expected an object");
  auto fits = form_schema(request).and_then(
      [&](const JsonSchema& schema) { return schema.validate(out.content, "content"); });
  if (!fits) return tl::unexpected(std::move(fits.error()));
  return out;
}

Result<CreateMessageResult> message_result(const Json& json) {
  auto content = content_from_json(member(json, "content"));
  if (!content) return tl::unexpected(std::move(content.error()));
  CreateMessageResult out{text_of(json, "role"), std::move(*content), text_of(json, "model"),
                          text_of(json, "stopReason")};
  if (out.role != "user" && out.role != "assistant")
    return fail(ErrorCode::invalid_params, "role: expected \"user\" or \"assistant\"");
  return out;
}

Result<ListRootsResult> roots_result(const Json& json) {
  const Json* roots = member(json, "roots");
  if (!roots || !roots->is_array())
    return fail(ErrorCode::invalid_params, "roots: expected an array");
  ListRootsResult out;
  for (const Json& one : *roots) {
    if (text_of(one, "uri").empty())
      return fail(ErrorCode::invalid_params, "a root needs a \"uri\"");
    out.roots.push_back({text_of(one, "uri"), text_of(one, "name")});
  }
  return out;
}

}  // namespace

std::string CreateMessageResult::text() const {
  std::string out;
  for (const ContentBlock& block : content)
    if (auto text = std::get_if<TextContent>(&block.value)) out += text->text;
  return out;
}

bool ClientCapabilities::has(std::string_view key, std::string_view sub) const {
  const Json* found = member(json_, key);
  if (!found || !found->is_object()) return false;
  return sub.empty() || member(*found, sub) != nullptr;
}

bool ClientCapabilities::elicitation_form() const {
  return has("elicitation") &&
         (json_["elicitation"].empty() || has("elicitation", "form") || !has("elicitation", "url"));
}
bool ClientCapabilities::elicitation_url() const { return has("elicitation", "url"); }

Json missing_capability(const InputRequest& request, const ClientCapabilities& capabilities,
                        std::string_view version) {
  const Json none = Json::object();
  if (auto elicit = std::get_if<ElicitRequest>(&request)) {
    const bool url = !elicit->url.empty();
    if (url && (!capabilities.elicitation_url() || version < "2025-11-25"))
      return {{"elicitation", {{"url", none}}}};
    if (!url && (!capabilities.elicitation_form() || version < "2025-06-18"))
      return {{"elicitation", none}};
  } else if (auto sampling = std::get_if<CreateMessageRequest>(&request)) {
    if (!sampling->tools.is_null() && (!capabilities.sampling_tools() || version < "2025-11-25"))
      return {{"sampling", {{"tools", none}}}};
    if (!capabilities.sampling()) return {{"sampling", none}};
  } else if (!capabilities.roots()) {
    return {{"roots", none}};
  }
  return nullptr;
}

Result<void> check_request(const InputRequest& request) {
  const auto* elicit = std::get_if<ElicitRequest>(&request);
  if (!elicit || !elicit->url.empty()) return {};
  auto schema = form_schema(*elicit);
  if (schema) return {};
  return fail(ErrorCode::invalid_params, "requestedSchema: " + schema.error().message);
}

std::string_view method_of(const InputRequest& request) {
  constexpr std::string_view kMethods[] = {"elicitation/create", "sampling/createMessage",
                                           "roots/list"};
  return kMethods[request.index()];
}

Json params_to_json(const InputRequest& request, std::string_view version) {
  return std::visit([&](const auto& r) { return to_params(r, version); }, request);
}

Result<InputRequest> input_request_from_json(std::string_view method, const Json& params) {
  if (method == "roots/list") return ListRootsRequest{};
  if (method == "elicitation/create") {
    ElicitRequest out{.message = text_of(params, "message"),
                      .requestedSchema = json_of(params, "requestedSchema"),
                      .url = text_of(params, "url"),
                      .elicitationId = text_of(params, "elicitationId")};
    const std::string mode = text_of(params, "mode");
    if (mode == "url" ? out.url.empty() : !out.requestedSchema.is_object())
      return fail(ErrorCode::invalid_params,
                  "elicitation/create needs \"requestedSchema\" (form) or \"url\" (url mode)");
    if (mode != "url") out.url.clear();
    return out;
  }
  if (method != "sampling/createMessage")
    return fail(ErrorCode::method_not_found,
                fmt::format("method \"{}\" is not known", method.substr(0, 80)));
  CreateMessageRequest out;
  const Json* messages = member(params, "messages");
  if (!messages || !messages->is_array())
    return fail(ErrorCode::invalid_params, "sampling/createMessage needs an array \"messages\"");
  for (const Json& one : *messages) {
    auto content = content_from_json(member(one, "content"));
    if (!content) return tl::unexpected(std::move(content.error()));
    out.messages.push_back({text_of(one, "role"), std::move(*content)});
  }
  if (const Json* n = member(params, "maxTokens"); n && n->is_number_integer())
    out.maxTokens = n->get<int64_t>();
  out.systemPrompt = text_of(params, "systemPrompt");
  out.includeContext = text_of(params, "includeContext");
  if (const Json* t = member(params, "temperature"); t && t->is_number())
    out.temperature = t->get<double>();
  if (const Json* stops = member(params, "stopSequences"); stops && stops->is_array()) {
    for (const Json& stop : *stops)
      if (stop.is_string()) out.stopSequences.push_back(stop.get<std::string>());
  }
  out.modelPreferences = json_of(params, "modelPreferences");
  out.metadata = json_of(params, "metadata");
  out.tools = json_of(params, "tools");
  out.toolChoice = json_of(params, "toolChoice");
  return out;
}

Json to_json(const InputResponse& response, std::string_view version) {
  if (auto elicit = std::get_if<ElicitResult>(&response)) {
    constexpr const char* kActions[] = {"accept", "decline", "cancel"};
    Json json = {{"action", kActions[static_cast<int>(elicit->action)]}};
    if (elicit->accepted()) put_json(json, "content", elicit->content);
    return json;
  }
  if (auto message = std::get_if<CreateMessageResult>(&response)) {
    Json json = {{"role", message->role},
                 {"content", content_to_json(message->content, version)},
                 {"model", message->model}};
    put(json, "stopReason", message->stopReason);
    return json;
  }
  Json roots = Json::array();
  for (const Root& root : std::get<ListRootsResult>(response).roots) {
    Json one = {{"uri", root.uri}};
    put(one, "name", root.name);
    roots.push_back(std::move(one));
  }
  return {{"roots", std::move(roots)}};
}

Result<InputResponse> input_response_from_json(const InputRequest& request, const Json& json) {
  auto as_variant = [](auto result) -> Result<InputResponse> {
    if (!result) return tl::unexpected(std::move(result.error()));
    return InputResponse(std::move(*result));
  };
  if (!json.is_object()) return fail(ErrorCode::invalid_params, "expected an object");
  if (auto elicit = std::get_if<ElicitRequest>(&request))
    return as_variant(elicit_result(*elicit, json));
  if (std::holds_alternative<CreateMessageRequest>(request))
    return as_variant(message_result(json));
  return as_variant(roots_result(json));
}

}  // namespace gpumcp::mcp
