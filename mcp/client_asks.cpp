// What servers up to 2025-11-25 ask of their client by requests of their own. Pings are answered by
// the reader; the rest runs on the pool, since a user may take minutes. The server may take a
// question back (notifications/cancelled). In 2026-07-28 there are no such requests, and no
// answers.
#include <fmt/format.h>

#include "mcp/client.h"
#include "mcp/json_members.h"

namespace gpumcp::mcp {

void Client::on_question(const Message& message) {
  const RequestId id = message.id();
  auto refuse = [&](ErrorCode code, std::string why) {
    (void)transport_->write(make_error(id, {code, std::move(why)}));
  };
  const std::string version = version_now();
  if (is_modern_version(version)) return;
  if (message.method() == "ping") {
    (void)transport_->write(make_result(id, "{}"));
    return;
  }
  const bool offered = (message.method() == "roots/list" && options_.handlers.roots) ||
                       (message.method() == "sampling/createMessage" && options_.handlers.sample) ||
                       (message.method() == "elicitation/create" &&
                        (options_.handlers.elicit_form || options_.handlers.elicit_url));
  if (!offered)
    return refuse(ErrorCode::method_not_found,
                  fmt::format("this client does not offer \"{}\"", message.method().substr(0, 80)));
  auto params = parse_json(message.params().empty() ? "{}" : message.params());
  if (!params) return refuse(ErrorCode::invalid_params, params.error().message);
  std::stop_token stop;
  {
    std::scoped_lock lock(mutex_);
    const auto [it, added] = questions_.emplace(id, std::stop_source());
    if (added) stop = it->second.get_token();
  }
  if (!stop.stop_possible())
    return refuse(ErrorCode::invalid_request, fmt::format("the id {} is in use", id.json));
  const bool taken = tasks_.submit(
      [this, id, stop, version, method = message.method(), params = std::move(*params)] {
        auto answer = answer_question(options_.handlers, method, params, version, stop);
        {
          std::scoped_lock lock(mutex_);
          questions_.erase(id);
        }
        if (stop.stop_requested()) return;  // taken back: nobody waits for it
        (void)transport_->write(answer ? make_result(id, *answer) : make_error(id, answer.error()));
      });
  if (taken) return;
  {
    std::scoped_lock lock(mutex_);
    questions_.erase(id);
  }
  refuse(ErrorCode::internal_error, "too many questions at once; ask again later");
}

void Client::on_question_cancelled(std::string_view params) {
  auto json = parse_json(params.empty() ? "{}" : params);
  const Json* given = json ? member(*json, "requestId") : nullptr;
  if (!given) return;
  auto id = parse_request_id(to_text(*given));
  if (!id) return;
  std::stop_source stop(std::nostopstate);
  {
    std::scoped_lock lock(mutex_);
    if (auto it = questions_.find(*id); it != questions_.end()) stop = it->second;
  }
  stop.request_stop();
}

void Client::roots_changed() {
  if (modern() || !options_.handlers.roots) return;
  (void)transport_->write(make_notification("notifications/roots/list_changed", {}));
}

}  // namespace gpumcp::mcp
