#include "mcp/protocol.h"

#include <fmt/format.h>

#include <algorithm>

namespace gpumcp::mcp {
namespace {

constexpr std::array<std::string_view, 8> kLogLevels = {"debug", "info",     "notice", "warning",
                                                        "error", "critical", "alert",  "emergency"};

template <class... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};

void put(Json& json, const char* key, const std::string& value) {
  if (!value.empty()) json[key] = value;
}

void append_member(std::string& out, std::string_view key, std::string_view value) {
  ((out += ",\"") += key) += "\":";
  append_string(out, value);
}

void append_text_block(std::string& out, std::string_view text) {
  out += R"({"type":"text","text":)";
  append_string(out, text);
}

void append_annotations(std::string& out, const Annotations& annotations) {
  Json json = Json::object();
  if (!annotations.audience.empty()) json["audience"] = annotations.audience;
  if (annotations.priority) json["priority"] = *annotations.priority;
  put(json, "lastModified", annotations.lastModified);
  (out += R"(,"annotations":)") += to_text(json);
}

std::string text_of(const Json& json, const char* key) {
  auto it = json.find(key);
  return it != json.end() && it->is_string() ? it->get<std::string>() : std::string();
}

Result<ResourceContents> contents_from_json(const Json& json) {
  if (!json.is_object() || !json.contains("uri"))
    return fail(ErrorCode::invalid_params, "resource contents need a uri");
  ResourceContents out{text_of(json, "uri"), text_of(json, "mimeType"), text_of(json, "text")};
  if (auto blob = json.find("blob"); blob != json.end() && blob->is_string())
    out.blob = blob->get<std::string>();
  return out;
}

}  // namespace

bool is_supported_version(std::string_view version) {
  return std::find(kVersions.begin(), kVersions.end(), version) != kVersions.end();
}

std::string_view log_level_name(LogLevel level) { return kLogLevels[static_cast<size_t>(level)]; }

std::optional<LogLevel> find_log_level(std::string_view name) {
  const auto it = std::find(kLogLevels.begin(), kLogLevels.end(), name);
  if (it == kLogLevels.end()) return std::nullopt;
  return static_cast<LogLevel>(it - kLogLevels.begin());
}

Json to_json(const Implementation& implementation) {
  Json json = {{"name", implementation.name}, {"version", implementation.version}};
  put(json, "title", implementation.title);
  return json;
}

Json to_json(const Tool& tool, std::string_view version) {
  Json json = {{"name", tool.name}};
  if (version >= "2025-06-18") put(json, "title", tool.title);
  put(json, "description", tool.description);
  json["inputSchema"] = tool.inputSchema;
  if (version >= "2025-06-18" && !tool.outputSchema.is_null())
    json["outputSchema"] = tool.outputSchema;
  if (version >= "2025-03-26" && tool.annotations) {
    const ToolAnnotations& a = *tool.annotations;
    Json hints = Json::object();
    put(hints, "title", a.title);
    if (a.readOnlyHint) hints["readOnlyHint"] = *a.readOnlyHint;
    if (a.destructiveHint) hints["destructiveHint"] = *a.destructiveHint;
    if (a.idempotentHint) hints["idempotentHint"] = *a.idempotentHint;
    if (a.openWorldHint) hints["openWorldHint"] = *a.openWorldHint;
    json["annotations"] = std::move(hints);
  }
  if (version >= "2025-06-18" && !tool._meta.is_null()) json["_meta"] = tool._meta;
  return json;
}

Json to_json(const Resource& resource, std::string_view version) {
  Json json = {{"uri", resource.uri}, {"name", resource.name}};
  if (version >= "2025-06-18") put(json, "title", resource.title);
  put(json, "description", resource.description);
  put(json, "mimeType", resource.mimeType);
  if (resource.size) json["size"] = *resource.size;
  return json;
}

