#include "sandbox/tool_guard.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <optional>

#include "sandbox/tool_names.h"

namespace gpumcp::sandbox {
namespace {

using mcp::Json;
// What keeps its time itself says so in better words: it goes first.
constexpr auto kHeadStart = std::chrono::milliseconds(100);
constexpr size_t kShortestSecret = 6;  // a shorter one would be found everywhere

// As it stands within a JSON text.
std::string escaped(const std::string& word) {
  std::string out;
  mcp::append_string(out, word);
  return out.substr(1, out.size() - 2);
}

std::optional<std::chrono::milliseconds> limit_of(const mcp::CallInfo& call) {
  const auto limit = call._meta.find("gpumcp/deadline_ms");
  if (limit == call._meta.end() || !limit->is_number()) return std::nullopt;
  return std::chrono::milliseconds(
      static_cast<int64_t>(std::clamp(limit->get<double>(), 0.0, 1e12)));
}

}  // namespace

std::string late_text(const std::string& tool, double limit_s) {
  return fmt::format("{} failed: it took longer than the {} s that a call may take", tool, limit_s);
}

std::vector<HiddenWord> hidden_words(const SandboxConfig& config) {
  std::vector<HiddenWord> out;
  auto add = [&](const std::string& word, const std::string& instead) {
    out.push_back({word, instead});
    if (const std::string inside = escaped(word); inside != word) out.push_back({inside, instead});
  };
  for (const std::string& word : words_of_hidden(config.models)) add(word, "model");
  for (const std::string& name : config.secrets) {
    const char* value = std::getenv(name.c_str());
    if (value && std::string_view(value).size() >= kShortestSecret)
      add(value, fmt::format("[secret {}]", name));
  }
  std::stable_sort(out.begin(), out.end(), [](const HiddenWord& a, const HiddenWord& b) {
    return a.word.size() > b.word.size();
  });
  return out;
}

// A call whose time is kept; shared with what is due.
struct ToolGuard::Timed {
  std::string name, call;
  std::chrono::milliseconds limit{};
  std::stop_source stop;
  std::atomic<bool> late = false, over = false;
};

// The call's own context, with words replaced on their way out, and with a stop token of our own if
// its time is kept.
class ToolGuard::Guarded final : public mcp::Context {
 public:
  Guarded(const ToolGuard& guard, mcp::Context& inner, const Timed* timed)
      : guard_(guard), inner_(inner), timed_(timed) {}

  void progress(double progress, std::optional<double> total, std::string_view message) override {
    inner_.progress(progress, total, guard_.hide(std::string(message)));
  }
  std::stop_token stop_token() const override {
    return timed_ ? timed_->stop.get_token() : inner_.stop_token();
  }
  void log(mcp::LogLevel level, const Json& data, std::string_view logger) override {
    inner_.log(level, guard_.hide_in(data), guard_.hide(std::string(logger)));
  }
  void set_meta(std::string_view key, Json value) override {
    inner_.set_meta(key, guard_.hide_in(std::move(value)));
  }
  const mcp::CallInfo& call() const override { return inner_.call(); }
  const mcp::ClientCapabilities& client_capabilities() const override {
    return inner_.client_capabilities();
  }
  std::map<std::string, mcp::InputResponse> ask(
      std::map<std::string, mcp::InputRequest> requests) override {
    return inner_.ask(std::move(requests));
  }
  Json& state() override { return inner_.state(); }
  void release_stream(std::chrono::milliseconds retry) override { inner_.release_stream(retry); }
  bool start_task(mcp::TaskOptions options) override {
    return inner_.start_task(std::move(options));
  }

