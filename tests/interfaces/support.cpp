#include "interfaces/support.h"

#include <dlfcn.h>
#include <doctest/doctest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <fstream>

namespace gpumcp::tests {
namespace {

std::vector<std::unique_ptr<Worker>>& workers() {
  static std::vector<std::unique_ptr<Worker>> all;
  return all;
}

const mcp::PluginEntry& open_interface(const std::string& name) {
  const std::string path = std::string(GPUMCP_TEST_INTERFACES) + "/" + name + ".so";
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) throw std::runtime_error(dlerror());
  auto function = reinterpret_cast<mcp::PluginFunction>(dlsym(library, mcp::kPluginSymbol));
  if (!function) throw std::runtime_error(dlerror());
  return *function();
}

// A LoRA adapter of SmolLM2 that says something else than its base: rank 1 on layers' values.
std::filesystem::path tone_adapter() {
  const std::filesystem::path folder = broken_model().string() + "-tone";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "adapter_config.json")
      << R"({"peft_type": "LORA", "r": 1, "lora_alpha": 1, "target_modules": ["v_proj"],)"
      << R"("base_model_name_or_path": "HuggingFaceTB/SmolLM2-135M-Instruct"})";
  Json header = Json::object();
  std::string data;
  auto add = [&](const std::string& name, std::vector<int> shape, float scale) {
    const size_t begin = data.size();
    for (int i = 0; i < shape[0] * shape[1]; ++i) {
      const float value = scale * std::sin(static_cast<float>(i + 1));
      data.append(reinterpret_cast<const char*>(&value), sizeof value);
    }
    header[name] = {{"dtype", "F32"}, {"shape", shape}, {"data_offsets", {begin, data.size()}}};
  };
  for (const char* layer : {"3", "9", "15"}) {
    const std::string at =
        std::string("base_model.model.model.layers.") + layer + ".self_attn.v_proj.lora_";
    add(at + "A.weight", {1, 576}, 0.2f);
    add(at + "B.weight", {192, 1}, 1.0f);
  }
  const std::string text = header.dump();
  const uint64_t length = text.size();
  std::ofstream file(folder / "adapter_model.safetensors", std::ios::binary);
  file.write(reinterpret_cast<const char*>(&length), sizeof length);
  file << text << data;
  return folder;
}

void write(const std::filesystem::path& file, const Json& json) {
  std::filesystem::create_directories(file.parent_path());
  std::ofstream(file) << json.dump();
}

