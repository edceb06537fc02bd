// JSON-RPC 2.0 messages as texts whose parts are found but not decoded: a forwarder hands a result
// on byte by byte, a server decodes only the params that it needs. Values; immutable after
// parse_message().
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "mcp/json.h"
#include "mcp/result.h"

namespace gpumcp::mcp {

// Longest accepted JSON text of a request id: ids are echoed, so a huge one would amplify.
inline constexpr size_t kMaxIdBytes = 256;

// A request id, string or integer, kept as its JSON text ("7", "\"a\"") so that it is echoed as it
// came.
struct RequestId {
  std::string json;
  bool empty() const { return json.empty(); }
  bool operator==(const RequestId&) const = default;
  auto operator<=>(const RequestId&) const = default;
};

class Message {
 public:
  enum class Kind { request, notification, result, error };

  Kind kind() const { return kind_; }
  const RequestId& id() const { return id_; }  // empty for notifications, and errors without id
  const std::string& method() const { return method_; }      // requests and notifications
  std::string_view params() const { return view(params_); }  // text of an object, or empty
  std::string_view result() const { return view(result_); }  // text of an object
  std::string_view error() const { return view(error_); }    // text of an object
  const std::string& text() const { return text_; }

 private:
  friend Result<Message> parse_message(std::string text, RequestId* id_of_broken);
  struct Span {
    size_t begin = 0, size = 0;
  };
  std::string_view view(Span s) const { return std::string_view(text_).substr(s.begin, s.size); }

  Kind kind_ = Kind::notification;
  RequestId id_;
  std::string method_;
  Span params_, result_, error_;
  std::string text_;
};

// Errors: parse_error (not JSON), invalid_request (JSON, but no JSON-RPC 2.0 message; batches too).
// `id_of_broken` receives the id where one could be read, so that the error can carry it.
Result<Message> parse_message(std::string text, RequestId* id_of_broken = nullptr);

// An id's canonical text: integers as they stand, strings with their escapes normalised.
Result<RequestId> parse_request_id(std::string_view json);

// The parts of an error object. A peer's code never becomes one of the local ones, such as
// `closed`.
Error parse_error_object(std::string_view text);
std::string error_object(const Error& error);  // {"code":…,"message":…,"data":…}

// Texts for the wire: one line, no newline at the end. `params` and `result` are JSON texts.
std::string make_request(const RequestId& id, std::string_view method, std::string_view params);
std::string make_notification(std::string_view method, std::string_view params);
std::string make_result(const RequestId& id, std::string_view result);
// Without an id the member is left out (2026-07-28), or null where `null_id` asks for it (legacy).
std::string make_error(const RequestId& id, const Error& error, bool null_id = false);

}  // namespace gpumcp::mcp
