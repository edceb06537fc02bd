// What an author's interface gets from <gpumcp/interface.h>: the example, several interfaces in one process, models
// that are not there.
#include <doctest/doctest.h>

#include <cmath>

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
  CHECK(value["preview"].get<std::vector<float>>() == std::vector<float>(mean.begin(), mean.begin() + 10));
  // MiniLM's own pooling is the mean too, but normalised.
  double sum = 0;
  for (float v : mean) sum += double{v} * v;
  for (float& v : mean) v = static_cast<float>(v / std::sqrt(sum));
  Worker& embeddings = Worker::start({"embeddings"});
  CHECK(max_difference(mean, embeddings.inline_vector("hello world")) <= 1e-6);
  CHECK(worker.call("get_embedding", {{"text", "hello world"}})._meta["gpumcp/usage"]["tokens"] == 4);
}

TEST_CASE("interfaces in one process share artifacts, status and shutdown, registered once") {
  Worker& worker = Worker::start({"embeddings", "test_tools"});
  Worker& twice = Worker::start({"model_tools", "test_tools"});
  for (Worker* one : {&worker, &twice}) {
    const auto list = one->client().request("resources/templates/list", "");
    REQUIRE(list);
    const Json templates = Json::parse(*list)["resourceTemplates"];
    REQUIRE(templates.size() == 1);
    CHECK(templates[0]["uriTemplate"] == "gpumcp://artifacts/{id}");
    CHECK(templates[0]["mimeType"] == "application/x-npy");
    REQUIRE(one->statuses.size() == 1);
    CHECK(one->statuses[0]().is_object());
    CHECK(one->shutdowns.size() == 1);
    CHECK(one->value("echo", {{"text", "a"}})["result"] == "a");
  }
  // One process, one store: what one server's interface kept the other can read.
  const std::string uri = worker.value("get_embedding", {{"text", "shared"}})["uri"];
  CHECK(parse_npy(twice.read_bytes(uri)).values.size() == 384);
}

TEST_CASE("two interfaces on one server register the artifacts' template once") {
  // Both have a get_embedding, so the second is refused; what they share is registered before that.
  Worker& worker = Worker::start({"embeddings"});
  CHECK_THROWS_WITH_AS(worker.open("model_tools"), doctest::Contains("get_embedding"), std::invalid_argument);
  const auto list = worker.client().request("resources/templates/list", "");
  REQUIRE(list);
  CHECK(Json::parse(*list)["resourceTemplates"].size() == 1);
  CHECK(worker.shutdowns.size() == 1);
}

TEST_CASE("a model that is nowhere fails the call that needs it, naming every place and the remedy") {
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

TEST_CASE("a model's folder given by the user is used") {
  Worker& worker = Worker::start({"embeddings"}, {{"default_model", "mine"}});
  CHECK(worker.error("get_embedding", {{"text", "a"}}).find("/nonexistent/folder") != std::string::npos);
}
