// MCP's values with the spec's own names: a field's name is its JSON key (camelCase here and only
// here). Plain structs, copyable, thread-safe as values are. Writers give the wire text for a
// protocol version. Source: schema/2026-07-28/schema.ts and, for older versions,
// schema/<version>/schema.ts.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "mcp/json.h"

namespace gpumcp::mcp {

// Versions are ISO dates, so they compare as texts.
inline constexpr std::string_view kModernVersion = "2026-07-28";
inline constexpr std::string_view kLatestLegacyVersion = "2025-11-25";
inline constexpr std::array<std::string_view, 5> kVersions = {
    "2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"};
bool is_supported_version(std::string_view version);
inline bool is_modern_version(std::string_view version) { return version >= kModernVersion; }

// `_meta` keys of 2026-07-28.
inline constexpr std::string_view kMetaProtocolVersion = "io.modelcontextprotocol/protocolVersion";
inline constexpr std::string_view kMetaClientCapabilities =
    "io.modelcontextprotocol/clientCapabilities";
inline constexpr std::string_view kMetaClientInfo = "io.modelcontextprotocol/clientInfo";
inline constexpr std::string_view kMetaServerInfo = "io.modelcontextprotocol/serverInfo";
inline constexpr std::string_view kMetaLogLevel = "io.modelcontextprotocol/logLevel";

// A picture for hosts to show. src: https or data URI (spec: basic/index, "icons").
struct Icon {
  std::string src, mimeType = {};
  std::vector<std::string> sizes = {};  // "48x48", "any"
  std::string theme = {};               // "light", "dark" or empty
};

struct Implementation {
  std::string name, version, title = {};
  std::string description = {}, websiteUrl = {};
  std::vector<Icon> icons = {};
};

struct Annotations {
  std::vector<std::string> audience = {};
  std::optional<double> priority = {};
  std::string lastModified = {};
};

struct TextContent {
  std::string text;
};
struct ImageContent {
  std::string data /* base64 */, mimeType;
};
struct AudioContent {
  std::string data /* base64 */, mimeType;
};
struct ResourceContents {
  std::string uri, mimeType;
  std::string text = {};
  std::optional<std::string> blob = {};  // base64; when set, `text` is not sent
};
struct EmbeddedResource {
  ResourceContents resource;
};
struct ResourceLink {
  std::string uri, name;
  std::string title = {}, description = {}, mimeType = {};
  std::optional<int64_t> size = {};  // bytes
};

// A kind of block that this library does not know, or that it has no type for (tool_use and
// tool_result of sampling): the block's object as it came, as JSON text.
struct OtherContent {
  std::string json;
};

struct ContentBlock {
  std::variant<TextContent, ImageContent, AudioContent, ResourceLink, EmbeddedResource,
               OtherContent>
      value;
  std::optional<Annotations> annotations = {};
  Json _meta = nullptr;
};

// structuredContent is a JSON text (empty: absent), so that a large one is written once and never
// decoded.
struct CallToolResult {
  std::vector<ContentBlock> content = {};
  std::string structuredContent = {};
  bool isError = false;
  Json _meta = nullptr;

  static CallToolResult text(std::string text);
  static CallToolResult error(std::string text);  // isError
};

struct ToolAnnotations {
  std::string title = {};
  std::optional<bool> readOnlyHint = {}, destructiveHint = {}, idempotentHint = {},
                      openWorldHint = {};
};

struct Tool {
  std::string name, title = {}, description = {};
  Json inputSchema = Json::object();  // root "type": "object"; kept as written
  Json outputSchema = nullptr;        // null: none
  std::optional<ToolAnnotations> annotations = {};
  std::vector<Icon> icons = {};
  Json _meta = nullptr;
};

struct Resource {
  std::string uri, name;
  std::string title = {}, description = {}, mimeType = {};
  std::optional<int64_t> size = {};
  std::optional<Annotations> annotations = {};
  std::vector<Icon> icons = {};
  Json _meta = nullptr;
};

struct ResourceTemplate {
  std::string uriTemplate, name;  // RFC 6570
  std::string title = {}, description = {}, mimeType = {};
  std::optional<Annotations> annotations = {};
  std::vector<Icon> icons = {};
  Json _meta = nullptr;
};

struct PromptArgument {
  std::string name, description = {};
  bool required = false;
  std::string title = {};
};

struct Prompt {
  std::string name, title = {}, description = {};
  std::vector<PromptArgument> arguments = {};
  std::vector<Icon> icons = {};
  Json _meta = nullptr;
};

struct PromptMessage {
  std::string role;  // "user" or "assistant"
  ContentBlock content;
};

struct GetPromptResult {
  std::string description = {};
  std::vector<PromptMessage> messages = {};
  Json _meta = nullptr;
};

// Proposals for one argument's value (completion/complete). At most 100 values go out.
struct Completion {
  std::vector<std::string> values = {};
  std::optional<int64_t> total = {};
  std::optional<bool> hasMore = {};
};

enum class LogLevel { debug, info, notice, warning, error, critical, alert, emergency };
std::string_view log_level_name(LogLevel level);
std::optional<LogLevel> find_log_level(std::string_view name);

// Objects as a client of `version` understands them: what it does not know is left out.
Json to_json(const Tool& tool, std::string_view version = kModernVersion);
Json to_json(const Resource& resource, std::string_view version = kModernVersion);
Json to_json(const ResourceTemplate& resource, std::string_view version = kModernVersion);
Json to_json(const Prompt& prompt, std::string_view version = kModernVersion);
Json to_json(const Implementation& implementation, std::string_view version = kModernVersion);
Json to_json(const Completion& completion);
Json to_json(const Annotations& annotations, std::string_view version = kModernVersion);
// Content that `version` does not know becomes text: a link before 2025-06-18, audio before
// 2025-03-26.
void append_json(std::string& out, const ContentBlock& block,
                 std::string_view version = kModernVersion);
void append_json(std::string& out, const ResourceContents& contents);
std::string to_text(const CallToolResult& result, std::string_view version = kModernVersion);
// The result's members without braces, but not its `_meta`.
void append_members(std::string& out, const CallToolResult& result, std::string_view version);
std::string to_text(const GetPromptResult& result, std::string_view version = kModernVersion);

// From the wire; unknown members are ignored. Error invalid_params names the member that is wrong.
Result<Tool> tool_from_json(const Json& json);
Result<Resource> resource_from_json(const Json& json);
Result<ResourceTemplate> resource_template_from_json(const Json& json);
Result<Prompt> prompt_from_json(const Json& json);
std::optional<Annotations> annotations_from_json(const Json* json);  // nullptr: there are none
Implementation implementation_from_json(const Json& json);
Result<ContentBlock> content_block_from_json(const Json& json);
Result<Completion> completion_from_json(const Json& json);  // of the result's "completion"
Result<CallToolResult> call_tool_result_from_text(std::string_view text);
Result<GetPromptResult> get_prompt_result_from_text(std::string_view text);
Result<std::vector<ResourceContents>> resource_contents_from_text(std::string_view text);

std::string base64_encode(std::string_view bytes);
std::optional<std::string> base64_decode(
    std::string_view text);  // strict: alphabet, padding, length

}  // namespace gpumcp::mcp
