#include "gpu_runtime/generation/generation_queue.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/max.h>

#include <algorithm>
#include <cmath>

#include "gpu_runtime/error.h"
#include "gpu_runtime/model_executor.h"

namespace gpumcp::gpu_runtime {
namespace {

using Clock = std::chrono::steady_clock;

double ms_between(Clock::time_point a, Clock::time_point b) {
  return std::max(0.0, std::chrono::duration<double, std::milli>(b - a).count());
}

std::exception_ptr error_of(ErrorCode code, const std::string& message) {
  return std::make_exception_ptr(Error(code, message));
}

// While nobody generates, so many chunks of different prompts share a step.
constexpr std::int64_t kIdleChunks = 4;

}  // namespace

DecodeModel::~DecodeModel() = default;

std::shared_ptr<const RowTaps> DecodeModel::prepare_taps(const RowTaps& taps) const {
  check_taps(taps, {}, 0, true);  // refuses
  return nullptr;
}

std::string_view to_string(FinishReason reason) {
  switch (reason) {
    case FinishReason::eos:
      return "eos";
    case FinishReason::length:
      return "length";
    case FinishReason::context:
      return "context";
    case FinishReason::stop:
      return "stop";
  }
  return "length";
}

// One run(). Its caller waits on `changed`.
struct GenerationQueue::Call {
  std::vector<GenerationRequest> requests;
  CallLimits limits;
  Clock::time_point submitted;

  // Guarded by the queue's mutex_:
  std::size_t next = 0;  // the first request that has not joined
  std::size_t left = 0;  // sequences that are not done
  GenerationResult result;
  std::vector<GenerationEvent> events;                // that the caller has not seen
  bool started = false, ended = false, done = false;  // ended: the caller no longer waits
  std::exception_ptr error;
  std::condition_variable changed;

  std::uint64_t last_step = 0;  // that counted for result.gpu_ms
};

// A sequence that has joined.
struct GenerationQueue::Running {
  CallPtr call;
  std::size_t index = 0;
  const GenerationRequest* request = nullptr;
  Sampler sampler;
  std::unique_ptr<KvCache> cache;
  std::shared_ptr<const RowTaps> taps;
  std::vector<at::Tensor> captured;               // by the last step
  std::vector<std::vector<at::Tensor>> captures;  // by all: each capture's, step by step
  std::int64_t bytes = 0;
  std::int64_t most = 0;  // new tokens
  bool cut = false;       // by the model's context
  std::int64_t fed = 0;   // of the prompt
  std::vector<std::int32_t> tokens;
  bool over = false;

