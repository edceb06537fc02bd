// What servers list: tools, resources, templates, prompts and the parties' own names.
#include "mcp/protocol.h"

#include <algorithm>

#include "mcp/json_members.h"

namespace gpumcp::mcp {
namespace {

constexpr std::array<std::string_view, 8> kLogLevels = {"debug", "info",     "notice", "warning",
                                                        "error", "critical", "alert",  "emergency"};

void put_icons(Json& json, const std::vector<Icon>& icons, std::string_view version) {
  if (icons.empty() || version < "2025-11-25") return;
  Json list = Json::array();
  for (const Icon& icon : icons) {
    Json one = {{"src", icon.src}};
    put(one, "mimeType", icon.mimeType);
    if (!icon.sizes.empty()) one["sizes"] = icon.sizes;
    put(one, "theme", icon.theme);
    list.push_back(std::move(one));
  }
  json["icons"] = std::move(list);
}

std::vector<Icon> icons_from_json(const Json& json) {
  std::vector<Icon> out;
  const Json* icons = member(json, "icons");
  if (!icons || !icons->is_array()) return out;
  for (const Json& one : *icons) {
    Icon icon{text_of(one, "src"), text_of(one, "mimeType"), {}, text_of(one, "theme")};
    if (const Json* sizes = member(one, "sizes"); sizes && sizes->is_array()) {
      for (const Json& size : *sizes)
        if (size.is_string()) icon.sizes.push_back(size.get<std::string>());
    }
    if (!icon.src.empty()) out.push_back(std::move(icon));
  }
  return out;
}

void put_meta(Json& json, const Json& meta, std::string_view version) {
  if (version >= "2025-06-18" && !meta.is_null()) json["_meta"] = meta;
}
Json meta_from_json(const Json& json) {
  const Json* meta = member(json, "_meta");
  return meta ? *meta : Json(nullptr);
}

// What resources and templates have in common; the URI is theirs.
template <class R>
void put_resource(Json& json, const R& resource, std::string_view version) {
  json["name"] = resource.name;
  if (version >= "2025-06-18") put(json, "title", resource.title);
  put(json, "description", resource.description);
  put(json, "mimeType", resource.mimeType);
  if (resource.annotations) json["annotations"] = to_json(*resource.annotations, version);
  put_icons(json, resource.icons, version);
  put_meta(json, resource._meta, version);
}
template <class R>
void read_resource(R& out, const Json& json) {
  out.name = text_of(json, "name");
  out.title = text_of(json, "title");
  out.description = text_of(json, "description");
  out.mimeType = text_of(json, "mimeType");
  out.annotations = annotations_from_json(member(json, "annotations"));
  out.icons = icons_from_json(json);
  out._meta = meta_from_json(json);
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

Json to_json(const Implementation& implementation, std::string_view version) {
  Json json = {{"name", implementation.name}, {"version", implementation.version}};
  if (version >= "2025-06-18") put(json, "title", implementation.title);
  if (version >= "2025-11-25") {
    put(json, "description", implementation.description);
    put(json, "websiteUrl", implementation.websiteUrl);
  }
  put_icons(json, implementation.icons, version);
  return json;
}

Implementation implementation_from_json(const Json& json) {
  return {text_of(json, "name"),        text_of(json, "version"),    text_of(json, "title"),
          text_of(json, "description"), text_of(json, "websiteUrl"), icons_from_json(json)};
}

Json to_json(const Tool& tool, std::string_view version) {
  Json json = {{"name", tool.name}};
  if (version >= "2025-06-18") put(json, "title", tool.title);
  put(json, "description", tool.description);
  json["inputSchema"] = tool.inputSchema;
  // Up to 2025-11-25 the root must be an object; without the schema the text block still has it
  // all.
  if (version >= "2025-06-18" && !tool.outputSchema.is_null() &&
      (is_modern_version(version) || text_of(tool.outputSchema, "type") == "object"))
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
  put_icons(json, tool.icons, version);
  put_meta(json, tool._meta, version);
  return json;
}

Result<Tool> tool_from_json(const Json& json) {
  if (text_of(json, "name").empty())
    return fail(ErrorCode::invalid_params, "a tool needs a \"name\"");
  Tool tool{.name = text_of(json, "name"),
            .title = text_of(json, "title"),
            .description = text_of(json, "description")};
  if (const Json* schema = member(json, "inputSchema"); schema && schema->is_object())
    tool.inputSchema = *schema;
  if (const Json* schema = member(json, "outputSchema")) tool.outputSchema = *schema;
  if (const Json* hints = member(json, "annotations"); hints && hints->is_object()) {
    auto hint = [&](const char* key) -> std::optional<bool> {
      const Json* h = member(*hints, key);
      return h && h->is_boolean() ? std::optional(h->get<bool>()) : std::nullopt;
    };
    tool.annotations =
        ToolAnnotations{text_of(*hints, "title"), hint("readOnlyHint"), hint("destructiveHint"),
                        hint("idempotentHint"), hint("openWorldHint")};
  }
  tool.icons = icons_from_json(json);
  tool._meta = meta_from_json(json);
  return tool;
}

Json to_json(const Resource& resource, std::string_view version) {
  Json json = {{"uri", resource.uri}};
  put_resource(json, resource, version);
  if (resource.size) json["size"] = *resource.size;
  return json;
}

Result<Resource> resource_from_json(const Json& json) {
  Resource out{.uri = text_of(json, "uri"), .name = {}};
  if (out.uri.empty()) return fail(ErrorCode::invalid_params, "a resource needs a \"uri\"");
  read_resource(out, json);
  if (const Json* size = member(json, "size"); size && size->is_number_integer())
    out.size = size->get<int64_t>();
  return out;
}

Json to_json(const ResourceTemplate& resource, std::string_view version) {
  Json json = {{"uriTemplate", resource.uriTemplate}};
  put_resource(json, resource, version);
  return json;
}

Result<ResourceTemplate> resource_template_from_json(const Json& json) {
  ResourceTemplate out{.uriTemplate = text_of(json, "uriTemplate"), .name = {}};
  if (out.uriTemplate.empty())
    return fail(ErrorCode::invalid_params, "a resource template needs a \"uriTemplate\"");
  read_resource(out, json);
  return out;
}

Json to_json(const Prompt& prompt, std::string_view version) {
  Json json = {{"name", prompt.name}};
  if (version >= "2025-06-18") put(json, "title", prompt.title);
  put(json, "description", prompt.description);
  Json arguments = Json::array();
  for (const PromptArgument& argument : prompt.arguments) {
    Json one = {{"name", argument.name}};
    if (version >= "2025-06-18") put(one, "title", argument.title);
    put(one, "description", argument.description);
    if (argument.required) one["required"] = true;
    arguments.push_back(std::move(one));
  }
  if (!arguments.empty()) json["arguments"] = std::move(arguments);
  put_icons(json, prompt.icons, version);
  put_meta(json, prompt._meta, version);
  return json;
}

Result<Prompt> prompt_from_json(const Json& json) {
  Prompt out{text_of(json, "name"), text_of(json, "title"), text_of(json, "description")};
  if (out.name.empty()) return fail(ErrorCode::invalid_params, "a prompt needs a \"name\"");
  if (const Json* arguments = member(json, "arguments"); arguments && arguments->is_array()) {
    for (const Json& one : *arguments) {
      const Json* required = member(one, "required");
      out.arguments.push_back({text_of(one, "name"), text_of(one, "description"),
                               required && *required == true, text_of(one, "title")});
    }
  }
  out.icons = icons_from_json(json);
  out._meta = meta_from_json(json);
  return out;
}

Json to_json(const Completion& completion) {
  constexpr size_t kMaxValues = 100;
  Json values = Json::array();
  for (size_t i = 0; i < std::min(completion.values.size(), kMaxValues); ++i)
    values.push_back(completion.values[i]);
  Json json = {{"values", std::move(values)}};
  const bool cut = completion.values.size() > kMaxValues;
  if (completion.total || cut)
    json["total"] = completion.total.value_or(static_cast<int64_t>(completion.values.size()));
  if (completion.hasMore || cut) json["hasMore"] = completion.hasMore.value_or(true);
  return json;
}

Result<Completion> completion_from_json(const Json& json) {
  const Json* values = member(json, "values");
  if (!values || !values->is_array())
    return fail(ErrorCode::invalid_params, "a completion needs an array \"values\"");
  Completion out;
  for (const Json& value : *values)
    if (value.is_string()) out.values.push_back(value.get<std::string>());
  if (const Json* total = member(json, "total"); total && total->is_number_integer())
    out.total = total->get<int64_t>();
  if (const Json* more = member(json, "hasMore"); more && more->is_boolean())
    out.hasMore = more->get<bool>();
  return out;
}

}  // namespace gpumcp::mcp
