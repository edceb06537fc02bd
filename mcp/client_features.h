// What a server may ask of its client while it serves a request: elicitation (ask the user),
// sampling (ask the client's language model), roots (folders that the user opened). Values, with
// the spec's names; both sides use them. Sources: spec client/elicitation, client/sampling,
// client/roots. Sampling and roots are deprecated since 2026-07-28 (SEP-2577) and leave on or after
// 2027-07-28.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "mcp/protocol.h"

namespace gpumcp::mcp {

// Form mode unless `url` is set. The schema is a flat object of primitives, enums and arrays of
// enums, each may have a "default".
struct ElicitRequest {
  std::string message;
  Json requestedSchema = nullptr;  // form mode
  std::string url = {};            // url mode; consent only, says nothing about completion
  std::string elicitationId = {};  // url mode, 2025-11-25 only
};

struct ElicitResult {
  enum class Action { accept, decline, cancel };
  Action action = Action::cancel;
  Json content = nullptr;  // an object, for accepted forms
  bool accepted() const { return action == Action::accept; }
};

struct SamplingMessage {
  std::string role;  // "user" or "assistant"
  std::vector<ContentBlock> content;
};

struct CreateMessageRequest {
  std::vector<SamplingMessage> messages;
  int64_t maxTokens = 1000;
  std::string systemPrompt = {};
  std::optional<double> temperature = {};
  std::vector<std::string> stopSequences = {};
  std::string includeContext = {};  // "none", "thisServer", "allServers"
  // As on the wire; null: absent.
  Json modelPreferences = nullptr, metadata = nullptr, tools = nullptr, toolChoice = nullptr;
};

struct CreateMessageResult {
  std::string role = "assistant";
  std::vector<ContentBlock> content;
  std::string model = {}, stopReason = {};
  // The text blocks, joined.
  std::string text() const;
};

struct Root {
  std::string uri;  // file://…
  std::string name = {};
};

struct ListRootsRequest {};
struct ListRootsResult {
  std::vector<Root> roots = {};
};

using InputRequest = std::variant<ElicitRequest, CreateMessageRequest, ListRootsRequest>;
using InputResponse = std::variant<ElicitResult, CreateMessageResult, ListRootsResult>;

// ClientCapabilities, kept as they came: unknown ones are preserved.
class ClientCapabilities {
 public:
  ClientCapabilities() = default;
  explicit ClientCapabilities(Json json) : json_(std::move(json)) {}
  const Json& json() const { return json_; }

  bool elicitation_form() const;  // "elicitation": {} means form only
  bool elicitation_url() const;
  bool sampling() const { return has("sampling"); }
  bool sampling_tools() const { return has("sampling", "tools"); }
  bool sampling_context() const { return has("sampling", "context"); }
  bool roots() const { return has("roots"); }
  bool extension(std::string_view id) const { return has("extensions", id); }

 private:
  bool has(std::string_view key, std::string_view sub = {}) const;
  Json json_ = Json::object();
};

// The capability that `request` needs and `capabilities` lack, as a ClientCapabilities object such
// as {"sampling": {}}; null if nothing is missing. What `version` does not have nobody can declare.
Json missing_capability(const InputRequest& request, const ClientCapabilities& capabilities,
                        std::string_view version = kModernVersion);

// Whether it can be asked at all: a form's requestedSchema must compile.
Result<void> check_request(const InputRequest& request);

std::string_view method_of(const InputRequest& request);  // "elicitation/create", …
// The request's params as a client of `version` understands them.
Json params_to_json(const InputRequest& request, std::string_view version = kModernVersion);
Result<InputRequest> input_request_from_json(std::string_view method, const Json& params);

Json to_json(const InputResponse& response, std::string_view version = kModernVersion);
// Reads the answer to `request`. The content of an accepted form must conform to the requested
// schema, its formats too. The error names what is wrong.
Result<InputResponse> input_response_from_json(const InputRequest& request, const Json& json);

}  // namespace gpumcp::mcp