  bool in_prompt() const { return fed < static_cast<std::int64_t>(request->prompt.size()); }
  void keep_captured() {
    captures.resize(captured.size());
    for (std::size_t i = 0; i < captured.size(); ++i) {
      if (captured[i].defined()) captures[i].push_back(std::move(captured[i]));
    }
    captured.clear();
  }
  std::vector<at::Tensor> all_captured() const {
    std::vector<at::Tensor> out;
    for (const auto& parts : captures) out.push_back(parts.empty() ? at::Tensor() : at::cat(parts));
    return out;
  }
};

struct GenerationQueue::PlannedRow {
  Running* running;
  DecodeRow row;
};

GenerationQueue::GenerationQueue(GenerationQueueOptions options, std::function<void()> wake)
    : options_(std::move(options)), wake_(std::move(wake)) {}

GenerationQueue::~GenerationQueue() = default;

GenerationStats GenerationQueue::stats() const {
  std::scoped_lock lock(mutex_);
  return stats_;
}

bool GenerationQueue::has_work() const {
  std::scoped_lock lock(mutex_);
  return !waiting_.empty() || stats_.running > 0;
}

bool GenerationQueue::wanted() const {
  const auto now = Clock::now();
  std::scoped_lock lock(mutex_);
  return std::any_of(waiting_.begin(), waiting_.end(), [&](const CallPtr& call) {
    const bool late = call->limits.deadline && *call->limits.deadline <= now;
    return !late && !call->ended && !call->limits.stop.stop_requested();
  });
}

// Called with mutex_ held.
std::string GenerationQueue::busy_message() const {
  const double seconds = stats_.new_tokens > 0
                             ? stats_.busy_ms / 1000 / static_cast<double>(stats_.new_tokens) *
                                   100 * static_cast<double>(stats_.waiting)
                             : 1;
  const auto wait = std::max<std::int64_t>(1, std::llround(std::min(seconds, 3600.0)));
  return "model " + options_.name + " is busy: " + std::to_string(stats_.running) +
         " texts are being generated and " + std::to_string(stats_.waiting) +
         " wait; try again in about " + std::to_string(wait) + " s";
}

GenerationResult GenerationQueue::run(std::vector<GenerationRequest> requests,
                                      const CallLimits& limits,
                                      const std::function<void(const GenerationEvent&)>& on_event) {
  if (requests.empty()) return {};
  if (limits.stop.stop_requested()) throw Error(ErrorCode::cancelled, "the call was cancelled");
  auto call = std::make_shared<Call>();
  call->left = requests.size();
  call->result.sequences.resize(requests.size());
  call->requests = std::move(requests);
  call->limits = limits;
  call->submitted = Clock::now();
  // Before the lock, so that it is gone after the lock is (see ModelExecutor::run).
  std::stop_callback on_stop(limits.stop, [this, &call] {
    std::scoped_lock lock(mutex_);
    call->changed.notify_all();
  });
  {
    std::scoped_lock lock(mutex_);
    if (closed_) std::rethrow_exception(closed_);
    if (stats_.waiting > 0 && stats_.waiting + call->requests.size() > options_.max_waiting) {
      ++stats_.refused;
      throw Error(ErrorCode::overloaded, busy_message());
    }
    waiting_.push_back(call);
    stats_.waiting += call->requests.size();
  }
  wake_();
  std::unique_lock lock(mutex_);
  struct Leave {  // however this function ends, the owner thread learns it
    Call& call;
    ~Leave() { call.ended = true; }
  } leave{*call};
  auto awake = [&] { return call->done || !call->events.empty() || limits.stop.stop_requested(); };
  std::vector<GenerationEvent> events;
  for (;;) {
    bool in_time = true;
    if (limits.deadline) {
      in_time = call->changed.wait_until(lock, *limits.deadline, awake);
    } else {
      call->changed.wait(lock, awake);
    }
    if (limits.stop.stop_requested() && !call->done)
      throw Error(ErrorCode::cancelled, "the call was cancelled");
    if (!in_time && !call->done) {
      throw Error(ErrorCode::deadline,
                  "the call's deadline passed while model " + options_.name + " generated for it");
    }
    events.clear();
    events.swap(call->events);
    if (!events.empty() && on_event) {
      lock.unlock();
      try {
        for (const GenerationEvent& event : events) on_event(event);
      } catch (...) {
        lock.lock();
        throw;
      }
      lock.lock();
    }
    if (call->done && call->events.empty()) break;
  }
  if (call->error) std::rethrow_exception(call->error);
  return std::move(call->result);
}

void GenerationQueue::open(DecodeModel* model) {
  model_ = model;
  if (model_ != nullptr) facts_ = model_->decode_facts();
  std::scoped_lock lock(mutex_);
  opened_ = true;
  opened_at_ = Clock::now();
}

// Called with mutex_ held.
void GenerationQueue::finish(const CallPtr& call, std::exception_ptr error) {
  if (call->done) return;
  call->error = std::move(error);
  call->done = true;
  call->changed.notify_all();
}

// All that run hold so many bytes of caches now. False: there is no room for that.
bool GenerationQueue::hold(std::int64_t cache_bytes) {
  if (options_.hold_memory && cache_bytes != cache_bytes_ && !options_.hold_memory(cache_bytes))
    return false;
  cache_bytes_ = cache_bytes;
  std::scoped_lock lock(mutex_);
  stats_.cache_bytes = cache_bytes;
  return true;
}

void GenerationQueue::close(std::exception_ptr error) {
  {
    std::scoped_lock lock(mutex_);
    closed_ = error;
    for (const CallPtr& call : waiting_) finish(call, error);
    for (const auto& running : running_) finish(running->call, error);
    waiting_.clear();
    stats_.waiting = stats_.running = 0;
  }
  running_.clear();
  hold(0);
}

void GenerationQueue::drop_ended() {
  const auto now = Clock::now();
  std::vector<std::unique_ptr<Running>> gone;  // their caches are freed outside the lock
  std::int64_t left = cache_bytes_;
  {
    std::scoped_lock lock(mutex_);
    auto over = [&](const CallPtr& call) {
      if (call->done) return true;
      const bool late = call->limits.deadline && *call->limits.deadline <= now;
      const bool away = call->ended || call->limits.stop.stop_requested();
      if (!late && !away) return false;
      ++stats_.dropped;
      finish(call, away ? error_of(ErrorCode::cancelled, "the call was cancelled")
                        : error_of(ErrorCode::deadline, "the call's deadline passed while model " +
                                                            options_.name + " generated for it"));
      return true;
    };
    std::erase_if(waiting_, [&](const CallPtr& call) {
      if (!over(call)) return false;
      stats_.waiting -= call->requests.size() - call->next;
      return true;
    });
    const auto first_gone = std::stable_partition(
        running_.begin(), running_.end(),
        [&](const auto& running) { return !running->over && !over(running->call); });
    for (auto it = first_gone; it != running_.end(); ++it) {
      left -= (*it)->bytes;
      gone.push_back(std::move(*it));
    }
    running_.erase(first_gone, running_.end());
    stats_.running = running_.size();
  }
  if (gone.empty()) return;
  gone.clear();
  hold(left);
}

std::unique_ptr<GenerationQueue::Running> GenerationQueue::begin(const CallPtr& call,
                                                                 std::size_t index) {
  const GenerationRequest& request = call->requests[index];
  if (model_ == nullptr) {
    throw Error(ErrorCode::unsupported,
                "model " + options_.name +
                    " generates no text: its architecture reads whole texts, or its files have no "
                    "language model head");
  }
  const auto length = static_cast<std::int64_t>(request.prompt.size());
  if (length >= facts_.max_length) {
    throw Error(ErrorCode::invalid_argument,
                "a prompt of " + std::to_string(length) + " tokens: model " + options_.name +
                    " takes at most " + std::to_string(facts_.max_length) +
                    ", of which one must be left for the answer; shorten the prompt");
  }
  model_->check_prompt(request.prompt);
  auto taps = request.taps ? model_->prepare_taps(*request.taps) : nullptr;
  const std::int64_t room = facts_.max_length - length;
  auto running = std::make_unique<Running>(Running{
      .call = call,
      .index = index,
      .request = &request,
      .sampler = Sampler(request.config, request.seed, request.prompt),
      .cache = nullptr,
      .taps = std::move(taps),
      .captured = {},
      .captures = {},
      .bytes = facts_.bytes_per_token * (length + std::min(room, request.config.max_new_tokens)),
      .most = std::min(room, request.config.max_new_tokens),
      .cut = room < request.config.max_new_tokens,
      .tokens = {}});
  if (!running_.empty() && cache_bytes_ + running->bytes > options_.cache_bytes) return nullptr;
  const std::int64_t before = cache_bytes_;
  if (!hold(before + running->bytes)) {
    if (!running_.empty()) return nullptr;  // what the others give back at their end may suffice
    throw Error(ErrorCode::out_of_memory,
                "a text of " + std::to_string(length + running->most) + " tokens needs " +
                    std::to_string(running->bytes) +
                    " bytes for its keys and values, and there "
                    "is no room for them. " +
                    (options_.explain_memory ? options_.explain_memory() : "") +
                    ". Ask for fewer new tokens, or raise the limit");
  }
  try {
    running->cache = model_->make_cache(length + running->most);
  } catch (...) {
    hold(before);
    // What the others give back at their end may suffice.
    if (!running_.empty()) return nullptr;
    throw;
  }
  return running;
}

void GenerationQueue::admit() {
  while (running_.size() < options_.max_running) {
    CallPtr call;
    std::size_t index = 0;
    {
      std::scoped_lock lock(mutex_);
      if (waiting_.empty()) return;
      call = waiting_.front();
      index = call->next;
    }
    std::unique_ptr<Running> running;
    std::exception_ptr error;
    try {
      running = begin(call, index);
      if (!running) return;  // no memory now
    } catch (...) {
      error = current_error("beginning a text with model " + options_.name);
    }
    const auto now = Clock::now();
    std::scoped_lock lock(mutex_);
    waiting_.pop_front();
    if (error) {
      stats_.waiting -= call->requests.size() - call->next;
      finish(call, error);
      continue;
    }
    --stats_.waiting;
    if (++call->next < call->requests.size()) waiting_.push_back(call);  // behind the others
    if (!call->started) {
      call->started = true;
      call->result.load_ms = ms_between(call->submitted, opened_at_);
      call->result.queue_ms = ms_between(call->submitted, now) - call->result.load_ms;
    }
    running_.push_back(std::move(running));
    stats_.running = running_.size();
  }
}

std::vector<GenerationQueue::PlannedRow> GenerationQueue::plan() {
  std::vector<PlannedRow> rows;
  for (const auto& running : running_) {
    if (running->in_prompt()) continue;
    rows.push_back({running.get(),
                    {{&running->tokens.back(), 1},
                     running->cache.get(),
                     true,
                     running->taps,
                     &running->captured}});
  }
  const std::int64_t chunk = facts_.prefill_chunk;
  std::int64_t room = std::max(options_.prompt_tokens, chunk);
  if (rows.empty()) room *= kIdleChunks;
  const std::size_t count = running_.size();
  const std::size_t first = count == 0 ? 0 : next_prompt_ % count;
  for (std::size_t i = 0; i < count && room >= chunk; ++i) {
    Running& running = *running_[(first + i) % count];
    if (!running.in_prompt()) continue;
    const std::span<const std::int32_t> prompt = running.request->prompt;
    const std::size_t begin = static_cast<std::size_t>(running.fed);
    const std::size_t length = std::min(prompt.size() - begin, static_cast<std::size_t>(chunk));
    rows.push_back({&running,
                    {prompt.subspan(begin, length), running.cache.get(),
                     begin + length == prompt.size(), running.taps, &running.captured}});
    room -= static_cast<std::int64_t>(length);
    next_prompt_ = first + i + 1;
  }
  return rows;
}

at::Tensor GenerationQueue::compute(std::span<PlannedRow> rows) {
  std::vector<DecodeRow> decode;
  decode.reserve(rows.size());
  for (const PlannedRow& row : rows) decode.push_back(row.row);
  return model_->decode(decode);
}

// Computes the rows and gives each sequence its token. Throws what the model throws, with nothing
// changed then.
void GenerationQueue::run_rows(std::span<PlannedRow> rows) {
  at::Tensor scores = compute(rows);
  std::vector<Running*> choosing;
  bool only_argmax = true;
  for (const PlannedRow& row : rows) {
    Running& running = *row.running;
    if (running.in_prompt()) running.fed += static_cast<std::int64_t>(row.row.tokens.size());
    if (!running.captured.empty()) running.keep_captured();
    if (!row.row.want_scores) continue;
    choosing.push_back(&running);
    only_argmax = only_argmax && running.sampler.only_needs_argmax();
  }
  if (choosing.empty()) return;
  at::Tensor best, where;
  if (!scores.is_cpu() && only_argmax) {  // a vocabulary of scores a row need not travel
    std::tie(best, where) = at::max(scores, 1);
    best = best.cpu();
    where = where.cpu();
  } else {
    scores = scores.cpu().contiguous();
  }
  for (std::size_t i = 0; i < choosing.size(); ++i) {
    Running& running = *choosing[i];
    try {
      std::int32_t token = 0;
      if (where.defined()) {
        argmax({best.const_data_ptr<float>() + i, 1});  // refuses what is no number
        token = static_cast<std::int32_t>(where.const_data_ptr<std::int64_t>()[i]);
      } else {
        const auto width = static_cast<std::size_t>(scores.size(1));
        token = running.sampler.next({scores.mutable_data_ptr<float>() + i * width, width});
      }
      take_token(running, token);
    } catch (...) {
      std::exception_ptr error = current_error("generating with model " + options_.name);
      running.over = true;
      std::scoped_lock lock(mutex_);
      finish(running.call, std::move(error));
    }
  }
}

void GenerationQueue::take_token(Running& running, std::int32_t token) {
  const GenerationRequest& request = *running.request;
  running.tokens.push_back(token);
  AcceptedToken accepted;
  if (request.accept) accepted = request.accept(token);
  const auto& eos = request.config.eos_token_id;
  const auto count = static_cast<std::int64_t>(running.tokens.size());
  std::optional<FinishReason> reason;
  if (std::find(eos.begin(), eos.end(), token) != eos.end()) {
    reason = FinishReason::eos;
  } else if (!accepted.go_on) {
    reason = FinishReason::stop;
  } else if (count == running.most) {
    reason = running.cut ? FinishReason::context : FinishReason::length;
  }
  running.over = reason.has_value();
  std::scoped_lock lock(mutex_);
  Call& call = *running.call;
  ++stats_.new_tokens;
  if (call.result.first_token_ms == 0)
    call.result.first_token_ms = ms_between(call.submitted, Clock::now());
  call.events.push_back({running.index, token, std::move(accepted.text)});
  if (reason) {
    call.result.sequences[running.index] = {std::move(running.tokens), *reason,
                                            running.all_captured()};
    call.result.tokens += static_cast<std::int64_t>(request.prompt.size()) + count;
    --call.left;
  }
  call.changed.notify_all();
}

void GenerationQueue::step() {
  drop_ended();
  admit();
  std::vector<PlannedRow> rows = plan();
  if (rows.empty()) return;
  ++step_;
  const auto began = Clock::now();
  std::int64_t prompt_tokens = 0;
  for (const PlannedRow& row : rows) {
    if (row.running->in_prompt()) prompt_tokens += static_cast<std::int64_t>(row.row.tokens.size());
  }
  try {
    run_rows(rows);
  } catch (...) {
    // One by one, so that one bad sequence fails alone.
    std::exception_ptr error = current_error("generating with model " + options_.name);
    const bool lost = code_of(error) == ErrorCode::device_lost;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (rows.size() > 1 && !lost) {
        error = nullptr;
        try {
          run_rows({&rows[i], 1});
        } catch (...) {
          error = current_error("generating with model " + options_.name);
        }
      }
      if (!error) continue;
      rows[i].running->over = true;
      std::scoped_lock lock(mutex_);
      finish(rows[i].running->call, error);
    }
  }
  const double took_ms = ms_between(began, Clock::now());
  {
    std::scoped_lock lock(mutex_);
    ++stats_.steps;
    stats_.prompt_tokens += static_cast<std::uint64_t>(prompt_tokens);
    stats_.busy_ms += took_ms;
    for (const PlannedRow& row : rows) {
      Call& call = *row.running->call;
      call.result.batch_size =
          std::max(call.result.batch_size, static_cast<std::int64_t>(rows.size()));
      if (call.last_step != step_) {
        call.last_step = step_;
        call.result.gpu_ms += took_ms;
      }
    }
    for (const PlannedRow& row : rows) {
      if (row.running->call->left == 0) finish(row.running->call, nullptr);
    }
  }
  drop_ended();
}

}  // namespace gpumcp::gpu_runtime