 private:
  const ToolGuard& guard_;
  mcp::Context& inner_;
  const Timed* timed_;
};

ToolGuard::ToolGuard(std::chrono::milliseconds grace,
                     std::function<void(const std::string&)> on_late)
    : grace_(grace), on_late_(std::move(on_late)) {}

ToolGuard::~ToolGuard() {
  {
    std::scoped_lock lock(mutex_);
    ending_ = true;
    wake_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

std::string ToolGuard::hide(std::string text) const {
  for (const HiddenWord& hidden : words_) {
    for (size_t at = 0; (at = text.find(hidden.word, at)) != text.npos; at += hidden.instead.size())
      text.replace(at, hidden.word.size(), hidden.instead);
  }
  return text;
}

Json ToolGuard::hide_in(Json json) const {
  if (words_.empty()) return json;
  if (json.is_string()) return hide(json.get<std::string>());
  if (json.is_array()) {
    for (Json& one : json) one = hide_in(std::move(one));
  } else if (json.is_object()) {
    Json out = Json::object();
    for (auto& [key, value] : json.items()) out[hide(key)] = hide_in(std::move(value));
    return out;
  }
  return json;
}

mcp::ToolHandler ToolGuard::wrap(mcp::ToolHandler handler) {
  return [this, handler = std::move(handler), timed = !keeps_time_](const Json& arguments,
                                                                    mcp::Context& context) {
    return run(handler, timed, arguments, context);
  };
}

mcp::CallToolResult ToolGuard::run(const mcp::ToolHandler& handler, bool timed,
                                   const Json& arguments, mcp::Context& context) {
  const auto limit = timed ? limit_of(context.call()) : std::nullopt;
  if (words_.empty() && !limit) return handler(arguments, context);
  std::shared_ptr<Timed> call;
  struct Over {
    ToolGuard& guard;
    std::shared_ptr<Timed>& call;
    Due due[2] = {};
    ~Over() {
      if (!call) return;
      call->over = true;
      for (const Due& one : due) guard.forget(one);
    }
  } over{*this, call};
  std::optional<std::stop_callback<std::function<void()>>> cancelled;
  if (limit) {
    const Json& meta = context.call()._meta;
    const auto id = meta.find(kCallMeta);
    call = std::make_shared<Timed>();
    call->name = context.call().tool;
    if (id != meta.end() && id->is_string()) call->call = id->get<std::string>();
    call->limit = *limit;
    cancelled.emplace(context.stop_token(), [call] { call->stop.request_stop(); });
    const auto end = Clock::now() + *limit + kHeadStart;
    over.due[0] = at(end, [call] {
      if (call->over) return;
      call->late = true;
      call->stop.request_stop();
    });
    over.due[1] = at(end + grace_, [call, this] {
      if (!call->over && !call->call.empty()) on_late_(call->call);
    });
  }
  const auto late = [&] {
    return call && call->late && !context.cancelled()
               ? late_text(call->name, static_cast<double>(call->limit.count()) / 1000)
               : std::string();
  };
  Guarded guarded(*this, context, call.get());
  try {
    mcp::CallToolResult result = handler(arguments, guarded);
    // It was told to stop: what it has is at best a part.
    if (const std::string text = late(); !text.empty()) return mcp::CallToolResult::error(text);
    result.structuredContent = hide(std::move(result.structuredContent));
    result._meta = hide_in(std::move(result._meta));
    for (mcp::ContentBlock& block : result.content) {
      if (auto* text = std::get_if<mcp::TextContent>(&block.value))
        text->text = hide(std::move(text->text));
      else if (auto* embedded = std::get_if<mcp::EmbeddedResource>(&block.value))
        embedded->resource.text = hide(std::move(embedded->resource.text));
      else if (auto* link = std::get_if<mcp::ResourceLink>(&block.value))
        link->name = hide(std::move(link->name));
    }
    return result;
  } catch (const mcp::ProtocolError&) {
    throw;
  } catch (const mcp::MissingCapability&) {
    throw;
  } catch (const std::exception& e) {
    if (const std::string text = late(); !text.empty()) throw mcp::ToolError(text);
    throw mcp::ToolError(hide(e.what()));
  } catch (const mcp::HandlerLeft&) {
    // Some leave so when they are stopped; the client that is still there must hear why.
    if (const std::string text = late(); !text.empty()) throw mcp::ToolError(text);
    throw;
  }
}

ToolGuard::Due ToolGuard::at(Clock::time_point when, std::function<void()> what) {
  std::scoped_lock lock(mutex_);
  const Due due(when, next_due_++);
  due_.emplace(due, std::move(what));
  if (!thread_.joinable()) thread_ = std::thread([this] { keep_time(); });
  if (due_.begin()->first == due) wake_.notify_all();
  return due;
}

void ToolGuard::forget(const Due& due) {
  std::scoped_lock lock(mutex_);
  due_.erase(due);
}

void ToolGuard::keep_time() {
  std::unique_lock lock(mutex_);
  while (!ending_) {
    if (due_.empty()) {
      wake_.wait(lock);
    } else if (const auto next = due_.begin()->first.first; next > Clock::now()) {
      wake_.wait_until(lock, next);
    } else {
      const auto what = std::move(due_.extract(due_.begin()).mapped());
      lock.unlock();
      what();  // may end a handler, which may call at()
      lock.lock();
    }
  }
}

}  // namespace gpumcp::sandbox
