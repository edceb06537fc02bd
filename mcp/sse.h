// Server-sent events, read incrementally (WHATWG HTML, "9.2 Server-sent events"). Fed any split of
// the bytes; knows CR, LF and CRLF, comments, several data lines, and bounds what it holds. Used by
// one thread at a time.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "mcp/result.h"

namespace gpumcp::mcp {

struct SseEvent {
  std::string type;  // "message" if none was given
  std::string data;  // data lines joined by '\n'
  std::string id;    // the last one seen on this stream
};

class SseParser {
 public:
  explicit SseParser(size_t max_event_bytes) : max_event_bytes_(max_event_bytes) {}
  // Calls `on_event` for each event that is complete. Error invalid_request: an event is longer
  // than the limit; the parser is then of no more use.
  Result<void> feed(std::string_view bytes, const std::function<void(const SseEvent&)>& on_event);
  // What reconnecting needs: the last id, and how long the server wants to be left alone.
  const std::string& last_id() const { return event_.id; }
  std::optional<std::chrono::milliseconds> retry() const { return retry_; }

 private:
  void end_line(const std::function<void(const SseEvent&)>& on_event);

  const size_t max_event_bytes_;
  std::string line_;
  SseEvent event_;
  std::optional<std::chrono::milliseconds> retry_;
  bool has_data_ = false;
  bool after_cr_ = false;  // an LF that follows belongs to the CR
  bool at_start_ = true;   // a byte order mark may come
};

}  // namespace gpumcp::mcp
