#include "mcp/http_guards.h"

#include <doctest/doctest.h>

using namespace gpumcp::mcp;

namespace {
HttpGuard guard_of(std::string bound = "127.0.0.1") { return {std::move(bound), 8080, {}, {}, ""}; }
bool host_ok(const HttpGuard& guard, std::string_view host) {
  auto authority = parse_authority(host);
  return authority && guard.host_allowed(*authority);
}
bool origin_ok(const HttpGuard& guard, std::string_view origin,
               std::string_view host = "localhost:8080") {
  return guard.origin_allowed(origin, *parse_authority(host));
}
}  // namespace

TEST_CASE("an authority is read whole or not at all") {
  CHECK(parse_authority("Example.COM") == Authority{"example.com", {}});
  CHECK(parse_authority("a:80") == Authority{"a", 80});
  CHECK(parse_authority("[::1]:80") == Authority{"::1", 80});
  CHECK(parse_authority("[::1]") == Authority{"::1", {}});
  for (const char* bad : {"", ":80", "a:", "a:b", "a:70000", "a:80:80", "::1", "[::1", "[::1]80",
                          "[localhost]", "u@a", "a/b", "a b", "a:+1", "a:-1", "a,b"})
    CHECK_MESSAGE(!parse_authority(bad), bad);
}

TEST_CASE("loopback is whole names and addresses") {
  for (const char* good : {"localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1"})
    CHECK(is_loopback_host(good));
  for (const char* bad : {"localhost.evil.com", "127.0.0.1.evil.com", "evil-localhost", "128.0.0.1",
                          "127.1", "0.0.0.0", "::", "::2", ""})
    CHECK_FALSE(is_loopback_host(bad));
}

TEST_CASE("Host must be a loopback name, the bound host or a listed one") {
  HttpGuard guard = guard_of();
  for (const char* good : {"localhost", "localhost:8080", "127.0.0.1:9", "[::1]:8080"})
    CHECK(host_ok(guard, good));
  for (const char* bad : {"evil.example.com", "localhost.evil.com", "localhost:8080@evil.com",
                          "192.168.0.1", "a.internal"})
    CHECK_FALSE(host_ok(guard, bad));
  guard.allowed_hosts = {"a.internal", "b.internal:443"};
  CHECK(host_ok(guard, "a.internal:1"));
  CHECK(host_ok(guard, "b.internal:443"));
  CHECK_FALSE(host_ok(guard, "b.internal:80"));
  CHECK_FALSE(host_ok(guard, "xa.internal"));
  CHECK(host_ok(guard_of("gpu7.cluster"), "GPU7.cluster:8080"));
}

TEST_CASE("bound to every address, Host may be an address but not a foreign name") {
  CHECK(host_ok(guard_of("0.0.0.0"), "10.1.2.3:8080"));
  CHECK_FALSE(host_ok(guard_of("0.0.0.0"), "evil.example.com"));
}

TEST_CASE("peers 14: Origin is compared by scheme, host and port, never by a prefix") {
  HttpGuard guard = guard_of();
  for (const char* good : {"http://localhost:8080", "http://127.0.0.1:8080", "http://[::1]:8080",
                           "http://LOCALHOST:8080"})
    CHECK(origin_ok(guard, good));
  for (const char* bad : {"null", "", "http://evil.example.com", "http://localhost.evil.com:8080",
                          "http://localhost:80801", "http://localhost", "http://localhost:8080/",
                          "http://localhost:8080@evil.com", "localhost:8080", "file://",
                          "http://127.0.0.1.evil.com:8080"})
    CHECK_FALSE_MESSAGE(origin_ok(guard, bad), bad);
  CHECK(origin_ok(guard, "http://localhost:9999",
                  "localhost:9999"));  // a forwarded port: same origin
  guard.allowed_origins = {"https://app.example.com"};
  CHECK(origin_ok(guard, "https://app.example.com:443"));
  CHECK_FALSE(origin_ok(guard, "http://app.example.com"));
  CHECK_FALSE(origin_ok(guard, "https://app.example.com:8443"));
}

TEST_CASE("a token is compared whole") {
  HttpGuard guard = guard_of();
  CHECK(guard.token_accepted(""));
  guard.token = "secret";
  CHECK(guard.token_accepted("Bearer secret"));
  CHECK(guard.token_accepted("bearer  secret "));
  for (const char* bad : {"", "secret", "Bearer", "Bearer ", "Bearer secre", "Bearer secrets",
                          "Bearer secretsecret", "Basic secret", "Bearer SECRET"})
    CHECK_FALSE_MESSAGE(guard.token_accepted(bad), bad);
}

TEST_CASE("Accept is a set of ranges") {
  auto accepts = [](std::string_view text) {
    const Accepts a = parse_accept(text);
    return std::pair(a.json, a.events);
  };
  CHECK(accepts("") == std::pair(true, true));
  CHECK(accepts("text/event-stream;q=0.5,application/json") == std::pair(true, true));
  CHECK(accepts("APPLICATION/JSON") == std::pair(true, false));
  CHECK(accepts("text/event-stream") == std::pair(false, true));
  CHECK(accepts("*/*") == std::pair(true, true));
  CHECK(accepts("application/json, text/event-stream;q=0.0") == std::pair(true, false));
  CHECK(accepts("text/html") == std::pair(false, false));
}

TEST_CASE("header values survive the base64 form, and loose base64 is refused") {
  for (const char* text :
       {"plain", "", "ä", " a", "a ", "a\tb", "=?base64?YQ==?=", "=?base64?", "日本"})
    CHECK(decode_header_value(encode_header_value(text)) == text);
  CHECK(encode_header_value("plain") == "plain");
  CHECK(encode_header_value("ä") == "=?base64?w6Q=?=");
  for (const char* bad : {"=?base64?!!!?=", "=?base64?YQ?=", "=?base64?YR==?=", "=?base64?/w==?=",
                          "\xC3\xA4", "a\tb"})
    CHECK_FALSE_MESSAGE(decode_header_value(bad), bad);
  CHECK(decode_header_value("=?BASE64?YQ==?=") == "=?BASE64?YQ==?=");
}
