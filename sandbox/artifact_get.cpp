#include "sandbox/artifact_get.h"

#include <fmt/format.h>

#include <condition_variable>
#include <mutex>

namespace gpumcp::sandbox {
namespace {

constexpr std::string_view kPath = "/artifacts/";
constexpr auto kPatience = std::chrono::seconds(60);  // a worker that starts takes about one

// A resources/read of this process' own, which waits for its answer.
class ArtifactRead final : public mcp::ForwardedRequest {
 public:
  explicit ArtifactRead(std::string uri) : uri_(std::move(uri)) {}

  const std::string& method() const override { return method_; }
  const std::string& name() const override { return uri_; }
  std::string_view arguments() const override { return {}; }
  std::string round() const override { return {}; }
  const mcp::ClientCapabilities& capabilities() const override { return capabilities_; }
  const mcp::Json& meta() const override { return meta_; }
  const std::string& protocol_version() const override { return version_; }
  bool wants_progress() const override { return false; }
  std::stop_token stop_token() const override { return stop_.get_token(); }
  void progress(const mcp::Json&) override {}
  void respond_result(std::string_view result) override { answer(std::string(result)); }
  void respond_error(mcp::Error error) override { answer(tl::unexpected(std::move(error))); }
  void respond_tool_error(std::string_view text) override {
    answer(mcp::fail(mcp::ErrorCode::internal_error, std::string(text)));
  }

  mcp::Result<std::string> wait() {
    std::unique_lock lock(mutex_);
    if (answered_.wait_for(lock, kPatience, [&] { return answer_.has_value(); })) return *answer_;
    lock.unlock();
    stop_.request_stop();
    return mcp::fail(mcp::ErrorCode::internal_error,
                     fmt::format("the worker did not answer within {} s", kPatience.count()));
  }

 private:
  void answer(mcp::Result<std::string> result) {
    std::scoped_lock lock(mutex_);
    answer_ = std::move(result);
    answered_.notify_all();
  }

  const std::string method_ = "resources/read", uri_, version_ = "2026-07-28";
  const mcp::ClientCapabilities capabilities_;
  const mcp::Json meta_ = mcp::Json::object();
  std::stop_source stop_;
  std::mutex mutex_;
  std::condition_variable answered_;
  std::optional<mcp::Result<std::string>> answer_;  // guarded by mutex_
};

mcp::HttpReply refusal(int status, const std::string& text) {
  return {.status = status, .body = text + "\n"};
}

mcp::HttpReply get_artifact(Front& front, const mcp::HttpHead& head) {
  std::string target = head.path.substr(kPath.size());
  if (!head.query.empty()) target += "?" + head.query;
  auto read = std::make_shared<ArtifactRead>("gpumcp://artifacts/" + target);
  front.forward(read);
  const mcp::Result<std::string> answer = read->wait();
  if (!answer) {
    const bool absent = answer.error().code == mcp::ErrorCode::invalid_params;
    return refusal(absent ? 404 : 502, answer.error().message);
  }
  const auto json = mcp::parse_json(*answer);
  if (!json || !json->contains("contents") || (*json)["contents"].empty())
    return refusal(502, "the worker's answer is no resource");
  const mcp::Json& contents = (*json)["contents"][0];
  auto bytes = mcp::base64_decode(contents.value("blob", ""));
  if (!bytes) return refusal(502, "the worker's answer is no base64");
  return {.status = 200,
          .content_type = contents.value("mimeType", "application/octet-stream"),
          .body = std::move(*bytes),
          .headers = {{"Cache-Control", "private, no-store"}}};
}

}  // namespace

mcp::HttpOptions::Get artifact_get(Front& front) {
  return {.path = std::string(kPath),
          .handler = [&front](const mcp::HttpHead& head) { return get_artifact(front, head); }};
}

}  // namespace gpumcp::sandbox
