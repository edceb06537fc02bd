// Calls that wait for their answer. A time-out starts with the request; progress may start it anew,
// up to a cap. In 2026-07-28 a server may answer that it needs something first (input_required);
// the handlers are asked, and the request goes out again with their answers and with the server's
// state as it came (2026-07-28 basic/patterns/mrtr). At most max_rounds times.
#include <fmt/format.h>

#include "mcp/client.h"
#include "mcp/json_members.h"

namespace gpumcp::mcp {
namespace {

using Clock = std::chrono::steady_clock;

// The slot that request() waits on.
struct Waiter {
  std::mutex mutex;
  std::condition_variable_any done;
  std::optional<Result<std::string>> result;
  Clock::time_point heard = Clock::now();  // of the server, about this call
  std::mutex progress_mutex;               // held while on_progress runs
  bool left = false;  // the caller has gone, and with it what on_progress refers to
};

std::string json_string(std::string_view text) {
  std::string out;
  append_string(out, text);
  return out;
}

// What a result says of the rounds; texts of the members, empty where absent.
struct Round {
  std::string type;
  std::string_view requests, state;
};

Round read_round(std::string_view result) {
  Round out;
  (void)scan_json(result, [&](std::string_view key, std::string_view value) {
    if (key == "resultType")
      out.type = value.starts_with('"') ? string_of(value) : std::string(value.substr(0, 40));
    else if (key == "inputRequests")
      out.requests = value;
    else if (key == "requestState")
      out.state = value;
  });
  return out;
}

// A server that only wants to be asked again later is given a moment. False: the caller stopped.
bool pause(int round, std::stop_token stop) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  never.wait_for(lock, stop, std::chrono::milliseconds(50 << std::min(round, 6)),
                 [] { return false; });
  return !stop.stop_requested();
}

}  // namespace

Result<std::string> Client::request(std::string_view method, std::string_view params,
                                    const CallOptions& options, Json meta) {
  if (reader_id_.load() == std::this_thread::get_id())
    return fail(ErrorCode::internal_error,
                fmt::format("{} was called from a callback of the client, where waiting for an "
                            "answer would wait for ever; use request_async, or another thread",
                            method));
  auto waiter = std::make_shared<Waiter>();
  std::function<void(const Json&)> on_progress;
  if (options.on_progress || options.max_timeout.count() > 0) {
    on_progress = [waiter, f = options.on_progress](const Json& progress) {
      {
        std::scoped_lock lock(waiter->mutex);
        waiter->heard = Clock::now();
      }
      std::scoped_lock lock(waiter->progress_mutex);
      if (f && !waiter->left) f(progress);
    };
  }
  const Json& more = options.meta;
  if (more.is_object()) meta.update(more);
  if (modern()) {
    std::scoped_lock lock(mutex_);
    if (const auto level = options.log_level ? options.log_level : log_level_;
        level && !meta.contains(kMetaLogLevel))
      meta[std::string(kMetaLogLevel)] = log_level_name(*level);
  }
  const auto began = Clock::now();
  const RequestId id = next_id();
  start(id, method, params,
        {[waiter](Result<std::string_view> result) {
           std::scoped_lock lock(waiter->mutex);
           waiter->result =
               result ? Result<std::string>(std::string(*result)) : tl::unexpected(result.error());
           waiter->done.notify_all();
         },
         std::move(on_progress)},
        std::move(meta));

  std::unique_lock lock(waiter->mutex);
  auto ready = [&] { return waiter->result.has_value(); };
  auto deadline = [&] {
    return options.max_timeout.count() > 0
               ? std::min(waiter->heard + options.timeout, began + options.max_timeout)
               : began + options.timeout;
  };
  bool answered = false, stopped = false;
  do {
    answered = waiter->done.wait_until(lock, options.stop_token, deadline(), ready);
    stopped = options.stop_token.stop_requested();
  } while (!answered && !stopped && Clock::now() < deadline());  // progress may have moved it
  if (answered) return std::move(*waiter->result);
  lock.unlock();
  cancel(id, stopped ? "cancelled by the caller" : "timed out");
  {
    std::scoped_lock progress_lock(waiter->progress_mutex);
    waiter->left = true;
  }
  if (stopped) return fail(ErrorCode::cancelled, fmt::format("{} was cancelled", method));
  const bool capped =
      options.max_timeout.count() > 0 && Clock::now() >= began + options.max_timeout;
  return fail(ErrorCode::timeout,
              fmt::format("{} had no answer within {} ms{}", method,
                          (capped ? options.max_timeout : options.timeout).count(),
                          capped ? ", progress or not" : ""));
}