Json to_json(const ResourceTemplate& resource, std::string_view version) {
  Json json = {{"uriTemplate", resource.uriTemplate}, {"name", resource.name}};
  if (version >= "2025-06-18") put(json, "title", resource.title);
  put(json, "description", resource.description);
  put(json, "mimeType", resource.mimeType);
  return json;
}

void append_json(std::string& out, const ResourceContents& contents) {
  out += R"({"uri":)";
  append_string(out, contents.uri);
  if (!contents.mimeType.empty()) append_member(out, "mimeType", contents.mimeType);
  if (contents.blob)
    append_member(out, "blob", *contents.blob);
  else
    append_member(out, "text", contents.text);
  out += '}';
}

void append_json(std::string& out, const ContentBlock& block, std::string_view version) {
  std::visit(Overloaded{
                 [&](const TextContent& c) { append_text_block(out, c.text); },
                 [&](const ImageContent& c) {
                   out += R"({"type":"image")";
                   append_member(out, "data", c.data);
                   append_member(out, "mimeType", c.mimeType);
                 },
                 [&](const AudioContent& c) {
                   if (version < "2025-03-26")
                     return append_text_block(
                         out, fmt::format("[audio, {}: this client cannot take it]", c.mimeType));
                   out += R"({"type":"audio")";
                   append_member(out, "data", c.data);
                   append_member(out, "mimeType", c.mimeType);
                 },
                 [&](const ResourceLink& c) {
                   if (version < "2025-06-18")
                     return append_text_block(
                         out, fmt::format("{}: {} ({})", c.name, c.uri, c.mimeType));
                   out += R"({"type":"resource_link")";
                   append_member(out, "uri", c.uri);
                   append_member(out, "name", c.name);
                   if (!c.title.empty()) append_member(out, "title", c.title);
                   if (!c.description.empty()) append_member(out, "description", c.description);
                   if (!c.mimeType.empty()) append_member(out, "mimeType", c.mimeType);
                   if (c.size) {
                     out += R"(,"size":)";
                     append_number(out, *c.size);
                   }
                 },
                 [&](const EmbeddedResource& c) {
                   out += R"({"type":"resource","resource":)";
                   append_json(out, c.resource);
                 },
             },
             block.value);
  if (block.annotations) append_annotations(out, *block.annotations);
  out += '}';
}

std::string to_text(const CallToolResult& result, std::string_view version) {
  std::string out;
  out.reserve(256 + 2 * result.structuredContent.size());
  out += R"({"content":[)";
  for (size_t i = 0; i < result.content.size(); ++i) {
    if (i) out += ',';
    append_json(out, result.content[i], version);
  }
  out += ']';
  if (!result.structuredContent.empty() && version >= "2025-06-18")
    (out += R"(,"structuredContent":)") += result.structuredContent;
  if (result.isError) out += R"(,"isError":true)";
  if (!result._meta.is_null()) (out += R"(,"_meta":)") += to_text(result._meta);
  out += '}';
  return out;
}

Result<Tool> tool_from_json(const Json& json) {
  if (!json.is_object() || !json.contains("name") || !json["name"].is_string())
    return fail(ErrorCode::invalid_params, "a tool needs a name");
  Tool tool{.name = json["name"].get<std::string>(),
            .title = text_of(json, "title"),
            .description = text_of(json, "description")};
  if (auto it = json.find("inputSchema"); it != json.end() && it->is_object())
    tool.inputSchema = *it;
  if (auto it = json.find("outputSchema"); it != json.end()) tool.outputSchema = *it;
  if (auto it = json.find("annotations"); it != json.end() && it->is_object()) {
    ToolAnnotations a{.title = text_of(*it, "title")};
    auto hint = [&](const char* key) -> std::optional<bool> {
      auto h = it->find(key);
      if (h == it->end() || !h->is_boolean()) return std::nullopt;
      return h->get<bool>();
    };
    a.readOnlyHint = hint("readOnlyHint");
    a.destructiveHint = hint("destructiveHint");
    a.idempotentHint = hint("idempotentHint");
    a.openWorldHint = hint("openWorldHint");
    tool.annotations = std::move(a);
  }
  if (auto it = json.find("_meta"); it != json.end()) tool._meta = *it;
  return tool;
}

