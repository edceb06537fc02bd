// What a client offers its server: answers to the questions that a server asks while it serves a
// request (2026-07-28: inside input_required; before: requests of its own). The same handlers serve
// both eras. A capability is declared for what is set here, and for nothing else. Handlers run on
// the calling thread (2026-07-28) or on a thread of the client's pool (before), several at once;
// they may block, and should leave when the token stops. One that throws refuses the question.
// Sources: spec client/elicitation, client/sampling, client/roots.
#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "mcp/client_features.h"

namespace gpumcp::mcp {

struct ClientHandlers {
  // Asks the user for a form's values. Members that an accepted answer leaves out get the schema's
  // defaults (SEP-1034); an answer that does not fit the schema is not sent.
  std::function<ElicitResult(const ElicitRequest&, std::stop_token)> elicit_form = {};
  // Asks the user whether to open request.url, shown in full; opening it is the handler's work.
  std::function<ElicitResult(const ElicitRequest&, std::stop_token)> elicit_url = {};
  std::function<CreateMessageResult(const CreateMessageRequest&, std::stop_token)> sample = {};
  bool sampling_tools = false, sampling_context = false;  // what `sample` can do beyond text
  std::function<std::vector<Root>(std::stop_token)> roots = {};
};

// The ClientCapabilities object for `version`.
Json capabilities_of(const ClientHandlers& handlers, std::string_view version);

// Asks the handler for `method`, and gives its answer as a result's JSON text. Error
// method_not_found: there is no handler for it; invalid_params: the question, or the handler's
// answer, is not what the spec allows; internal_error: the handler threw. Never throws.
Result<std::string> answer_question(const ClientHandlers& handlers, std::string_view method,
                                    const Json& params, std::string_view version,
                                    std::stop_token stop);

}  // namespace gpumcp::mcp
