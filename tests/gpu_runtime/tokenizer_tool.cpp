// tokenizer_tool FOLDER encode|plain|offsets|decode: drives a Tokenizer from outside, for
// fuzz_tokenizer.py. encode: JSON strings (or pairs of them) on stdin, one a line; {"ids",
// "type_ids"} lines out, "offsets" too when asked. decode: lines of ids in, JSON strings out.
// An optional last argument is max_length.
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "gpu_runtime/json.h"
#include "gpu_runtime/tokenizer.h"

using namespace gpumcp::gpu_runtime;

namespace {

void encode(const Tokenizer& tokenizer, const EncodeOptions& options, bool special) {
  std::string line;
  EncodeOptions chosen = options;
  chosen.add_special_tokens = special;
  while (std::getline(std::cin, line)) {
    const Json input = Json::parse(line);
    const Encoding encoding = input.is_array()
                                  ? tokenizer.encode(input[0].get_ref<const std::string&>(),
                                                     input[1].get_ref<const std::string&>(), chosen)
                                  : tokenizer.encode(input.get_ref<const std::string&>(), chosen);
    Json output = {{"ids", encoding.ids}, {"type_ids", encoding.type_ids}};
    if (options.return_offsets) output["offsets"] = encoding.offsets;
    output["special"] = encoding.special_tokens_mask;
    std::puts(output.dump().c_str());
  }
}

void decode(const Tokenizer& tokenizer) {
  std::string line;
  while (std::getline(std::cin, line)) {
    const Json input = Json::parse(line);
    const auto ids = input.at("ids").get<std::vector<std::int32_t>>();
    std::puts(Json(tokenizer.decode(ids, input.at("skip").get<bool>())).dump().c_str());
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: tokenizer_tool FOLDER encode|plain|offsets|decode [MAX_LENGTH]\n");
    return 1;
  }
  try {
    const Tokenizer tokenizer = Tokenizer::from_pretrained(argv[1]);
    const std::string mode = argv[2];
    EncodeOptions options{.return_offsets = mode == "offsets"};
    if (argc > 3) options.max_length = std::strtoul(argv[3], nullptr, 10);
    if (mode == "decode") {
      decode(tokenizer);
    } else {
      encode(tokenizer, options, mode != "plain");
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