// The random models of five families, as ids name them ("tiny/llama"), each with a tokenizer in
// which "w7 w42" is the tokens 7 and 42; they have none of their own.
void add_tiny_models(const std::filesystem::path& folder, Json& models) {
  Json vocabulary = {{"[PAD]", 0}, {"[UNK]", 1}, {"[EOS]", 2}}, added = Json::array();
  for (int id = 3; id < 96; ++id) vocabulary["w" + std::to_string(id)] = id;
  for (const char* token : {"[PAD]", "[UNK]", "[EOS]"})
    added.push_back({{"id", vocabulary[token]}, {"content", token}, {"special", true}});
  const Json tokenizer = {
      {"added_tokens", added},
      {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
      {"decoder", {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", false}}},
      {"model",
       {{"type", "WordPiece"},
        {"unk_token", "[UNK]"},
        {"continuing_subword_prefix", "##"},
        {"max_input_chars_per_word", 10},
        {"vocab", vocabulary}}}};
  for (const std::string name : {"llama", "qwen2", "gemma2", "gemma3", "gpt2"}) {
    const std::filesystem::path to = folder / name;
    write(to / "tokenizer.json", tokenizer);
    for (const char* file : {"config.json", "model.safetensors"})
      std::filesystem::copy(GPUMCP_TEST_GOLDEN "/tiny_models/" + name + "/" + file, to / file);
    models["tiny/" + name] = to.string();
  }
}

// A random sentence-transformers model that has prompts.
void add_prompted_model(const std::filesystem::path& to, Json& models) {
  write(to / "modules.json", Json::parse(R"([{"idx": 0, "name": "0", "path": "",
                         "type": "sentence_transformers.models.Transformer"},
                        {"idx": 1, "name": "1", "path": "1_Pooling",
                         "type": "sentence_transformers.models.Pooling"}])"));
  write(to / "1_Pooling/config.json",
        {{"word_embedding_dimension", 32}, {"pooling_mode_mean_tokens", true}});
  write(to / "config_sentence_transformers.json",
        {{"prompts", {{"query", "where is "}, {"document", "the cat "}}},
         {"default_prompt_name", nullptr}});
  const std::string golden = GPUMCP_TEST_GOLDEN;
  for (const char* file : {"/tiny_models/bert/config.json", "/tiny_models/bert/model.safetensors",
                           "/cross_encoders/bert/tokenizer.json"})
    std::filesystem::copy(golden + file, to / std::filesystem::path(file).filename());
  models["prompted"] = to.string();
}

// Models that are made for the tests here, by name; their folders are beside broken_model().
const Json& made_models() {
  static const Json all = [] {
    Json models = Json::object();
    const std::filesystem::path folder = broken_model().string() + "-made";
    add_tiny_models(folder, models);
    add_prompted_model(folder / "prompted", models);
    models["tone"] = tone_adapter().string();
    return models;
  }();
  return all;
}

}  // namespace

std::filesystem::path broken_model() {
  static const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("gpumcp-broken-" + std::to_string(getpid()));
  return folder;
}

// The process has one Runtime, so that the folders of models are the same for every worker here.
Worker::Worker(Json options) : options_(std::move(options)), server_({.name = "test"}) {
  options_["models"] = {
      {"mine", "/nonexistent/folder"},
      {"broken", broken_model().string()},
      {"cross-encoder/ms-marco-MiniLM-L6-v2", GPUMCP_TEST_GOLDEN "/cross_encoders/bert"}};
  options_["models"].update(made_models());
  options_["threads"] = 2;
}

Worker& Worker::start(const std::vector<std::string>& interfaces, Json options) {
  workers().push_back(std::unique_ptr<Worker>(new Worker(std::move(options))));
  Worker& worker = *workers().back();
  for (const std::string& name : interfaces) worker.open(name);
  auto [near, far] = mcp::make_memory_transports();
  worker.end_ = std::move(far);
  worker.serving_ = std::thread([&worker] { worker.server_.serve(*worker.end_); });
  auto client = mcp::Client::connect(std::move(near));
  REQUIRE(client);
  worker.client_ = std::move(*client);
  return worker;
}

void Worker::open(const std::string& name) {
  const mcp::PluginEntry& entry = open_interface(name);
  REQUIRE(entry.abi == mcp::kPluginAbi);
  REQUIRE(std::string(entry.build) == mcp::plugin_build());
  REQUIRE(entry.name == name);
  entry.load(*this);
}

void Worker::end_all() {
  workers().clear();
  std::filesystem::remove_all(broken_model());
  for (const char* made : {"-tone", "-made"})
    std::filesystem::remove_all(broken_model().string() + made);
}

Worker::~Worker() {
  client_.reset();
  server_.stop();
  if (serving_.joinable()) serving_.join();
}

CallToolResult Worker::call(const std::string& tool, const Json& arguments) {
  auto result = client_->call_tool(tool, arguments);
  if (!result) FAIL(tool << ": " << result.error().message);
  return *result;
}

Json Worker::value(const std::string& tool, const Json& arguments) {
  const CallToolResult result = call(tool, arguments);
  if (result.isError) FAIL(tool << ": " << text_of(result));
  return Json::parse(result.structuredContent);
}

std::string Worker::error(const std::string& tool, const Json& arguments) {
  const CallToolResult result = call(tool, arguments);
  if (!result.isError) FAIL(tool << " should have failed: " << text_of(result));
  return text_of(result);
}

std::vector<float> Worker::inline_vector(const std::string& text) {
  return value("get_embedding", {{"text", text}, {"output", "inline"}})["embedding"]
      .get<std::vector<float>>();
}

std::string Worker::read_bytes(const std::string& uri) {
  auto contents = client_->read_resource(uri);
  if (!contents) FAIL(uri << ": " << contents.error().message);
  REQUIRE(contents->size() == 1);
  CHECK(contents->front().uri == uri);
  CHECK(contents->front().mimeType == "application/x-npy");
  REQUIRE(contents->front().blob);
  return mcp::base64_decode(*contents->front().blob).value();
}

Npy parse_npy(const std::string& bytes) {
  REQUIRE(bytes.size() > 10);
  REQUIRE(bytes.substr(0, 8) == std::string("\x93NUMPY\x01\x00", 8));
  const size_t header =
      static_cast<unsigned char>(bytes[8]) + 256u * static_cast<unsigned char>(bytes[9]);
  REQUIRE(bytes.size() >= 10 + header);
  Npy out{.header = bytes.substr(10, header),
          .values = std::vector<float>((bytes.size() - 10 - header) / 4)};
  std::memcpy(out.values.data(), bytes.data() + 10 + header, out.values.size() * 4);
  return out;
}

std::string text_of(const CallToolResult& result) {
  REQUIRE(!result.content.empty());
  return std::get<mcp::TextContent>(result.content.front().value).text;
}

double max_difference(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i)
    worst = std::max(worst, std::abs(double{a[i]} - double{b[i]}));
  return worst;
}

}  // namespace gpumcp::tests
