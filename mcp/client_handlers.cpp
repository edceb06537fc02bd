#include "mcp/client_handlers.h"

#include <fmt/format.h>

#include "mcp/json_schema.h"

namespace gpumcp::mcp {
namespace {

tl::unexpected<Error> not_offered(std::string_view what) {
  return fail(ErrorCode::method_not_found,
              fmt::format("this client does not offer {}; its capabilities say so", what));
}

Result<InputResponse> elicit(const ClientHandlers& handlers, const ElicitRequest& request,
                             std::stop_token stop) {
  if (!request.url.empty()) {
    if (!handlers.elicit_url) return not_offered("elicitation by URL");
    return handlers.elicit_url(request, std::move(stop));
  }
  if (!handlers.elicit_form) return not_offered("elicitation by form");
  // Compiled first: nobody should fill in a form whose answer cannot be checked.
  auto schema = JsonSchema::compile(request.requestedSchema);
  if (!schema) return fail(ErrorCode::invalid_params, "requestedSchema: " + schema.error().message);
  ElicitResult answer = handlers.elicit_form(request, std::move(stop));
  if (!answer.accepted()) return answer;
  if (answer.content.is_null()) answer.content = Json::object();
  answer.content = fill_defaults(request.requestedSchema, std::move(answer.content));
  if (auto ok = schema->validate(answer.content, "content"); !ok)
    return fail(ErrorCode::invalid_params,
                "the user's answer does not fit the form: " + ok.error().message);
  return answer;
}

Result<InputResponse> ask(const ClientHandlers& handlers, const InputRequest& request,
                          std::stop_token stop) {
  if (auto form = std::get_if<ElicitRequest>(&request))
    return elicit(handlers, *form, std::move(stop));
  if (auto sampling = std::get_if<CreateMessageRequest>(&request)) {
    if (!handlers.sample) return not_offered("sampling");
    if (!sampling->tools.is_null() && !handlers.sampling_tools)
      return not_offered("sampling with tools");
    return handlers.sample(*sampling, std::move(stop));
  }
  if (!handlers.roots) return not_offered("roots");
  return ListRootsResult{handlers.roots(std::move(stop))};
}

}  // namespace

Json capabilities_of(const ClientHandlers& handlers, std::string_view version) {
  const Json none = Json::object();
  Json out = none;
  if (handlers.roots) {
    out["roots"] = none;
    if (!is_modern_version(version)) out["roots"]["listChanged"] = true;
  }
  if (handlers.sample) {
    out["sampling"] = none;
    if (handlers.sampling_tools) out["sampling"]["tools"] = none;
    if (handlers.sampling_context) out["sampling"]["context"] = none;
  }
  // {} means form only, and is all that clients before 2025-11-25 could say.
  if (handlers.elicit_form || handlers.elicit_url) out["elicitation"] = none;
  if (handlers.elicit_url) {
    out["elicitation"]["url"] = none;
    if (handlers.elicit_form) out["elicitation"]["form"] = none;
  }
  return out;
}

Result<std::string> answer_question(const ClientHandlers& handlers, std::string_view method,
                                    const Json& params, std::string_view version,
                                    std::stop_token stop) {
  try {
    auto request = input_request_from_json(method, params);
    if (!request) return tl::unexpected(std::move(request.error()));
    auto answer = ask(handlers, *request, std::move(stop));
    if (!answer) return tl::unexpected(std::move(answer.error()));
    return to_text(to_json(*answer, version));
  } catch (const std::exception& e) {
    return fail(ErrorCode::internal_error, fmt::format("{} failed: {}", method, e.what()));
  } catch (...) {
    return fail(ErrorCode::internal_error, fmt::format("{} failed", method));
  }
}

}  // namespace gpumcp::mcp
