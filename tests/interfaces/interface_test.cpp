// What an author's interface gets from <gpumcp/interface.h>: the example, several interfaces in one
// process, models that are not there.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>

#include "interfaces/plain_interface.h"
#include "interfaces/support.h"

using namespace gpumcp::tests;

TEST_CASE("the example interface answers with the mean of the model's last hidden state") {
  Worker& worker = Worker::start({"model_tools"});
  const auto tools = worker.client().list_tools();
  REQUIRE(tools);
  REQUIRE(tools->size() == 1);
  CHECK(tools->front().name == "get_embedding");
  CHECK(tools->front().inputSchema["properties"]["text"]["description"] == "The text to embed.");
  CHECK(tools->front().outputSchema["required"] == Json::array({"text", "embedding", "preview"}));

  const Json value = worker.value("get_embedding", {{"text", "hello world"}});
  CHECK(value["text"] == "hello world");
  std::vector<float> mean = value["embedding"].get<std::vector<float>>();
  REQUIRE(mean.size() == 384);
  CHECK(value["preview"].get<std::vector<float>>() ==
        std::vector<float>(mean.begin(), mean.begin() + 10));
  // MiniLM's own pooling is the mean too, but normalised.
  double sum = 0;
  for (float v : mean) sum += double{v} * v;
  for (float& v : mean) v = static_cast<float>(v / std::sqrt(sum));
  Worker& embeddings = Worker::start({"embeddings"});
  CHECK(max_difference(mean, embeddings.inline_vector("hello world")) <= 1e-6);
  CHECK(worker.call("get_embedding", {{"text", "hello world"}})._meta["gpumcp/usage"]["tokens"] ==
        4);
}

TEST_CASE("interfaces in one process share artifacts, status and shutdown, registered once") {
  Worker& worker = Worker::start({"embeddings", "test_tools"});
  Worker& twice = Worker::start({"model_tools", "test_tools"});
  for (Worker* one : {&worker, &twice}) {
    const auto list = one->client().request("resources/templates/list", "");
    REQUIRE(list);
    const Json templates = Json::parse(*list)["resourceTemplates"];
    REQUIRE(templates.size() == 2);
    CHECK(templates[0]["uriTemplate"] == "gpumcp://artifacts/{id}");
    CHECK(templates[0]["mimeType"] == "application/x-npy");
    REQUIRE(one->statuses.size() == 1);
    CHECK(one->statuses[0]().is_object());
    CHECK(one->shutdowns.size() == 2);
    CHECK(one->value("echo", {{"text", "a"}})["result"] == "a");
  }
  // One process, one store: what one server's interface kept the other can read.
  const std::string uri = worker.value("get_embedding", {{"text", "shared"}})["uri"];
  CHECK(parse_npy(twice.read_bytes(uri)).values.size() == 384);
}

TEST_CASE("two interfaces on one server register the artifacts' template once") {
  // Both have a get_embedding, so the second is refused; what they share is registered before that.
  Worker& worker = Worker::start({"embeddings"});
  CHECK_THROWS_WITH_AS(worker.open("model_tools"), doctest::Contains("get_embedding"),
                       std::invalid_argument);
  const auto list = worker.client().request("resources/templates/list", "");
  REQUIRE(list);
  CHECK(Json::parse(*list)["resourceTemplates"].size() == 2);
  CHECK(worker.shutdowns.size() == 2);
}

TEST_CASE(
    "a model that is nowhere fails the call that needs it, naming every place and the remedy") {
  const std::string name = "no-such-org/no-such-model";
  for (const char* interface : {"embeddings", "model_tools"}) {
    Worker& worker = Worker::start({interface}, {{"default_model", name}});
    CHECK(worker.client().list_tools()->size() >= 1);
    const std::string said = worker.error("get_embedding", {{"text", "a"}});
    CAPTURE(said);
    CHECK(said.find("gpumcp pull " + name) != std::string::npos);
    CHECK(said.find("models/no-such-org--no-such-model") != std::string::npos);
    CHECK(said.find("models--no-such-org--no-such-model") != std::string::npos);
  }
}

TEST_CASE("a model whose weights hold NaN fails its calls with a clear error") {
  namespace fs = std::filesystem;
  const char* cache = std::getenv("GPUMCP_CACHE");
  const fs::path store = cache ? fs::path(cache) : fs::path(std::getenv("HOME")) / ".cache/gpumcp";
  fs::copy(store / "models/sentence-transformers--all-MiniLM-L6-v2", broken_model(),
           fs::copy_options::recursive);
  // safetensors: the header's length in 8 bytes, the header, the data that it points into.
  const fs::path file = broken_model() / "model.safetensors";
  fs::permissions(file, fs::perms::owner_write, fs::perm_options::add);
  std::fstream weights(file, std::ios::in | std::ios::out | std::ios::binary);
  uint64_t length = 0;
  weights.read(reinterpret_cast<char*>(&length), sizeof length);
  std::string header(length, ' ');
  weights.read(header.data(), static_cast<std::streamsize>(length));
  const Json tensor = Json::parse(header)["encoder.layer.5.output.LayerNorm.bias"];
  const float nan = std::numeric_limits<float>::quiet_NaN();
  weights.seekp(
      static_cast<std::streamoff>(8 + length + tensor["data_offsets"][0].get<uint64_t>()));
  weights.write(reinterpret_cast<const char*>(&nan), sizeof nan);
  weights.close();

  Worker& worker = Worker::start({"embeddings"}, {{"default_model", "broken"}});
  for (const auto& [tool, arguments] : std::vector<std::pair<std::string, Json>>{
           {"get_embedding", {{"text", "a"}}},
           {"get_embeddings", {{"texts", {"a", "b"}}}},
           {"similarity", {{"queries", {"a"}}, {"corpus", {"b"}}}}}) {
    const std::string said = worker.error(tool, arguments);
    CAPTURE(said);
    CHECK(said.find("broken") != std::string::npos);
    CHECK((said.find("finite") != std::string::npos || said.find("NaN") != std::string::npos));
  }
}

TEST_CASE("a model's folder given by the user is used") {
  Worker& worker = Worker::start({"embeddings"}, {{"default_model", "mine"}});
  CHECK(worker.error("get_embedding", {{"text", "a"}}).find("/nonexistent/folder") !=
        std::string::npos);
}

TEST_CASE("a tool's name of more than 24 characters is refused when it is added") {
  Worker& worker = Worker::start({});
  gpumcp::PlainInterface interface(worker);
  const std::string longest(24, 'x'), longer(25, 'x');
  auto expose = [&](const std::string& name) -> std::string {
    try {
      interface.expose(name, "Does it.", [](double a) { return a; }, gpumcp::mcp::arg("a"));
      return "";
    } catch (const std::invalid_argument& e) {
      return e.what();
    }
  };
  CHECK(expose(longest) == "");
  CHECK(expose(longer).find("25 characters, and 24 are the most") != std::string::npos);
  CHECK_THROWS_AS(
      interface.add_tool({.name = longer, .description = "x", .inputSchema = {{"type", "object"}}},
                         nullptr),
      std::invalid_argument);
}
