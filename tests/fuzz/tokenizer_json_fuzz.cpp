// A hostile tokenizer.json is refused with an Error or loads, and then encodes and decodes within
// bounds. Input: the tokenizer.json on one line, then the text.
#include "tests/fuzz/tokenizer_properties.h"

using namespace gpumcp::gpu_runtime;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto parts = fuzz::lines(data, size, 2);
  try {
    const Tokenizer tokenizer = Tokenizer::from_json(parts[0], "t");
    fuzz::check_text(tokenizer, parts[1].substr(0, 300), false);
    const int32_t ids[] = {-1, 0, 1, 2, 3, 1 << 22, INT32_MIN, INT32_MAX};
    try {
      (void)tokenizer.decode(ids);
    } catch (const Error& error) {
      FUZZ_CHECK(error.code() == ErrorCode::invalid_argument);
    }
    for (const int32_t id : ids) {
      if (auto token = tokenizer.id_to_token(id)) (void)tokenizer.token_to_id(*token);
    }
  } catch (const Error& error) {
    FUZZ_CHECK(std::string_view(error.what()).starts_with("t"));
    FUZZ_CHECK(error.code() == ErrorCode::corrupt_checkpoint ||
               error.code() == ErrorCode::unsupported);
  }
  return 0;
}
