// The small JSON files of a model's folder: parse_json takes what nlohmann takes, but for duplicate
// keys and depth; every getter gives a value in its range or an Error; and no module's folder lies
// outside the model's. Input, a line each: config.json, modules.json, 1_Pooling/config.json,
// config_sentence_transformers.json, sentence_bert_config.json.
#include "gpu_runtime/error.h"
#include "gpu_runtime/json.h"
#include "gpu_runtime/model_config.h"
#include "tests/fuzz/folder.h"

using namespace gpumcp::gpu_runtime;

namespace {

template <class F>
void or_error(F f) {
  try {
    f();
  } catch (const Error& error) {
    FUZZ_CHECK(error.what()[0] != '\0');
  }
}

void check_json(std::string_view text) {
  try {
    const Json value = parse_json(text, "x", {.max_depth = 16, .max_values = 300});
    FUZZ_CHECK(Json::parse(text) == value);
    (void)describe_json(value);
  } catch (const Error& error) {
    const std::string_view what = error.what();
    if (what.find("stands there twice") == what.npos && what.find("nested deeper") == what.npos &&
        what.find("more than 300 values") == what.npos)
      FUZZ_CHECK(!Json::accept(text));
  }
}

void check_config(std::string_view text) {
  const ModelConfig config = ModelConfig::from_json(parse_json(text, "c"), "c");
  for (const auto& [key, value] : config.json().items()) {
    or_error([&, k = key] {
      const auto n = config.get_int(k, 1, 1 << 20);
      FUZZ_CHECK(n >= 1 && n <= 1 << 20);
    });
    or_error([&, k = key] {
      const auto n = config.get_number(k, 0, 1e6, 3);
      FUZZ_CHECK(n >= 0 && n <= 1e6);
    });
    or_error([&, k = key] { (void)config.get_bool(k, false); });
    or_error([&, k = key] { (void)config.get_string(k); });
    or_error([&, k = key] { (void)config.get_object(k).model_type(); });
  }
  or_error([&] { (void)config.architectures(); });
  or_error([&] { (void)config.dtype(); });
}

bool inside(const std::filesystem::path& folder, const std::filesystem::path& path) {
  const auto relative = path.lexically_normal().lexically_relative(folder);
  return !relative.empty() && *relative.begin() != "..";
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const fuzz::Folder folder;
  const auto parts = fuzz::lines(data, size, 5);
  check_json(parts[0]);
  or_error([&] { check_config(parts[0]); });
  const char* names[] = {"config.json", "modules.json", "1_Pooling/config.json",
                         "config_sentence_transformers.json", "sentence_bert_config.json"};
  for (size_t i = 1; i < parts.size(); ++i) {
    folder.write(names[i], parts[i]);
    if (parts[i].empty()) folder.remove(names[i]);
  }
  or_error([&] {
    const auto config = SentenceTransformerConfig::from_pretrained(folder.path());
    FUZZ_CHECK(!config.pooling.empty());
    FUZZ_CHECK(inside(folder.path(), config.transformer_folder));
    for (const DenseModule& dense : config.dense) FUZZ_CHECK(inside(folder.path(), dense.folder));
    if (config.default_prompt_name)
      FUZZ_CHECK(config.prompts.contains(*config.default_prompt_name));
  });
  return 0;
}
