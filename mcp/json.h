// JSON for mcp: the value type, strict validation of foreign bytes, splitting of an object into its
// members' texts without decoding them, and writers for the wire. All functions are pure and
// thread-safe.
//
// Foreign text goes through scan_json() once: strict RFC 8259 grammar, well-formed UTF-8 and
// surrogates, bounded depth, no duplicate keys (peers that disagree on which duplicate counts are
// an attack surface). After that the parts can be parsed or forwarded byte by byte.
#pragma once

#include <concepts>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <type_traits>

#include "mcp/result.h"

namespace gpumcp::mcp {

// Keeps the order of keys: schemas reach clients as their author wrote them.
using Json = nlohmann::ordered_json;

inline constexpr int kMaxJsonDepth = 64;

// Called for each member of the outermost object: the key, decoded, and the value's text. Refers to
// a callable that the caller keeps, so it is for parameters only; empty: nobody wants to know.
class MemberFn {
 public:
  MemberFn() = default;
  template <class F>
    requires(!std::same_as<std::remove_cvref_t<F>, MemberFn>)
  MemberFn(F&& f)  // NOLINT: made from lambdas where they are written
      : object_(const_cast<void*>(static_cast<const void*>(&f))),
        call_([](void* object, std::string_view key, std::string_view value) {
          (*static_cast<std::remove_reference_t<F>*>(object))(key, value);
        }) {}
  explicit operator bool() const { return call_ != nullptr; }
  void operator()(std::string_view key, std::string_view value) const {
    call_(object_, key, value);
  }

 private:
  void* object_ = nullptr;
  void (*call_)(void*, std::string_view, std::string_view) = nullptr;
};

// Validates `text` as one JSON value. If that is an object, calls `member` for each of its members
// in order. Errors: parse_error with the byte offset and what is wrong there.
Result<void> scan_json(std::string_view text, const MemberFn& member = {},
                       int max_depth = kMaxJsonDepth);

// The same for a text that scan_json() has accepted before, or a part of one: nothing is checked.
void split_object(std::string_view text, const MemberFn& member);

// scan_json, then the value. Numbers beyond 64 bits become doubles; those beyond double are an
// error.
Result<Json> parse_json(std::string_view text, int max_depth = kMaxJsonDepth);

// Compact text. Invalid UTF-8 inside strings becomes U+FFFD; it never throws for that.
std::string to_text(const Json& value);

// Writers, appending to `out`: what the typed door and the envelope are made of.
void append_string(std::string& out,
                   std::string_view text);  // quoted and escaped; bad UTF-8 -> U+FFFD
void append_number(std::string& out, int64_t value);
void append_number(std::string& out, uint64_t value);
// Shortest text that reads back as the same value. Throws std::domain_error for NaN and infinities.
void append_number(std::string& out, float value);
void append_number(std::string& out, double value);

// The bytes of `text` from `from` that are not well-formed UTF-8 start here; npos if all are fine.
size_t find_invalid_utf8(std::string_view text, size_t from = 0);

}  // namespace gpumcp::mcp
