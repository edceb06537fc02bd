#include "mcp/http_sessions.h"

#include <fmt/format.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace gpumcp::mcp {
namespace {

// Streams that are over wait for a client that may come back, this many of a session.
constexpr size_t kMaxOver = 16;

std::string random_id() {
  std::array<unsigned char, 24> bytes;
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1)
    throw std::runtime_error("libcrypto has no random bytes");
  std::string out;
  for (unsigned char byte : bytes) out += fmt::format("{:02x}", byte);
  return out;
}

}  // namespace

HttpSession::HttpSession(std::string i, std::string p, std::string v, std::shared_ptr<Session> c,
                         std::shared_ptr<KeptBytes> k)
    : id(std::move(i)),
      principal(std::move(p)),
      version(std::move(v)),
      core(std::move(c)),
      kept(std::move(k)),
      standalone_(std::make_shared<HttpStream>(0, version, kept)) {}

std::shared_ptr<HttpStream> HttpSession::make_stream() {
  std::scoped_lock lock(mutex_);
  const uint64_t number = next_stream_++;
  auto stream = std::make_shared<HttpStream>(number, version, kept);
  stream->set_fallback(standalone_);
  streams_.emplace(number, stream);
  return stream;
}

std::shared_ptr<HttpStream> HttpSession::find_stream(std::string_view event_id,
                                                     uint64_t& after) const {
  uint64_t number = 0;
  const char* end = event_id.data() + event_id.size();
  auto [dash, error] = std::from_chars(event_id.data(), end, number);
  if (error != std::errc() || dash == end || *dash != '-') return nullptr;
  auto [last, error2] = std::from_chars(dash + 1, end, after);
  if (error2 != std::errc() || last != end) return nullptr;
  if (number == 0) return standalone_;
  std::scoped_lock lock(mutex_);
  auto it = streams_.find(number);
  return it == streams_.end() ? nullptr : it->second;
}

void HttpSession::done_with(const std::shared_ptr<HttpStream>& stream, bool unused) {
  std::scoped_lock lock(mutex_);
  size_t over = 0;
  for (auto it = streams_.begin(); it != streams_.end();) {
    if (it->second == stream && (unused || stream->delivered())) {
      it = streams_.erase(it);
      continue;
    }
    over += it->second->over();
    ++it;
  }
  for (auto it = streams_.begin(); it != streams_.end() && over > kMaxOver;) {
    if (it->second->over())
      it = streams_.erase(it), --over;
    else
      ++it;
  }
}

void HttpSession::close() {
  core->attach(nullptr);
  core->cancel_all();
  std::map<uint64_t, std::shared_ptr<HttpStream>> streams;
  {
    std::scoped_lock lock(mutex_);
    streams.swap(streams_);
  }
  for (auto& [number, stream] : streams) stream->close();
  standalone_->close();
}

HttpSessions::~HttpSessions() {
  for (auto& [id, session] : sessions_) session->close();
}

HttpSessions::Expired HttpSessions::sweep(HttpSession::Clock::time_point now) {
  Expired out;
  if (now - swept_ < std::min<HttpSession::Clock::duration>(limits_.idle, std::chrono::seconds(1)))
    return out;
  swept_ = now;
  for (auto it = sessions_.begin(); it != sessions_.end();) {
    if (it->second->requests_ == 0 && now - it->second->used_ >= limits_.idle) {
      out.push_back(std::move(it->second));
      it = sessions_.erase(it);
    } else {
      ++it;
    }
  }
  return out;
}

Result<std::shared_ptr<HttpSession>> HttpSessions::begin(std::shared_ptr<Session> core,
                                                         std::string principal,
                                                         std::string version) {
  auto session = std::make_shared<HttpSession>(random_id(), std::move(principal),
                                               std::move(version), std::move(core), kept_);
  Expired expired;
  {
    std::scoped_lock lock(mutex_);
    const auto now = HttpSession::Clock::now();
    expired = sweep(now);
    if (sessions_.size() >= limits_.max) {
      auto longest = sessions_.end();
      for (auto it = sessions_.begin(); it != sessions_.end(); ++it) {
        if (it->second->requests_ == 0 && now - it->second->used_ >= limits_.spare &&
            (longest == sessions_.end() || it->second->used_ < longest->second->used_))
          longest = it;
      }
      if (longest == sessions_.end())
        return fail(ErrorCode::internal_error,
                    fmt::format("{} sessions are open, the limit; retry in a minute, and end "
                                "sessions with DELETE",
                                sessions_.size()));
      expired.push_back(longest->second);
      sessions_.erase(longest);
    }
    session->requests_ = 1;
    sessions_.emplace(session->id, session);
  }
  for (auto& one : expired) one->close();
  return session;
}

std::shared_ptr<HttpSession> HttpSessions::take(const std::string& id,
                                                const std::string& principal) {
  Expired expired;
  std::shared_ptr<HttpSession> out;
  {
    std::scoped_lock lock(mutex_);
    const auto now = HttpSession::Clock::now();
    expired = sweep(now);
    auto it = sessions_.find(id);
    if (it != sessions_.end() && it->second->principal == principal) {
      if (it->second->requests_ == 0 && now - it->second->used_ >= limits_.idle) {
        expired.push_back(it->second);
        sessions_.erase(it);
      } else {
        out = it->second;
        ++out->requests_;
      }
    }
  }
  for (auto& one : expired) one->close();
  return out;
}

void HttpSessions::put(const std::shared_ptr<HttpSession>& session) {
  std::scoped_lock lock(mutex_);
  --session->requests_;
  session->used_ = HttpSession::Clock::now();
}

void HttpSessions::end(const std::shared_ptr<HttpSession>& session) {
  {
    std::scoped_lock lock(mutex_);
    sessions_.erase(session->id);
  }
  session->close();
}

size_t HttpSessions::size() const {
  std::scoped_lock lock(mutex_);
  return sessions_.size();
}

}  // namespace gpumcp::mcp
