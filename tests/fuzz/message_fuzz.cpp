// A session takes any text without ending, and whatever it answers is a sound JSON-RPC message.
// Also the decoders that a client runs on what a server sends.
#include <string>

#include "mcp/client_cache.h"
#include "mcp/message.h"
#include "mcp/server.h"
#include "mcp/session.h"
#include "tests/fuzz/fuzz.h"

using namespace gpumcp::mcp;

namespace {

struct CheckingSink final : ReplySink {
  void notify(std::string message) override { FUZZ_CHECK(parse_message(std::move(message))); }
  void respond(std::string message, std::optional<ErrorCode> code) override {
    FUZZ_CHECK(message.find('\n') == message.npos || !code);
    auto parsed = parse_message(std::move(message));
    FUZZ_CHECK(parsed);
    FUZZ_CHECK(parsed->kind() == (code ? Message::Kind::error : Message::Kind::result));
  }
};

Server& server() {
  static Server* const kServer = [] {
    auto* s = new Server({.name = "fuzz", .max_message_bytes = 1u << 16});
    s->expose("add", "d", [](double a, int b) { return a + b; }, arg("a"), arg("b", "", 1));
    s->add_forwarded(
        {{.name = "far", .description = "d", .inputSchema = {{"type", "object"}}}}, {},
        [](std::shared_ptr<ForwardedRequest> request) {
          request->progress(request->meta());
          request->respond_result(request->arguments().empty() ? "{}" : request->arguments());
        });
    return s;
  }();
  return *kServer;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  auto session = server().make_session();
  session->receive(text, std::make_shared<CheckingSink>());
  session->wait_idle(std::chrono::seconds(10));
  RequestId id;
  if (auto message = parse_message(text, &id)) {
    if (message->kind() == Message::Kind::error) (void)parse_error_object(message->error());
    if (message->kind() == Message::Kind::result) {
      if (auto result = call_tool_result_from_text(message->result())) {
        for (std::string_view version : kVersions)
          FUZZ_CHECK(scan_json(to_text(*result, version)));  // 1e999 passes as it came
      }
      (void)resource_contents_from_text(message->result());
      (void)get_prompt_result_from_text(message->result());
      FUZZ_CHECK(CacheHint::of(message->result()).ttl <= std::chrono::hours(24));
    }
  }
  if (auto json = parse_json(text)) (void)tool_from_json(*json);
  return 0;
}
