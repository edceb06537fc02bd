#include "sandbox/front.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/random.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "sandbox/ledger.h"
#include "sandbox/sandbox_record.h"
#include "sandbox/tool_guard.h"
#include "sandbox/worker.h"

namespace gpumcp::sandbox {
namespace {

using Clock = std::chrono::steady_clock;
using mcp::ErrorCode;

// What may wait for a worker to start.
constexpr size_t kMaxWaiting = 1024, kMaxWaitingBytes = 64u << 20;
constexpr auto kLeavingPatience = std::chrono::seconds(2);  // until a leaving worker is off the map
constexpr int kMaxSends = 4;  // a call goes to this many leaving workers, not more
constexpr auto kPatience =
    std::chrono::milliseconds(2500);  // a shorter pause is waited for, a longer one told

std::string json_string(std::string_view text) {
  std::string out;
  mcp::append_string(out, text);
  return out;
}

std::string random_name() {
  uint64_t number = 0;
  if (getrandom(&number, sizeof number, 0) != sizeof number)
    number = static_cast<uint64_t>(Clock::now().time_since_epoch().count());
  return fmt::format("{:016x}", number);
}

// Half a second after the second failure in a row, doubling up to half a minute.
std::chrono::milliseconds pause_after(int failures) {
  return std::chrono::milliseconds(std::min(30000, 500 << std::clamp(failures - 2, 0, 6)));
}

// The request's `_meta` without what belongs to its own hop.
mcp::Json forwarded_meta(const mcp::Json& meta) {
  mcp::Json out = mcp::Json::object();
  for (auto& [key, value] : meta.items()) {
    if (key != "progressToken" && key != mcp::kMetaProtocolVersion &&
        key != mcp::kMetaClientCapabilities && key != mcp::kMetaClientInfo &&
        key != mcp::kMetaLogLevel)
      out[key] = value;
  }
  return out;
}

}  // namespace

// One call on its way.
struct Front::Forward {
  std::shared_ptr<mcp::ForwardedRequest> request;
  int sends = 0;
  double begun = 0;  // for the ledger
  std::atomic<bool> entered = false, answered = false;
  double limit_s = 0;
  std::string call = {};  // its name, if it has a limit
  std::mutex mutex;       // guards what follows
  std::function<void()> cancel = {};
  std::optional<std::stop_callback<std::function<void()>>> on_stop;
};

// One connection to a worker.
struct Front::Link {
  std::shared_ptr<Launcher> launcher;  // that it came by
  std::unique_ptr<mcp::Client> client;
  std::shared_ptr<WorkerProcess> process;
  int pid = 0;
  Clock::time_point since = Clock::now();
  std::atomic<bool> leaving = false, closed = false;
  std::atomic<bool> replaced = false;  // by change()
  std::atomic<size_t> running = 0;     // calls that a leaving worker had begun
};

Front::Front(FrontOptions options)
    : options_(std::move(options)),
      session_(random_name()),
      launcher_(std::make_shared<Launcher>(options_.config)) {
  connector_ = std::thread([this] { connect_loop(); });
}

Front::~Front() {
  {
    std::scoped_lock lock(mutex_);
    stopping_ = true;
    wake_.notify_all();
  }
  connector_.join();
  retire_link();
  // Ends their connections and reader threads; what was in flight answers that the connection
  // closed.
  for (auto& link : retired_) link->client.reset();
}

void Front::attach(mcp::Server& server, std::vector<Manifest> manifests) {
  std::set<std::string> templates_seen;
  for (Manifest& manifest : manifests) {
    // Several interfaces of one worker share its artifacts, and so the template that reads them.
    std::erase_if(manifest.templates,
                  [&](auto& one) { return !templates_seen.insert(one.uriTemplate).second; });
    server.add_forwarded(
        std::move(manifest.tools), std::move(manifest.templates),
        [this](std::shared_ptr<mcp::ForwardedRequest> request) { forward(std::move(request)); });
  }
}

void Front::forward(std::shared_ptr<mcp::ForwardedRequest> request) {
  auto forward = std::make_shared<Forward>();
  forward->request = std::move(request);
  if (!options_.ledger.empty() || counting_) forward->begun = ledger_now();
  submit(std::move(forward));
}

std::string Front::queue_metrics() {
  std::scoped_lock lock(mutex_);
  return fmt::format(
      "# HELP gpumcp_calls_waiting Calls that wait for a worker to start.\n"
      "# TYPE gpumcp_calls_waiting gauge\ngpumcp_calls_waiting {}\n",
      waiting_.size());
}

mcp::Json Front::worker_status() {
  std::shared_ptr<Link> link;
  {
    std::scoped_lock lock(mutex_);
    if (link_ && !link_->leaving && !link_->closed) link = link_;
  }
  if (!link) return nullptr;
  const auto text =
      link->client->request("gpumcp/status", "", {.timeout = std::chrono::seconds(3)});
  if (!text) return nullptr;
  auto json = mcp::parse_json(*text);
  return json && json->is_object() ? std::move(*json) : mcp::Json(nullptr);
}

// Once a call; `result` is its JSON, or empty if it has none.
void Front::enter(Forward& forward, std::string_view result) {
  if (forward.begun == 0 || forward.request->method() != "tools/call" ||
      forward.entered.exchange(true))
    return;
  LedgerCall call{.tool = forward.request->name(),
                  .begun = forward.begun,
                  .ended = ledger_now(),
                  .failed = result.empty()};
  if (!result.empty()) read_usage(result, call);
  if (counting_) metrics_.add(call.tool, call.ended - call.begun, call.failed, call.gpu_s);
  if (!options_.ledger.empty()) append_ledger(options_.ledger, ledger_line(call));
}

void Front::submit(std::shared_ptr<Forward> forward) {
  std::shared_ptr<Link> link;
  {
    std::unique_lock lock(mutex_);
    if (link_ && !link_->leaving && !link_->closed) {
      link = link_;
    } else if (!refusal_.empty()) {
      const std::string text =
          fmt::format("{} was not run: {}", forward->request->name(), refusal_);
      lock.unlock();
      enter(*forward);
      return forward->request->respond_tool_error(text);
    } else {
      const auto pause = retry_at_ - Clock::now();
      if (pause > kPatience) {
        const std::string text = fmt::format(
            "{} was not run: the worker failed {} times in a row, the next try is in {:.0f} s. {}",
            forward->request->name(), failures_,
            std::ceil(std::chrono::duration<double>(pause).count()), last_failure_);
        lock.unlock();
        enter(*forward);
        return forward->request->respond_tool_error(text);
      }
      size_t bytes = forward->request->arguments().size();
      for (auto& waiting : waiting_) bytes += waiting->request->arguments().size();
      if (waiting_.size() >= kMaxWaiting || bytes > kMaxWaitingBytes) {
        lock.unlock();
        return forward->request->respond_tool_error(
            "busy: the worker is starting and too many calls wait for it; retry in a few seconds");
      }
      waiting_.push_back(std::move(forward));
      wake_.notify_all();
      return;
    }
  }
  send(link, std::move(forward));
}

void Front::send(const std::shared_ptr<Link>& link, std::shared_ptr<Forward> forward) {
  mcp::ForwardedRequest& request = *forward->request;
  if (request.stop_token().stop_requested()) return;
  ++forward->sends;
  std::string params;
  if (request.method() == "tools/call") {
    params = fmt::format(R"("name":{},"arguments":{})", json_string(request.name()),
                         request.arguments().empty() ? "{}" : request.arguments());
  } else {
    params = fmt::format(R"("uri":{})", json_string(request.name()));
  }
  if (std::string round = request.round(); !round.empty()) params += "," + round;
  const SandboxConfig& config = link->launcher->config();
  mcp::Json meta = forwarded_meta(request.meta());
  // Ours alone to say: a client, perhaps on another machine, must not choose where files are
  // written.
  meta.erase("gpumcp/workspace");
  if (!options_.workspace.empty()) meta["gpumcp/workspace"] = options_.workspace.string();
  if (std::isfinite(config.call_timeout_s) || meta.contains("gpumcp/deadline_ms"))
    meta[kCallMeta] = name_call(forward);
  if (std::isfinite(config.call_timeout_s)) {
    const double limit_ms = config.call_timeout_s * 1000;
    const auto wish = meta.find("gpumcp/deadline_ms");
    const bool sooner = wish != meta.end() && wish->is_number() && wish->get<double>() < limit_ms;
    if (!sooner) meta["gpumcp/deadline_ms"] = limit_ms;
  }
  if (const auto limit = meta.find("gpumcp/deadline_ms"); limit != meta.end() && limit->is_number())
    forward->limit_s = limit->get<double>() / 1000;
  // Within this front a client may tell its own conversations apart.
  const auto own = meta.find("gpumcp/session");
  meta["gpumcp/session"] =
      session_ + (own != meta.end() && own->is_string() ? "/" + own->get<std::string>() : "");

  mcp::Client::AsyncHandlers handlers;
  handlers.on_result = [this, link, forward](mcp::Result<std::string_view> result) {
    {
      std::scoped_lock lock(forward->mutex);
      forward->on_stop.reset();
    }
    forget_call(*forward);
    if (result) {
      {
        std::scoped_lock lock(mutex_);
        failures_ = 0;
      }
      if (forward->answered.exchange(true)) return;  // late, and told so
      enter(*forward, *result);  // before the client, which may be told to end by it
      return forward->request->respond_result(*result);
    }
    const bool refused = result.error().code == ErrorCode::not_begun;
    if (!refused && static_cast<int>(result.error().code) < 0) {
      if (forward->answered.exchange(true)) return;
      enter(*forward);
      return forward->request->respond_error(result.error());
    }
    if (refused) {
      std::scoped_lock lock(mutex_);
      link->leaving = true;
      refused_pid_ = link->pid;
      refused_at_ = Clock::now();
    }
    const bool unbegun = refused || (link->leaving && link->running == 0);
    if (unbegun && forward->sends < kMaxSends && !forward->answered) return submit(forward);
    if (forward->answered.exchange(true)) return;
    enter(*forward);
    forward->request->respond_tool_error(death_note(link, forward->request->name()));
  };
  if (request.wants_progress())
    handlers.on_progress = [forward](const mcp::Json& progress) {
      forward->request->progress(progress);
    };
  const mcp::RequestId id =
      link->client->request_async(request.method(), params, std::move(handlers), std::move(meta));

  std::scoped_lock lock(forward->mutex);
  forward->cancel = [weak = std::weak_ptr(link), id] {
    if (auto alive = weak.lock()) alive->client->cancel(id);
  };
  forward->on_stop.emplace(request.stop_token(),
                           [this, call = std::weak_ptr(forward), cancel = forward->cancel] {
                             if (auto mine = call.lock()) {
                               enter(*mine);
                               forget_call(*mine);
                             }
                             cancel();
                           });
}

// A name for it that no other front's call has; a call that is sent again keeps it.
std::string Front::name_call(const std::shared_ptr<Forward>& forward) {
  std::scoped_lock lock(mutex_);
  if (forward->call.empty()) forward->call = fmt::format("{}-{}", session_, next_call_++);
  limited_[forward->call] = forward;
  return forward->call;
}

void Front::forget_call(Forward& forward) {
  if (forward.call.empty()) return;
  std::scoped_lock lock(mutex_);
  limited_.erase(forward.call);
}

// It was told to stop and goes on: its caller gets an answer, and its worker is replaced, as after
// any cancellation that is ignored.
void Front::on_late(const std::string& call) {
  std::shared_ptr<Forward> forward;
  {
    std::scoped_lock lock(mutex_);
    if (const auto found = limited_.find(call); found != limited_.end()) {
      forward = found->second.lock();
      limited_.erase(found);
    }
  }
  if (!forward) return;  // another front's, or its answer came after all
  std::function<void()> cancel;
  {
    std::scoped_lock lock(forward->mutex);
    if (!forward->on_stop) return;
    cancel = forward->cancel;
  }
  if (forward->answered.exchange(true)) return;
  cancel();
  enter(*forward);
  forward->request->respond_tool_error(
      late_text(forward->request->name(), forward->limit_s) +
      " and does not end; its worker is replaced. Calls of others that run there still end");
}

std::string Front::death_note(const std::shared_ptr<Link>& link, const std::string& tool) const {
  std::string how = link->process ? link->process->ending(std::chrono::milliseconds(500)) : "";
  const RuntimeFolder folder = RuntimeFolder::at(link->launcher->key());
  const std::string log = folder.log_tail();
  if (const size_t at = log.rfind("fatal: the worker "); at != log.npos) {
    const std::string line = log.substr(at + 18, log.find('\n', at) - at - 18);
    if (how.empty())
      how = line;
    else if (how.find(line.substr(4)) == how.npos)
      how += fmt::format(" ({})", line);
  }
  if (how.empty())
    how = "ended without a word, as after kill -9 or when the machine is out of memory";
  return fmt::format(
      "{} failed: its worker (pid {}) {}. Calls that ran there are lost; nothing else is. Call "
      "again: a new worker "
      "starts by itself.{}",
      tool, link->pid, how, log.empty() ? "" : fmt::format(" Log: {}", folder.log().string()));
}

void Front::on_closed(const std::shared_ptr<Link>& link) {
  link->closed = true;
  std::scoped_lock lock(mutex_);
  if (!link->replaced && (!link->leaving || link->running > 0)) {
    // A worker that dies again and again right after its start is started less and less often.
    failures_ = Clock::now() - link->since < std::chrono::seconds(10) ? failures_ + 1 : 1;
    last_failure_ = fmt::format("The worker (pid {}) died.", link->pid);
    if (failures_ > 1) retry_at_ = Clock::now() + pause_after(failures_);
  }
  wake_.notify_all();
}

// A worker that died left its connection file and socket; the log stays for whoever asks why.
void Front::tidy_after(const Link& link) const {
  if (link.process) link.process->ending(std::chrono::seconds(1));
  const RuntimeFolder folder = RuntimeFolder::at(link.launcher->key());
  auto file_lock = folder.lock();
  if (!file_lock || !process_began(link.pid).empty()) return;
  const auto connection = folder.read_connection();
  if (connection && connection->pid == link.pid) folder.remove(false);
}

// How a start goes that takes long. The numbers stay below any that comes from a worker.
void Front::tell_waiting(std::string_view what) {
  std::list<std::shared_ptr<Forward>> told;
  {
    std::scoped_lock lock(mutex_);
    told = waiting_;
    ++notes_;
  }
  for (auto& forward : told) {
    if (forward->request->wants_progress() && !forward->request->stop_token().stop_requested())
      forward->request->progress(
          {{"progress", static_cast<double>(notes_) * 1e-15}, {"message", std::string(what)}});
  }
}

// Gives the link up: calls go to a new one. It is destroyed later and elsewhere, since its own
// reader thread may be the one that runs here.
void Front::retire_link() {
  if (link_) retired_.push_back(std::exchange(link_, nullptr));
}

// Destroys retired links whose connection is over and which nobody uses; reaps their processes.
void Front::bury_links(std::unique_lock<std::mutex>& lock) {
  std::vector<std::shared_ptr<Link>> dead;
  std::erase_if(retired_, [&](auto& link) {
    if (!link->closed || link.use_count() > 1) return false;
    dead.push_back(std::move(link));
    return true;
  });
  if (dead.empty()) return;
  lock.unlock();
  for (auto& link : dead) {
    if (link->process) link->process->ending(std::chrono::seconds(1));
  }
  dead.clear();
  lock.lock();
}

void Front::connect_loop() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (link_ && (link_->closed || link_->leaving)) {
      const auto link = link_;
      retire_link();
      if (link->closed && !link->leaving) {
        lock.unlock();
        tidy_after(*link);
        lock.lock();
      }
    }
    bury_links(lock);
    if (waiting_.empty() && !(link_ && (link_->closed || link_->leaving))) {
      // Links that are retired but still in use are looked at again after a while.
      auto changed = [&] {
        return stopping_ || !waiting_.empty() || (link_ && (link_->closed || link_->leaving));
      };
      if (retired_.empty())
        wake_.wait(lock, changed);
      else
        wake_.wait_for(lock, std::chrono::milliseconds(200), changed);
      continue;
    }
    if (waiting_.empty()) continue;
    if (link_) {
      auto ready = std::exchange(waiting_, {});
      auto link = link_;
      lock.unlock();
      for (auto& forward : ready) send(link, std::move(forward));
      lock.lock();
    } else if (Clock::now() < retry_at_) {
      wake_.wait_until(lock, retry_at_, [&] { return stopping_; });
    } else {
      connect(lock);
    }
  }
}

