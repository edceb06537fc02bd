// Any text as a chat template: it is refused with an Error, or renders to valid UTF-8 of bounded
// size in bounded time, the same twice.
#include "gpu_runtime/error.h"
#include "gpu_runtime/template/chat_template.h"
#include "gpu_runtime/unicode.h"
#include "tests/fuzz/fuzz.h"

using namespace gpumcp::gpu_runtime;

namespace {

const OrderedJson kMessages = OrderedJson::parse(
    R"([{"role": "system", "content": "s"}, {"role": "user", "content": "h\u00e9llo", "n": 3},
        {"role": "assistant", "content": " yes ", "list": [3, 1, 2], "deep": {"a": {"b": null}}}])");

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  ChatTemplateOptions options{.add_generation_prompt = true, .tools = OrderedJson::array({1.5})};
  options.now = std::tm{};
  try {
    const ChatTemplate parsed = ChatTemplate::from_text(text, {{"bos_token", "<s>"}});
    const std::string out = parsed.render(kMessages, options);
    FUZZ_CHECK(out.size() <= (16u << 20));
    FUZZ_CHECK(!find_invalid_utf8(out));
    FUZZ_CHECK(parsed.render(kMessages, options) == out);
  } catch (const Error& error) {
    FUZZ_CHECK(error.code() == ErrorCode::corrupt_checkpoint ||
               error.code() == ErrorCode::invalid_argument);
  }
  return 0;
}
