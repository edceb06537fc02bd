#include "mcp/http_wire.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "mcp/http_guards.h"

namespace gpumcp::mcp {
namespace {

// RFC 9110 5.6.2
bool is_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  });
}

bool is_field_value(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    const auto u = static_cast<unsigned char>(c);
    return u == '\t' || (u >= 0x20 && u != 0x7f);
  });
}

bool lists(std::string_view value, std::string_view option) {
  while (!value.empty()) {
    const size_t end = value.find(',');
    if (lower_ascii(trim_ows(value.substr(0, end))) == option) return true;
    if (end == value.npos) break;
    value.remove_prefix(end + 1);
  }
  return false;
}

int parse_request_line(std::string_view line, HttpHead& out) {
  const size_t first = line.find(' '), last = line.rfind(' ');
  if (first == line.npos || first == last) return 400;
  const std::string_view target = line.substr(first + 1, last - first - 1),
                         version = line.substr(last + 1);
  if (version.size() != 8 || !version.starts_with("HTTP/")) return 400;
  if (!version.starts_with("HTTP/1.") || version[7] < '0' || version[7] > '9') return 505;
  out.minor_version = version[7] == '0' ? 0 : 1;
  out.method = line.substr(0, first);
  if (!is_token(out.method)) return 400;
  const bool visible =
      std::all_of(target.begin(), target.end(), [](char c) { return c > 0x20 && c < 0x7f; });
  if (!target.starts_with('/') || !visible) return 400;
  const size_t mark = target.find('?');
  out.path = target.substr(0, mark);
  if (mark != target.npos) out.query = target.substr(mark + 1);
  return 0;
}

// Whether a body follows, and how long it is. Both forms at once are how requests are smuggled:
// refused.
int settle_body(const HttpLimits& limits, HttpHead& out) {
  const auto length = out.find("content-length"), coding = out.find("transfer-encoding");
  if (coding) {
    if (length || out.minor_version == 0) return 400;
    if (lower_ascii(*coding) != "chunked") return 501;
    out.chunked = true;
    return 0;
  }
  if (!length) return 0;
  const bool digits =
      !length->empty() && length->size() <= 18 &&
      std::all_of(length->begin(), length->end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!digits)
    return length->find_first_not_of("0123456789") == length->npos && !length->empty() ? 413 : 400;
  std::from_chars(length->data(), length->data() + length->size(), out.content_length);
  return out.content_length > limits.body_bytes ? 413 : 0;
}

}  // namespace

std::optional<std::string> HttpHead::find(std::string_view name) const {
  std::optional<std::string> out;
  for (auto& [key, value] : headers) {
    if (key != name) continue;
    if (out)
      (*out += ", ") += value;
    else
      out = value;
  }
  return out;
}

size_t find_head_end(std::string_view bytes, size_t from) {
  const size_t at = bytes.find("\r\n\r\n", from > 3 ? from - 3 : 0);
  return at == bytes.npos ? at : at + 4;
}

int parse_head(std::string_view text, const HttpLimits& limits, HttpHead& out) {
  out = {};
  if (text.size() > limits.head_bytes) return 431;
  text.remove_suffix(2);  // the blank line
  bool request_line = true;
  while (!text.empty()) {
    const size_t end = text.find("\r\n");
    if (end == text.npos) return 400;
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 2);
    if (line.find_first_of(std::string_view("\r\n\0", 3)) != line.npos) return 400;
    if (request_line) {
      request_line = false;
      if (int status = parse_request_line(line, out)) return status;
      continue;
    }
    const size_t colon = line.find(':');
    if (colon == line.npos || !is_token(line.substr(0, colon)) ||
        !is_field_value(line.substr(colon + 1)))
      return 400;
    if (out.headers.size() == limits.headers) return 431;
    out.headers.emplace_back(lower_ascii(line.substr(0, colon)), trim_ows(line.substr(colon + 1)));
  }
  size_t hosts = 0;
  for (auto& header : out.headers) hosts += header.first == "host";
  if (hosts > 1 || (hosts == 0 && out.minor_version == 1)) return 400;
  const std::string connection = out.value("connection");
  out.keep_alive =
      out.minor_version == 1 ? !lists(connection, "close") : lists(connection, "keep-alive");
  out.expects_continue =
      out.minor_version == 1 && lower_ascii(out.value("expect")) == "100-continue";
  return settle_body(limits, out);
}

ChunkedDecoder::State ChunkedDecoder::end_line(std::string_view line) {
  if (line.find_first_of(std::string_view("\r\0", 2)) != line.npos) return State::malformed;
  switch (step_) {
    case Step::size: {
      const size_t mark = line.find(';');
      std::string_view digits = line.substr(0, mark);
      if (mark != line.npos) {  // RFC 9112 7.1.1: white space may stand before the ';' alone
        while (digits.ends_with(' ') || digits.ends_with('\t')) digits.remove_suffix(1);
      }
      const auto [end, error] =
          std::from_chars(digits.data(), digits.data() + digits.size(), left_, 16);
      if (digits.empty() || error != std::errc() || end != digits.data() + digits.size())
        return State::malformed;
      if (left_ > max_bytes_ - total_) return State::too_large;
      step_ = left_ ? Step::data : Step::trailer;
      return State::more;
    }
    case Step::data_end:
      if (!line.empty()) return State::malformed;
      step_ = Step::size;
      return State::more;
    default:
      return line.empty() ? State::done : State::more;
  }
}

ChunkedDecoder::State ChunkedDecoder::feed(std::string_view& in, std::string& out) {
  constexpr size_t kMaxLine = 256, kMaxTrailers = 4096;
  while (!in.empty()) {
    if (step_ == Step::data) {
      const size_t n = std::min<uint64_t>(left_, in.size());
      out.append(in.substr(0, n));
      in.remove_prefix(n);
      total_ += n;
      left_ -= n;
      if (left_ == 0) step_ = Step::data_end;
      continue;
    }
    const char c = in.front();
    in.remove_prefix(1);
    if (step_ == Step::trailer && ++trailers_ > kMaxTrailers) return State::malformed;
    if (c != '\n') {
      line_ += c;
      if (line_.size() > kMaxLine && step_ != Step::trailer) return State::malformed;
      continue;
    }
    if (!line_.ends_with('\r')) return State::malformed;
    line_.pop_back();
    const std::string line = std::exchange(line_, {});
    if (const State state = end_line(line); state != State::more) return state;
  }
  return State::more;
}

std::string_view status_text(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 202:
      return "Accepted";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 406:
      return "Not Acceptable";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Status";
  }
}

std::string response_head(int status, std::string_view content_type, std::optional<size_t> length,
                          bool keep_alive, const HttpHeaders& headers) {
  std::string out;
  out.reserve(160);
  fmt::format_to(std::back_inserter(out), "HTTP/1.1 {} {}\r\n", status, status_text(status));
  if (!content_type.empty()) ((out += "Content-Type: ") += content_type) += "\r\n";
  if (length) fmt::format_to(std::back_inserter(out), "Content-Length: {}\r\n", *length);
  if (!keep_alive) out += "Connection: close\r\n";
  for (auto& [name, value] : headers) (((out += name) += ": ") += value) += "\r\n";
  out += "\r\n";
  return out;
}

std::string chunk(std::string_view data) {
  return fmt::format("{:x}\r\n{}\r\n", data.size(), data);
}

}  // namespace gpumcp::mcp
