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
      {"tone", tone_adapter().string()},
      {"cross-encoder/ms-marco-MiniLM-L6-v2", GPUMCP_TEST_GOLDEN "/cross_encoders/bert"}};
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
  std::filesystem::remove_all(broken_model().string() + "-tone");
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
