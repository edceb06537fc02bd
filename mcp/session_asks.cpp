// Requests from the server to its client, up to 2025-11-25: sent where the call's messages go,
// answered by a message of the client's at any later time, over HTTP by another POST.
#include <fmt/format.h>

#include "mcp/server_impl.h"
#include "mcp/session.h"

namespace gpumcp::mcp {

void Session::receive_response(const Message& message) {
  std::scoped_lock lock(mutex_);
  auto it = asks_.find(message.id());
  if (it == asks_.end() || it->second) return;  // an answer to nothing that was asked
  if (message.kind() == Message::Kind::result)
    it->second.emplace(std::string(message.result()));
  else
    it->second.emplace(tl::unexpected(parse_error_object(message.error())));
  answered_.notify_all();
}

void Session::expect_completion(std::string elicitation_id) {
  std::scoped_lock lock(mutex_);
  if (elicited_.size() < server_->options.max_subscriptions)
    elicited_.insert(std::move(elicitation_id));
}

void Session::tell_elicited(const std::string& elicitation_id) {
  {
    std::scoped_lock lock(mutex_);
    if (elicited_.erase(elicitation_id) == 0) return;
  }
  std::string params = R"({"elicitationId":)";
  append_string(params, elicitation_id);
  send(make_notification("notifications/elicitation/complete", params + "}"));
}

std::vector<Result<std::string>> Session::ask(ReplySink& sink,
                                              const std::vector<Question>& questions,
                                              std::stop_token stop) {
  std::vector<RequestId> ids;
  {
    std::scoped_lock lock(mutex_);
    for (size_t i = 0; i < questions.size(); ++i) {
      ids.push_back({std::to_string(next_ask_++)});
      asks_[ids.back()];
    }
  }
  for (size_t i = 0; i < questions.size(); ++i)
    sink.notify(make_request(ids[i], questions[i].method, questions[i].params));

  std::vector<Result<std::string>> out;
  std::vector<RequestId> unanswered;
  const auto limit = server_->options.ask_timeout;
  {
    std::unique_lock lock(mutex_);
    answered_.wait_until(lock, stop, std::chrono::steady_clock::now() + limit, [&] {
      for (const RequestId& id : ids)
        if (!asks_[id]) return false;
      return true;
    });
    for (size_t i = 0; i < ids.size(); ++i) {
      auto& answer = asks_[ids[i]];
      if (answer) {
        out.push_back(std::move(*answer));
      } else if (unanswered.push_back(ids[i]); stop.stop_requested()) {
        out.push_back(fail(ErrorCode::cancelled, "the call was cancelled"));
      } else {
        out.push_back(
            fail(ErrorCode::timeout, fmt::format("the client did not answer {} within {} s",
                                                 questions[i].method, limit.count() / 1000)));
      }
      asks_.erase(ids[i]);
    }
  }
  for (const RequestId& id : unanswered)
    sink.notify(
        make_notification("notifications/cancelled",
                          fmt::format(R"({{"requestId":{},"reason":"the call ended"}})", id.json)));
  return out;
}

}  // namespace gpumcp::mcp