Result<Client::Outcome> Client::request_rounds(std::string_view method, const std::string& params,
                                               const CallOptions& options) {
  std::string answers;  // the members that the retry adds
  for (int round = 1;; ++round) {
    auto text = request(method, params + answers, options);
    if (!text) return tl::unexpected(std::move(text.error()));
    if (!modern()) return Outcome{std::move(*text), round};
    const Round asked = read_round(*text);
    if (asked.type.empty() || asked.type == "complete") return Outcome{std::move(*text), round};
    if (asked.type == "task" && options_.tasks && method == "tools/call")
      return Outcome{std::move(*text), round, true};
    if (asked.type != "input_required")
      return fail(ErrorCode::invalid_request,
                  fmt::format("the server answered {} with resultType \"{}\", which this client "
                              "does not know",
                              method, asked.type.substr(0, 80)));
    if (asked.requests.empty() && asked.state.empty())
      return fail(ErrorCode::invalid_request,
                  "the server's input_required says neither what it needs nor a state");
    if (round > options_.max_rounds)
      return fail(ErrorCode::invalid_request,
                  fmt::format("the server wanted something more after {} rounds of input_required; "
                              "ClientOptions::max_rounds allows more",
                              options_.max_rounds));
    answers.clear();
    if (!asked.requests.empty()) {
      auto given = answers_to(asked.requests, options.stop_token);
      if (!given) return tl::unexpected(std::move(given.error()));
      answers = R"(,"inputResponses":)" + *given;
    } else if (!pause(round, options.stop_token)) {
      return fail(ErrorCode::cancelled, fmt::format("{} was cancelled", method));
    }
    if (!asked.state.empty()) (answers += R"(,"requestState":)") += asked.state;
  }
}

Result<std::string> Client::answers_to(std::string_view requests, std::stop_token stop) {
  constexpr size_t kMaxQuestions = 64;
  auto json = parse_json(requests);
  if (!json || !json->is_object() || json->size() > kMaxQuestions)
    return fail(ErrorCode::invalid_request,
                fmt::format("the server's inputRequests is no object of at most {} questions",
                            kMaxQuestions));
  std::string out = "{";
  for (const auto& [key, one] : json->items()) {
    if (stop.stop_requested())
      return fail(ErrorCode::cancelled,
                  "the call was cancelled while the server's questions were "
                  "answered");
    const Json* params = member(one, "params");
    auto answer = answer_question(options_.handlers, text_of(one, "method"),
                                  params ? *params : Json::object(), version_, stop);
    if (!answer)
      return fail(
          answer.error().code,
          fmt::format("the server's question \"{}\" ({}) has no answer: {}", key.substr(0, 80),
                      text_of(one, "method").substr(0, 80), answer.error().message));
    if (out.size() > 1) out += ',';
    append_string(out, key);
    (out += ':') += *answer;
  }
  return out + "}";
}

Result<Client::Outcome> Client::call(const std::string& name, const Json& arguments,
                                     const CallOptions& options) {
  const std::string params = fmt::format(R"("name":{},"arguments":{})", json_string(name),
                                         arguments.is_null() ? "{}" : to_text(arguments));
  auto outcome = request_rounds("tools/call", params, options);
  if (!outcome && outcome.error().code == ErrorCode::header_mismatch &&
      transport_->carries_headers()) {
    // The tool's schema says what goes into headers: it is not known yet, or is another now.
    if (list_tools({.timeout = options.timeout, .stop_token = options.stop_token, .fresh = true}))
      outcome = request_rounds("tools/call", params, options);
  }
  return outcome;
}

Result<GetPromptResult> Client::get_prompt(const std::string& name,
                                           const std::map<std::string, std::string>& arguments,
                                           const CallOptions& options) {
  std::string params = "\"name\":" + json_string(name);
  if (!arguments.empty()) params += ",\"arguments\":" + to_text(Json(arguments));
  auto outcome = request_rounds("prompts/get", params, options);
  if (!outcome) return tl::unexpected(std::move(outcome.error()));
  return get_prompt_result_from_text(outcome->text);
}

Result<Completion> Client::complete(const CompletionQuery& query, const CallOptions& options) {
  Json ref = {{"type", "ref/prompt"}, {"name", query.prompt}};
  if (query.prompt.empty()) ref = {{"type", "ref/resource"}, {"uri", query.uri_template}};
  std::string params = fmt::format(R"("ref":{},"argument":{})", to_text(ref),
                                   to_text(Json{{"name", query.argument}, {"value", query.value}}));
  if (!query.context.empty())
    params += ",\"context\":" + to_text(Json{{"arguments", query.context}});
  auto text = request("completion/complete", params, options);
  if (!text) return tl::unexpected(std::move(text.error()));
  auto json = parse_json(*text);
  if (!json) return tl::unexpected(std::move(json.error()));
  const Json* completion = member(*json, "completion");
  return completion_from_json(completion ? *completion : Json());
}

Result<void> Client::ping(const CallOptions& options) {
  auto text = request(modern() ? "server/discover" : "ping", "", options);
  if (!text) return tl::unexpected(std::move(text.error()));
  return {};
}

Result<void> Client::set_log_level(LogLevel level) {
  if (!modern()) {
    auto text = request("logging/setLevel", fmt::format("\"level\":\"{}\"", log_level_name(level)),
                        {.timeout = options_.connect_timeout});
    if (!text) return tl::unexpected(std::move(text.error()));
  }
  std::scoped_lock lock(mutex_);
  log_level_ = level;
  return {};
}

}  // namespace gpumcp::mcp
