// Batches of 2025-03-26, the only version that has them: an array of messages, answered by one
// array. On every transport alike; over HTTP a client may also send one without a session.
#include <fmt/format.h>

#include <algorithm>

#include "mcp/server_impl.h"
#include "mcp/session.h"
#include "mcp/session_request.h"

namespace gpumcp::mcp {
namespace {

constexpr std::string_view kBatchVersion = "2025-03-26";

// The elements' texts. `array` is a valid JSON array, perhaps with white space around it.
std::vector<std::string_view> elements_of(std::string_view array) {
  std::vector<std::string_view> out;
  size_t begin = array.find('[') + 1;
  int depth = 0;
  bool in_string = false;
  auto add = [&](size_t end) {
    const std::string_view text = array.substr(begin, end - begin);
    if (text.find_first_not_of(" \t\r\n") != text.npos) out.push_back(text);
    begin = end + 1;
  };
  for (size_t i = begin; i < array.size(); ++i) {
    const char c = array[i];
    if (in_string) {
      if (c == '\\')
        ++i;
      else
        in_string = c != '"';
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      ++depth;
    } else if (c == ']' || c == '}') {
      if (depth-- == 0) {
        add(i);
        break;
      }
    } else if (c == ',' && depth == 0) {
      add(i);
    }
  }
  return out;
}

// Collects the answers; the last one sends them all. Notifications and questions go out as they
// come.
class Batch : public std::enable_shared_from_this<Batch> {
 public:
  Batch(std::shared_ptr<ReplySink> sink, size_t open) : sink_(std::move(sink)), open_(open) {}

  std::shared_ptr<ReplySink> sink() { return std::make_shared<Part>(shared_from_this()); }
  // One message is dealt with; `answer` is empty if it gets none.
  void close_one(std::string_view answer) {
    std::unique_lock lock(mutex_);
    if (!answer.empty()) (answers_ += answers_.empty() ? "[" : ",") += answer;
    if (--open_) return;
    std::string all = std::move(answers_);
    lock.unlock();
    if (all.empty()) return sink_->dropped();  // every call was cancelled: nothing will come
    sink_->respond(all += ']', std::nullopt);
  }

 private:
  struct Part final : ReplySink {
    explicit Part(std::shared_ptr<Batch> b) : batch(std::move(b)) {}
    void notify(std::string message) override { batch->sink_->notify(std::move(message)); }
    void respond(std::string message, std::optional<ErrorCode>) override {
      batch->close_one(message);
    }
    void dropped() override { batch->close_one({}); }
    const std::shared_ptr<Batch> batch;
  };
  const std::shared_ptr<ReplySink> sink_;
  std::mutex mutex_;  // guards what follows
  size_t open_;
  std::string answers_;
};

}  // namespace

bool claims_modern(std::string_view message) {
  std::string_view params, meta;
  bool claims = false;
  (void)scan_json(message, [&](std::string_view key, std::string_view value) {
    if (key == "params") params = value;
  });
  if (!params.starts_with('{')) return false;
  (void)scan_json(params, [&](std::string_view key, std::string_view value) {
    if (key == "_meta") meta = value;
  });
  if (!meta.starts_with('{')) return false;
  (void)scan_json(
      meta, [&](std::string_view key, std::string_view) { claims |= key == kMetaProtocolVersion; });
  return claims;
}

bool is_batch(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  return first != text.npos && text[first] == '[';
}

Session::Received Session::receive_batch(const std::string& text,
                                         const std::shared_ptr<ReplySink>& sink,
                                         const HttpClaims* http) {
  const auto agreed = legacy_version();
  auto refuse = [&](const Error& error) {
    sink->respond(make_error({}, error, agreed.has_value()), error.code);
    return Received::broken;
  };
  if (auto scanned = scan_json(text); !scanned) return refuse(scanned.error());
  const std::vector<std::string_view> messages = elements_of(text);
  // Without a session HTTP has the version in a header, which only later versions send.
  const std::string version = agreed ? *agreed
                              : http ? http->protocol_version.value_or(std::string(kBatchVersion))
                                     : "";
  if (version != kBatchVersion || std::any_of(messages.begin(), messages.end(), claims_modern))
    return refuse(
        {ErrorCode::invalid_request,
         fmt::format("batches exist in {} only: send one message at a time", kBatchVersion)});
  if (messages.empty() || messages.size() > server_->options.max_batch)
    return refuse(
        {ErrorCode::invalid_request, fmt::format("a batch has 1 to {} messages, this one {}",
                                                 server_->options.max_batch, messages.size())});
  sink->settled(false);
  // One more than the messages, closed below: only then it shows whether any of them asks for an
  // answer.
  auto batch = std::make_shared<Batch>(sink, messages.size() + 1);
  bool answers = false;
  for (std::string_view message : messages) {
    if (receive_one(std::string(message), batch->sink(), http, Within::batch, nullptr) ==
        Received::notification)
      batch->close_one({});
    else
      answers = true;
  }
  batch->close_one({});
  return answers ? Received::request : Received::notification;
}

}  // namespace gpumcp::mcp