void Front::refuse(const std::string& why) {
  std::scoped_lock lock(mutex_);
  refusal_ = why;
  if (link_) link_->leaving = true;
  wake_.notify_all();
}

void Front::change(SandboxConfig config) {
  std::shared_ptr<Link> old;
  {
    std::scoped_lock lock(mutex_);
    auto fresh = std::make_shared<Launcher>(std::move(config));
    const bool same = fresh->key() == launcher_->key();
    launcher_ = std::move(fresh);
    refusal_.clear();
    retry_at_ = {};  // whatever failed may be mended
    if (same || !link_) return;
    old = link_;
    old->replaced = true;
    old->running = 1;  // it is not known what it had begun: nothing is sent twice
    old->leaving = true;
    wake_.notify_all();
  }
  old->client->request_async("gpumcp/stop", "", {.on_result = [](auto) {}});
}

void Front::connect(std::unique_lock<std::mutex>& lock) {
  lock.unlock();
  if (options_.before_connect) options_.before_connect();
  auto link = std::make_shared<Link>();
  lock.lock();
  link->launcher = launcher_;
  if (!refusal_.empty()) return fail_waiting(lock, std::string(refusal_));
  lock.unlock();
  mcp::ClientOptions client_options{.connect_timeout = std::chrono::seconds(10)};
  client_options.on_closed = [this, weak = std::weak_ptr(link)] {
    if (auto alive = weak.lock()) on_closed(alive);
  };
  client_options.on_notification = [this, weak = std::weak_ptr(link)](const std::string& method,
                                                                      std::string_view params) {
    auto alive = weak.lock();
    if (!alive || (method != kLeavingNotification && method != kLateNotification)) return;
    auto json = mcp::parse_json(params);
    if (method == kLateNotification) {
      if (json && json->is_object()) on_late(json->value("call", ""));
      return;
    }
    std::scoped_lock guard(mutex_);
    // Unreadable counts as running: then nothing is sent twice.
    alive->running = json && json->is_object() && json->contains("running") &&
                             (*json)["running"].is_number_unsigned()
                         ? (*json)["running"].get<size_t>()
                         : 1;
    alive->leaving = true;
    wake_.notify_all();
  };
  auto attached = link->launcher->attach(std::move(client_options),
                                         [this](std::string_view what) { tell_waiting(what); });
  lock.lock();
  if (attached && attached->pid == refused_pid_ && Clock::now() - refused_at_ < kLeavingPatience) {
    lock.unlock();
    attached->client.reset();
    lock.lock();
    wake_.wait_for(lock, std::chrono::milliseconds(25), [&] { return stopping_; });
    return;
  }
  if (attached) {
    link->client = std::move(attached->client);
    link->process = std::move(attached->process);
    link->pid = attached->pid;
    const auto& idle_s = link->launcher->config().idle_s;
    std::string params = fmt::format(R"("idle_s":{})", idle_s ? fmt::to_string(*idle_s) : "null");
    if (!options_.ledger.empty()) params += R"(,"ledger":)" + json_string(options_.ledger.string());
    link->client->request_async(kAttachMethod, params, {.on_result = [](auto) {}});
    link_ = std::move(link);
    return;
  }
  ++failures_;
  last_failure_ = attached.error().message;
  if (failures_ > 1) retry_at_ = Clock::now() + pause_after(failures_);
  fail_waiting(lock, attached.error().message);
}

void Front::fail_waiting(std::unique_lock<std::mutex>& lock, const std::string& why) {
  auto failed = std::exchange(waiting_, {});
  lock.unlock();
  spdlog::error("{}", why);
  for (auto& forward : failed) {
    enter(*forward);
    forward->request->respond_tool_error(
        fmt::format("{} was not run: {}", forward->request->name(), why));
  }
  lock.lock();
}

}  // namespace gpumcp::sandbox
