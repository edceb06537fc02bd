#include "mcp/schema/format.h"

#include <algorithm>
#include <array>
#include <utility>

#include "mcp/schema/characters.h"
#include "mcp/schema/ecma_regex.h"
#include "mcp/schema/uri.h"

namespace gpumcp::mcp::schema {
namespace {

struct Entry {
  std::string_view name;
  Format format;
  std::string_view description;
};
constexpr std::array kFormats{
    Entry{"email", Format::email, "an e-mail address such as \"name@example.com\""},
    Entry{"uri", Format::uri, "a URI such as \"https://example.com/path\""},
    Entry{"uri-reference", Format::uri_reference,
          "a URI or a relative reference such as \"/path\""},
    Entry{"date", Format::date, "a date such as \"2026-11-24\""},
    Entry{"time", Format::time, "a time with its offset such as \"12:30:00Z\""},
    Entry{"date-time", Format::date_time,
          "a date and time with its offset such as \"2026-11-24T12:30:00Z\""},
    Entry{"ipv4", Format::ipv4, "an IPv4 address such as \"192.0.2.1\""},
    Entry{"ipv6", Format::ipv6, "an IPv6 address such as \"2001:db8::1\""},
    Entry{"uuid", Format::uuid, "a UUID such as \"01234567-89ab-cdef-0123-456789abcdef\""},
    Entry{"json-pointer", Format::json_pointer, "a JSON Pointer such as \"/items/0\""},
    Entry{"regex", Format::regex, "a regular expression of ECMA-262"},
};

// The number that `text` is, in exactly `width` digits; -1 if it is not.
int number(std::string_view text, size_t width) {
  if (text.size() != width || !std::all_of(text.begin(), text.end(), digit)) return -1;
  int out = 0;
  for (char c : text) out = out * 10 + (c - '0');
  return out;
}

bool is_date(std::string_view text) {
  if (text.size() != 10 || text[4] != '-' || text[7] != '-') return false;
  const int year = number(text.substr(0, 4), 4), month = number(text.substr(5, 2), 2),
            day = number(text.substr(8, 2), 2);
  if (year < 0 || month < 1 || month > 12 || day < 1) return false;
  static constexpr int kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
  return day <= kDays[month - 1] + (month == 2 && leap);
}

// RFC 3339, full-time. Second 60 only where UTC's leap seconds are: 23:59:60.
bool is_time(std::string_view text) {
  if (text.size() < 9 || text[2] != ':' || text[5] != ':') return false;
  const int hour = number(text.substr(0, 2), 2), minute = number(text.substr(3, 2), 2),
            second = number(text.substr(6, 2), 2);
  if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60) return false;
  text.remove_prefix(8);
  if (text[0] == '.') {
    const auto end = std::find_if_not(text.begin() + 1, text.end(), digit);
    if (end == text.begin() + 1) return false;
    text.remove_prefix(static_cast<size_t>(end - text.begin()));
  }
  int offset = 0;
  if (text != "Z" && text != "z") {
    if (text.size() != 6 || (text[0] != '+' && text[0] != '-') || text[3] != ':') return false;
    const int hours = number(text.substr(1, 2), 2), minutes = number(text.substr(4, 2), 2);
    if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59) return false;
    offset = (hours * 60 + minutes) * (text[0] == '+' ? 1 : -1);
  }
  return second < 60 || (hour * 60 + minute - offset + 2 * 1440) % 1440 == 1439;
}

bool is_date_time(std::string_view text) {
  return text.size() > 11 && (text[10] == 'T' || text[10] == 't') && is_date(text.substr(0, 10)) &&
         is_time(text.substr(11));
}

bool is_domain(std::string_view text) {
  if (text.empty() || text.size() > 253) return false;
  while (true) {
    const std::string_view label = text.substr(0, text.find('.'));
    if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-' ||
        !std::all_of(label.begin(), label.end(),
                     [](char c) { return letter(c) || digit(c) || c == '-'; }))
      return false;
    if (label.size() == text.size()) return true;
    text.remove_prefix(label.size() + 1);
  }
}

// RFC 5321, Mailbox; ASCII.
bool is_email(std::string_view text) {
  const size_t at = text.rfind('@');
  if (at == text.npos || at == 0 || at > 64) return false;
  const std::string_view local = text.substr(0, at), domain = text.substr(at + 1);
  if (local.front() == '"') {
    if (local.size() < 2 || local.back() != '"') return false;
    for (size_t i = 1; i + 1 < local.size(); ++i) {
      if (local[i] < ' ' || local[i] > '~' || local[i] == '"') return false;
      if (local[i] == '\\' && ++i + 1 >= local.size()) return false;
    }
  } else {
    if (local.front() == '.' || local.back() == '.' || local.find("..") != local.npos) return false;
    if (!std::all_of(local.begin(), local.end(), [](char c) {
          return letter(c) || digit(c) ||
                 std::string_view(".!#$%&'*+-/=?^_`{|}~").find(c) != std::string_view::npos;
        }))
      return false;
  }
  if (domain.size() > 2 && domain.front() == '[' && domain.back() == ']') {
    const std::string_view literal = domain.substr(1, domain.size() - 2);
    return literal.starts_with("IPv6:") ? is_ipv6(literal.substr(5)) : is_ipv4(literal);
  }
  return is_domain(domain);
}

bool is_uuid(std::string_view text) {
  if (text.size() != 36) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-' : hex_value(text[i]) < 0) return false;
  }
  return true;
}

bool is_json_pointer(std::string_view text) {
  if (!text.empty() && text[0] != '/') return false;
  for (size_t i = text.find('~'); i != text.npos; i = text.find('~', i + 1)) {
    if (i + 1 == text.size() || (text[i + 1] != '0' && text[i + 1] != '1')) return false;
  }
  return true;
}

}  // namespace

std::optional<Format> find_format(std::string_view name) {
  for (const Entry& entry : kFormats) {
    if (entry.name == name) return entry.format;
  }
  return std::nullopt;
}

std::string_view format_description(Format format) {
  return std::find_if(kFormats.begin(), kFormats.end(),
                      [&](const Entry& entry) { return entry.format == format; })
      ->description;
}

bool has_format(Format format, std::string_view text) {
  switch (format) {
    case Format::email:
      return is_email(text);
    case Format::uri:
      return is_uri(text);
    case Format::uri_reference:
      return is_uri_reference(text);
    case Format::date:
      return is_date(text);
    case Format::time:
      return is_time(text);
    case Format::date_time:
      return is_date_time(text);
    case Format::ipv4:
      return is_ipv4(text);
    case Format::ipv6:
      return is_ipv6(text);
    case Format::uuid:
      return is_uuid(text);
    case Format::json_pointer:
      return is_json_pointer(text);
    case Format::regex:
      return Pattern::compile(text).has_value();
  }
  return true;
}

}  // namespace gpumcp::mcp::schema
