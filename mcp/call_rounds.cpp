// What a handler asks of its client. Up to 2025-11-25: a request now, and its answer. In
// 2026-07-28: the handler leaves, the client is told what is wanted, and its retry brings the
// answers, together with the sealed state of the rounds before. Source: 2026-07-28
// basic/patterns/mrtr.
#include <fmt/format.h>

#include "mcp/call.h"
#include "mcp/json_members.h"
#include "mcp/server_impl.h"

namespace gpumcp::mcp {
namespace {

constexpr size_t kMaxStateBytes = 32u << 10;    // the handler's own
constexpr size_t kMaxSealedBytes = 256u << 10;  // with the answers

}  // namespace

// What the state is bound to: whose request, and which.
std::string Call::seal_context() const {
  // The same arguments may come with other spaces or another order of keys.
  const nlohmann::json arguments =
      nlohmann::json::parse(spec_.arguments.empty() ? "{}" : spec_.arguments);
  return fmt::format("{}\n{}\n{}\n{}", spec_.principal, spec_.method, spec_.name,
                     sha256_hex(arguments.dump()));
}

Result<void> Call::open_round() {
  if (!spec_.request_state.empty()) {
    if (!spec_.request_state.starts_with('"'))
      return fail(ErrorCode::invalid_params, "params.requestState: expected a string");
    auto text = session_->server_->sealer.open(string_of(spec_.request_state), seal_context());
    if (!text) return tl::unexpected(std::move(text.error()));
    auto sealed = parse_scanned(*text);  // our own
    if (!sealed) return tl::unexpected(std::move(sealed.error()));
    answers_ = std::move((*sealed)["a"]);
    state_ = std::move((*sealed)["s"]);
  }
  if (spec_.input_responses.empty()) return {};
  auto given = parse_json(spec_.input_responses);
  if (!given || !given->is_object())
    return fail(ErrorCode::invalid_params,
                "params.inputResponses: expected an object of answers by key");
  given_ = std::move(*given);
  return {};
}

std::map<std::string, InputResponse> Call::ask(std::map<std::string, InputRequest> requests) {
  for (auto& [key, request] : requests) {
    Json missing = missing_capability(request, spec_.asker->capabilities, spec_.asker->version);
    if (!missing.is_null()) throw MissingCapability(std::move(missing));
    if (auto asked = check_request(request); !asked)
      throw std::invalid_argument(
          fmt::format("its question \"{}\" cannot be asked: {}", key, asked.error().message));
  }
  if (!spec_.modern) return ask_now(requests);
  if (auto task = this->task()) return ask_task(*task, requests);
  std::map<std::string, InputResponse> out;
  for (auto& [key, request] : requests) {
    // A new answer counts more than that of a round before; one that is wrong is asked for again.
    bool answered = false;
    for (Json* source : {&given_, &answers_}) {
      const Json* json = member(*source, key);
      if (!json) continue;
      auto response = input_response_from_json(request, *json);
      if (!response) continue;
      if (source == &given_) answers_[key] = *json;
      out.emplace(key, std::move(*response));
      answered = true;
      break;
    }
    if (!answered) wanted_.emplace(key, request);
  }
  if (!wanted_.empty()) throw HandlerLeft();
  return out;
}

std::map<std::string, InputResponse> Call::ask_now(
    const std::map<std::string, InputRequest>& requests) {
  std::vector<Session::Question> questions;
  for (auto& [key, request] : requests) {
    const auto* elicit = std::get_if<ElicitRequest>(&request);
    if (elicit && !elicit->url.empty() && !elicit->elicitationId.empty())
      session_->expect_completion(elicit->elicitationId);
    questions.push_back(
        {method_of(request), to_text(params_to_json(request, spec_.asker->version))});
  }
  StandIns::about_to_wait();
  auto answers = session_->ask(*spec_.sink, questions, stop_token());
  if (cancelled()) throw HandlerLeft();
  std::map<std::string, InputResponse> out;
  size_t i = 0;
  for (auto& [key, request] : requests) {
    auto& answer = answers[i++];
    if (!answer)
      throw ToolError(
          fmt::format("the client refused {}: {}", method_of(request), answer.error().message));
    auto json = parse_json(*answer);
    auto response = json ? input_response_from_json(request, *json)
                         : Result<InputResponse>(tl::unexpected(json.error()));
    if (!response)
      throw ToolError(fmt::format("the client's answer to {} cannot be used: {}",
                                  method_of(request), response.error().message));
    out.emplace(key, std::move(*response));
  }
  return out;
}

void Call::finish_round() {
  if (wanted_.empty()) return;  // it left because it was cancelled, as a call or as a task
  Json requests = Json::object();
  for (auto& [key, request] : wanted_)
    requests[key] = {{"method", method_of(request)}, {"params", params_to_json(request)}};
  const std::string state = to_text(Json{{"a", answers_}, {"s", state_}});
  if (to_text(state_).size() > kMaxStateBytes || state.size() > kMaxSealedBytes) {
    wanted_.clear();
    return fail_handler(fmt::format(
        "{} keeps {} bytes between rounds, more than the limit of {}", spec_.name, state.size(),
        to_text(state_).size() > kMaxStateBytes ? kMaxStateBytes : kMaxSealedBytes));
  }
  std::string out = fmt::format(
      R"({{"resultType":"input_required","inputRequests":{},"requestState":)", to_text(requests));
  append_string(
      out, session_->server_->sealer.seal(
               state, seal_context(), Sealer::Clock::now() + session_->server_->options.state_ttl));
  out += fmt::format(R"(,"_meta":{{{}}}}})", session_->server_->info_member);
  if (claim()) send(make_result(spec_.id, out), std::nullopt);
}

void Call::finish_missing(const MissingCapability& missing) {
  if (!spec_.modern) return fail_handler(missing.what());
  finish_error({ErrorCode::missing_client_capability, missing.what(),
                fmt::format(R"({{"requiredCapabilities":{}}})", to_text(missing.required()))});
}

std::string Call::round() const {
  std::string out;
  if (!spec_.input_responses.empty()) (out += R"("inputResponses":)") += spec_.input_responses;
  if (!spec_.request_state.empty())
    ((out += out.empty() ? "" : ",") += R"("requestState":)") += spec_.request_state;
  return out;
}

void Call::release_stream(std::chrono::milliseconds retry) {
  if (spec_.asker->version < "2025-11-25" || spec_.modern) return;
  std::scoped_lock lock(mutex_);
  if (!answered_) spec_.sink->release(retry);
}

}  // namespace gpumcp::mcp
