// Content blocks, resource contents and the results that hold them: to the wire and back.
#include <fmt/format.h>

#include "mcp/json_members.h"
#include "mcp/protocol.h"

namespace gpumcp::mcp {
namespace {

template <class... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};

void append_member(std::string& out, std::string_view key, std::string_view value) {
  ((out += ",\"") += key) += "\":";
  append_string(out, value);
}
void append_if(std::string& out, std::string_view key, std::string_view value) {
  if (!value.empty()) append_member(out, key, value);
}

void append_text_block(std::string& out, std::string_view text) {
  out += R"({"type":"text","text":)";
  append_string(out, text);
}

template <class Media>
void append_media(std::string& out, std::string_view type, const Media& c) {
  out += fmt::format(R"({{"type":"{}")", type);
  append_member(out, "data", c.data);
  append_member(out, "mimeType", c.mimeType);
}

void append_link(std::string& out, const ResourceLink& c) {
  out += R"({"type":"resource_link")";
  append_member(out, "uri", c.uri);
  append_member(out, "name", c.name);
  append_if(out, "title", c.title);
  append_if(out, "description", c.description);
  append_if(out, "mimeType", c.mimeType);
  if (c.size) append_number(out += R"(,"size":)", *c.size);
}

// An object without its closing brace, so that more can follow.
void append_other(std::string& out, const OtherContent& c) {
  out += std::string_view(c.json).substr(0, c.json.size() - 1);
}

Result<ResourceContents> contents_from_json(const Json& json) {
  if (!json.is_object() || text_of(json, "uri").empty())
    return fail(ErrorCode::invalid_params, "resource contents need a uri");
  ResourceContents out{text_of(json, "uri"), text_of(json, "mimeType"), text_of(json, "text")};
  if (const Json* blob = member(json, "blob"); blob && blob->is_string())
    out.blob = blob->get<std::string>();
  return out;
}

}  // namespace

Json to_json(const Annotations& annotations, std::string_view version) {
  Json json = Json::object();
  if (!annotations.audience.empty()) json["audience"] = annotations.audience;
  if (annotations.priority) json["priority"] = *annotations.priority;
  if (version >= "2025-06-18") put(json, "lastModified", annotations.lastModified);
  return json;
}

std::optional<Annotations> annotations_from_json(const Json* json) {
  if (!json || !json->is_object()) return std::nullopt;
  Annotations out{.lastModified = text_of(*json, "lastModified")};
  if (const Json* audience = member(*json, "audience"); audience && audience->is_array()) {
    for (const Json& one : *audience)
      if (one.is_string()) out.audience.push_back(one.get<std::string>());
  }
  if (const Json* priority = member(*json, "priority"); priority && priority->is_number())
    out.priority = priority->get<double>();
  return out;
}

void append_json(std::string& out, const ResourceContents& contents) {
  out += R"({"uri":)";
  append_string(out, contents.uri);
  append_if(out, "mimeType", contents.mimeType);
  if (contents.blob)
    append_member(out, "blob", *contents.blob);
  else
    append_member(out, "text", contents.text);
  out += '}';
}

void append_json(std::string& out, const ContentBlock& block, std::string_view version) {
  std::visit(Overloaded{
                 [&](const TextContent& c) { append_text_block(out, c.text); },
                 [&](const ImageContent& c) { append_media(out, "image", c); },
                 [&](const AudioContent& c) {
                   if (version < "2025-03-26")
                     return append_text_block(
                         out, fmt::format("[audio, {}: this client cannot take it]", c.mimeType));
                   append_media(out, "audio", c);
                 },
                 [&](const ResourceLink& c) {
                   if (version < "2025-06-18")
                     return append_text_block(
                         out, fmt::format("{}: {} ({})", c.name, c.uri, c.mimeType));
                   append_link(out, c);
                 },
                 [&](const EmbeddedResource& c) {
                   out += R"({"type":"resource","resource":)";
                   append_json(out, c.resource);
                 },
                 [&](const OtherContent& c) { append_other(out, c); },
             },
             block.value);
  if (block.annotations)
    (out += R"(,"annotations":)") += to_text(to_json(*block.annotations, version));
  if (!block._meta.is_null() && version >= "2025-06-18")
    (out += R"(,"_meta":)") += to_text(block._meta);
  out += '}';
}

Result<ContentBlock> content_block_from_json(const Json& json) {
  const std::string type = text_of(json, "type");
  if (type.empty()) return fail(ErrorCode::invalid_params, "a content block needs a \"type\"");
  ContentBlock out;
  if (type == "text") {
    out.value = TextContent{text_of(json, "text")};
  } else if (type == "image") {
    out.value = ImageContent{text_of(json, "data"), text_of(json, "mimeType")};
  } else if (type == "audio") {
    out.value = AudioContent{text_of(json, "data"), text_of(json, "mimeType")};
  } else if (type == "resource_link") {
    ResourceLink link{text_of(json, "uri"), text_of(json, "name"), text_of(json, "title"),
                      text_of(json, "description"), text_of(json, "mimeType")};
    if (const Json* size = member(json, "size"); size && size->is_number_integer())
      link.size = size->get<int64_t>();
    out.value = std::move(link);
  } else if (type == "resource") {
    const Json* resource = member(json, "resource");
    auto contents = contents_from_json(resource ? *resource : Json());
    if (!contents) return tl::unexpected(std::move(contents.error()));
    out.value = EmbeddedResource{std::move(*contents)};
  } else {
    out.value = OtherContent{to_text(json)};
    return out;
  }
  out.annotations = annotations_from_json(member(json, "annotations"));
  if (const Json* meta = member(json, "_meta")) out._meta = *meta;
  return out;
}

