#include "mcp/sse.h"

#include <fmt/format.h>

namespace gpumcp::mcp {

Result<void> SseParser::feed(std::string_view bytes,
                             const std::function<void(const SseEvent&)>& on_event) {
  while (!bytes.empty()) {
    if (std::exchange(after_cr_, false) && bytes.front() == '\n') {
      bytes.remove_prefix(1);
      continue;
    }
    const size_t end = bytes.find_first_of("\r\n");
    const std::string_view part = bytes.substr(0, end);
    if (line_.size() + part.size() + event_.data.size() > max_event_bytes_)
      return fail(ErrorCode::invalid_request,
                  fmt::format("an event is longer than the limit of {} bytes", max_event_bytes_));
    line_ += part;
    if (end == bytes.npos) return {};
    after_cr_ = bytes[end] == '\r';
    bytes.remove_prefix(end + 1);
    end_line(on_event);
    line_.clear();
  }
  return {};
}

void SseParser::end_line(const std::function<void(const SseEvent&)>& on_event) {
  std::string_view line = line_;
  if (std::exchange(at_start_, false) && line.starts_with("\xEF\xBB\xBF")) line.remove_prefix(3);
  if (line.empty()) {
    if (has_data_) {
      if (event_.type.empty()) event_.type = "message";
      on_event(event_);
    }
    event_.data.clear();
    event_.type.clear();
    has_data_ = false;
    return;
  }
  const size_t colon = line.find(':');
  if (colon == 0) return;  // a comment
  const std::string_view field = line.substr(0, colon);
  std::string_view value = colon == line.npos ? std::string_view() : line.substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (field == "data") {
    if (has_data_) event_.data += '\n';
    event_.data += value;
    has_data_ = true;
  } else if (field == "event") {
    event_.type = value;
  } else if (field == "id" && value.find('\0') == value.npos) {
    event_.id = value;
  } else if (field == "retry" && !value.empty() && value.size() <= 9 &&
             value.find_first_not_of("0123456789") == value.npos) {
    retry_ = std::chrono::milliseconds(std::stol(std::string(value)));
  }
}

}  // namespace gpumcp::mcp
