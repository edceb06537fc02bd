// A request as bytes: the head is found and read alike however it is cut, an accepted head means
// the same when it is written anew, a chunked body is the same in any pieces, and what the guards
// let pass is what an independent reading of the same text lets pass.
#include "mcp/http_guards.h"
#include "mcp/http_wire.h"
#include "tests/fuzz/fuzz.h"

using namespace gpumcp::mcp;

namespace {

constexpr HttpLimits kLimits{.head_bytes = 2048, .headers = 16, .body_bytes = 512};

std::string write_head(const HttpHead& head) {
  std::string out = head.method + ' ' + head.path;
  if (!head.query.empty()) out += '?' + head.query;
  out += head.minor_version ? " HTTP/1.1\r\n" : " HTTP/1.0\r\n";
  for (const auto& [name, value] : head.headers) out += name + ": " + value + "\r\n";
  return out + "\r\n";
}

void check_head(const HttpHead& head) {
  FUZZ_CHECK(head.headers.size() <= kLimits.headers);
  FUZZ_CHECK(!head.method.empty() && head.path.starts_with('/'));
  FUZZ_CHECK(head.content_length <= kLimits.body_bytes);
  FUZZ_CHECK(!head.chunked || (head.minor_version == 1 && !head.find("content-length")));
  for (const auto& [name, value] : head.headers) {
    FUZZ_CHECK(name == lower_ascii(name) && value == trim_ows(value));
    FUZZ_CHECK((name + value).find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos);
  }
  HttpHead again;
  FUZZ_CHECK(parse_head(write_head(head), {}, again) == 0);
  FUZZ_CHECK(again.headers == head.headers && again.method == head.method);
  FUZZ_CHECK(again.path == head.path && again.query == head.query);
  FUZZ_CHECK(again.content_length == head.content_length && again.chunked == head.chunked);
  FUZZ_CHECK(again.keep_alive == head.keep_alive);
  FUZZ_CHECK(again.expects_continue == head.expects_continue);
}

struct Decoded {
  ChunkedDecoder::State state = ChunkedDecoder::State::more;
  std::string body;
  size_t consumed = 0;
  bool operator==(const Decoded&) const = default;
};

Decoded decode_chunks(std::string_view bytes, uint32_t seed) {
  ChunkedDecoder decoder(kLimits.body_bytes);
  Decoded out;
  const auto feed = [&](std::string_view piece) {
    std::string_view in = piece;
    out.state = decoder.feed(in, out.body);
    out.consumed += piece.size() - in.size();
    return out.state == ChunkedDecoder::State::more;
  };
  if (seed)
    fuzz::in_pieces(bytes, seed, feed);
  else if (!bytes.empty())
    feed(bytes);
  return out;
}

void check_chunks(std::string_view bytes) {
  const Decoded whole = decode_chunks(bytes, 0);
  Decoded pieces = decode_chunks(bytes, 1 + static_cast<uint32_t>(bytes.size()));
  FUZZ_CHECK(whole.body.size() <= kLimits.body_bytes);
  FUZZ_CHECK(pieces == whole);
  if (whole.state != ChunkedDecoder::State::done) return;
  std::string anew;
  fuzz::in_pieces(whole.body, 7, [&](std::string_view piece) {
    anew += chunk(piece);
    return true;
  });
  anew += kLastChunk;
  const Decoded again = decode_chunks(anew, 0);
  FUZZ_CHECK(again.state == whole.state && again.body == whole.body);
  FUZZ_CHECK(again.consumed == anew.size());
}

// This machine by name or address, read off the text alone.
bool reads_as_loopback(std::string host) {
  if (host == "localhost" || host.starts_with("127.")) return true;
  return !host.empty() && host.find_first_not_of("0:.1") == std::string::npos;  // ::1, 0:0::0.0.0.1
}

void check_guards(const HttpHead& head) {
  const HttpGuard guard{.bound_host = "127.0.0.1", .port = 8080, .token = "s3cret"};
  const std::string text = head.value("host");
  const auto host = parse_authority(text);
  if (host) {
    const bool v6 = host->host.find(':') != std::string::npos;
    std::string anew = v6 ? '[' + host->host + ']' : host->host;
    if (host->port) anew += ':' + std::to_string(*host->port);
    FUZZ_CHECK(parse_authority(anew) == host);
    FUZZ_CHECK(text.find_first_of("@/\\?# ") == std::string::npos);
    if (guard.host_allowed(*host)) FUZZ_CHECK(reads_as_loopback(host->host));
  }
  if (auto origin = head.find("origin"); origin && host && guard.host_allowed(*host)) {
    if (guard.origin_allowed(*origin, *host)) {
      const auto parsed = parse_origin(*origin);
      FUZZ_CHECK(parsed && (parsed->scheme == "http" || parsed->scheme == "https"));
      FUZZ_CHECK(reads_as_loopback(parsed->authority.host));
      const auto port = host->port.value_or(parsed->scheme == "http" ? 80 : 443);
      FUZZ_CHECK(parsed->port() == 8080 || parsed->port() == port);
    }
  }
  const std::string authorization = head.value("authorization");
  FUZZ_CHECK(guard.token_accepted(authorization) ==
             (lower_ascii(authorization).starts_with("bearer ") &&
              trim_ows(std::string_view(authorization).substr(7)) == guard.token));
  const Accepts accepts = parse_accept(head.value("accept"));
  if (accepts.json && head.find("accept") && !trim_ows(head.value("accept")).empty())
    FUZZ_CHECK(head.value("accept").find('/') != std::string::npos);
  (void)media_type(head.value("content-type"));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const size_t end = find_head_end(bytes);
  for (size_t from = 0, seen = 0; seen < bytes.size(); from = seen) {
    seen += 1 + (seen * 7) % 11;
    const size_t found = find_head_end(bytes.substr(0, seen), from);
    if (found == bytes.npos) continue;
    FUZZ_CHECK(found == end);
    break;
  }
  if (end == bytes.npos) {
    check_chunks(bytes);
    return 0;
  }
  HttpHead head;
  const int status = parse_head(bytes.substr(0, end), kLimits, head);
  if (status) {
    FUZZ_CHECK(status >= 400 && status <= 505 && status_text(status) != "Status");
    return 0;
  }
  check_head(head);
  check_guards(head);
  check_chunks(bytes.substr(end));
  return 0;
}