Result<CallToolResult> call_tool_result_from_text(std::string_view text) {
  auto json = parse_json(text);
  if (!json) return tl::unexpected(std::move(json.error()));
  CallToolResult out;
  auto content = json->find("content");
  if (content == json->end() || !content->is_array())
    return fail(ErrorCode::invalid_params, "a tool's result needs an array \"content\"");
  for (const Json& block : *content) {
    const std::string type = text_of(block, "type");
    if (type == "text") {
      out.content.push_back({TextContent{text_of(block, "text")}});
    } else if (type == "image") {
      out.content.push_back({ImageContent{text_of(block, "data"), text_of(block, "mimeType")}});
    } else if (type == "audio") {
      out.content.push_back({AudioContent{text_of(block, "data"), text_of(block, "mimeType")}});
    } else if (type == "resource_link") {
      ResourceLink link{text_of(block, "uri"), text_of(block, "name"), text_of(block, "title"),
                        text_of(block, "description"), text_of(block, "mimeType")};
      if (auto size = block.find("size"); size != block.end() && size->is_number_integer())
        link.size = size->get<int64_t>();
      out.content.push_back({std::move(link)});
    } else if (type == "resource" && block.contains("resource")) {
      auto contents = contents_from_json(block["resource"]);
      if (!contents) return tl::unexpected(std::move(contents.error()));
      out.content.push_back({EmbeddedResource{std::move(*contents)}});
    } else {
      return fail(ErrorCode::invalid_params, fmt::format("unknown content type \"{}\"", type));
    }
  }
  if (auto it = json->find("structuredContent"); it != json->end())
    out.structuredContent = to_text(*it);
  if (auto it = json->find("isError"); it != json->end() && it->is_boolean())
    out.isError = it->get<bool>();
  if (auto it = json->find("_meta"); it != json->end()) out._meta = *it;
  return out;
}

Result<std::vector<ResourceContents>> resource_contents_from_text(std::string_view text) {
  auto json = parse_json(text);
  if (!json) return tl::unexpected(std::move(json.error()));
  std::vector<ResourceContents> out;
  auto contents = json->find("contents");
  if (contents == json->end() || !contents->is_array())
    return fail(ErrorCode::invalid_params,
                "the result of resources/read needs an array \"contents\"");
  for (const Json& item : *contents) {
    auto one = contents_from_json(item);
    if (!one) return tl::unexpected(std::move(one.error()));
    out.push_back(std::move(*one));
  }
  return out;
}

std::string base64_encode(std::string_view bytes) {
  static constexpr char kAlphabet[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    for (size_t k = 0; k < 3; ++k)
      group = group << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    for (size_t k = 0; k < 4; ++k)
      out += i + k > bytes.size() ? '=' : kAlphabet[(group >> (18 - 6 * k)) & 63];
  }
  return out;
}

std::optional<std::string> base64_decode(std::string_view text) {
  auto value = [](char c) -> int {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
  };
  if (text.size() % 4) return std::nullopt;
  size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  const size_t digits = text.size() - padding;
  std::string out;
  out.reserve(text.size() / 4 * 3);
  uint32_t group = 0;
  for (size_t i = 0; i < digits; ++i) {
    const int v = value(text[i]);
    if (v < 0) return std::nullopt;
    group = group << 6 | static_cast<uint32_t>(v);
    if (i % 4 == 3) {
      out += static_cast<char>(group >> 16);
      out += static_cast<char>(group >> 8);
      out += static_cast<char>(group);
      group = 0;
    }
  }
  if (padding == 1) {
    if (group & 3) return std::nullopt;
    out += static_cast<char>(group >> 10);
    out += static_cast<char>(group >> 2);
  } else if (padding == 2) {
    if (group & 15) return std::nullopt;
    out += static_cast<char>(group >> 4);
  }
  return out;
}

}  // namespace gpumcp::mcp