CallToolResult CallToolResult::text(std::string text) {
  return {.content = {{TextContent{std::move(text)}}}};
}
CallToolResult CallToolResult::error(std::string text) {
  CallToolResult out = CallToolResult::text(std::move(text));
  out.isError = true;
  return out;
}

void append_members(std::string& out, const CallToolResult& result, std::string_view version) {
  out += R"("content":[)";
  for (size_t i = 0; i < result.content.size(); ++i) {
    if (i) out += ',';
    append_json(out, result.content[i], version);
  }
  out += ']';
  // Up to 2025-11-25 it is an object; what is not stays in the text block.
  if (!result.structuredContent.empty() && version >= "2025-06-18" &&
      (is_modern_version(version) || result.structuredContent.starts_with('{')))
    (out += R"(,"structuredContent":)") += result.structuredContent;
  if (result.isError) out += R"(,"isError":true)";
}

std::string to_text(const CallToolResult& result, std::string_view version) {
  std::string out;
  out.reserve(256 + 2 * result.structuredContent.size());
  append_members(out += '{', result, version);
  if (!result._meta.is_null()) (out += R"(,"_meta":)") += to_text(result._meta);
  out += '}';
  return out;
}

std::string to_text(const GetPromptResult& result, std::string_view version) {
  std::string out = "{";
  if (!result.description.empty()) {
    append_string(out += R"("description":)", result.description);
    out += ',';
  }
  out += R"("messages":[)";
  for (size_t i = 0; i < result.messages.size(); ++i) {
    append_string(out += i ? R"(,{"role":)" : R"({"role":)", result.messages[i].role);
    append_json(out += R"(,"content":)", result.messages[i].content, version);
    out += '}';
  }
  out += ']';
  if (!result._meta.is_null()) (out += R"(,"_meta":)") += to_text(result._meta);
  return out += '}';
}

// structuredContent is kept as it came: its numbers are not written anew.
Result<CallToolResult> call_tool_result_from_text(std::string_view text) {
  std::string_view content, structured, is_error, meta;
  auto scanned = scan_json(text, [&](std::string_view key, std::string_view value) {
    if (key == "content") content = value;
    if (key == "structuredContent") structured = value;
    if (key == "isError") is_error = value;
    if (key == "_meta") meta = value;
  });
  if (!scanned) return tl::unexpected(std::move(scanned.error()));
  if (!content.starts_with('['))
    return fail(ErrorCode::invalid_params, "a tool's result needs an array \"content\"");
  CallToolResult out{.structuredContent = std::string(structured), .isError = is_error == "true"};
  const auto blocks = parse_scanned(content);
  if (!blocks) return tl::unexpected(blocks.error());
  for (const Json& json : *blocks) {
    auto block = content_block_from_json(json);
    if (!block) return tl::unexpected(std::move(block.error()));
    out.content.push_back(std::move(*block));
  }
  if (meta.starts_with('{')) {
    auto parsed = parse_scanned(meta);
    if (!parsed) return tl::unexpected(std::move(parsed.error()));
    out._meta = std::move(*parsed);
  }
  return out;
}

Result<GetPromptResult> get_prompt_result_from_text(std::string_view text) {
  auto json = parse_json(text);
  if (!json) return tl::unexpected(std::move(json.error()));
  const Json* messages = member(*json, "messages");
  if (!messages || !messages->is_array())
    return fail(ErrorCode::invalid_params, "a prompt's result needs an array \"messages\"");
  GetPromptResult out{.description = text_of(*json, "description")};
  for (const Json& message : *messages) {
    const Json* content = member(message, "content");
    if (!content) return fail(ErrorCode::invalid_params, "a prompt's message needs \"content\"");
    auto block = content_block_from_json(*content);
    if (!block) return tl::unexpected(std::move(block.error()));
    out.messages.push_back({text_of(message, "role"), std::move(*block)});
  }
  if (const Json* meta = member(*json, "_meta")) out._meta = *meta;
  return out;
}

Result<std::vector<ResourceContents>> resource_contents_from_text(std::string_view text) {
  auto json = parse_json(text);
  if (!json) return tl::unexpected(std::move(json.error()));
  std::vector<ResourceContents> out;
  const Json* contents = member(*json, "contents");
  if (!contents || !contents->is_array())
    return fail(ErrorCode::invalid_params,
                "the result of resources/read needs an array \"contents\"");
  for (const Json& item : *contents) {
    auto one = contents_from_json(item);
    if (!one) return tl::unexpected(std::move(one.error()));
    out.push_back(std::move(*one));
  }
  return out;
}

}  // namespace gpumcp::mcp
