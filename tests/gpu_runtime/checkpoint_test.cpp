#include "gpu_runtime/checkpoint.h"

#include <doctest/doctest.h>

#include <string>

#include "tests/gpu_runtime/minilm.h"
#include "tests/gpu_runtime/support.h"

using namespace gpumcp::gpu_runtime;

namespace {

// A shard with one U8 tensor of n bytes.
std::string shard(const std::string& name, std::size_t n) {
  const std::string header = R"({")" + name + R"(":{"dtype":"U8","shape":[)" + std::to_string(n) +
                             R"(],"data_offsets":[0,)" + std::to_string(n) + "]}}";
  std::string bytes;
  for (int shift = 0; shift < 64; shift += 8)
    bytes += static_cast<char>(header.size() >> shift & 0xff);
  return bytes + header + std::string(n, 'x');
}

std::string open_message(const TemporaryFolder& folder, ErrorCode code) {
  return message_of(code, [&] { Checkpoint::open(folder.path()); });
}

}  // namespace

TEST_CASE("shards are opened through the index and their sizes are known before loading") {
  const TemporaryFolder folder;
  folder.write("model-00001-of-00002.safetensors", shard("a", 3));
  folder.write("model-00002-of-00002.safetensors", shard("b", 5));
  folder.write(
      "model.safetensors.index.json",
      R"({"metadata":{"total_size":8},"weight_map":{"a":"model-00001-of-00002.safetensors",)"
      R"("b":"model-00002-of-00002.safetensors"}})");
  const Checkpoint checkpoint = Checkpoint::open(folder.path());
  CHECK(checkpoint.tensors().size() == 2);
  CHECK(checkpoint.files().size() == 2);
  CHECK(checkpoint.nbytes() == 8);
  REQUIRE(checkpoint.find("b") != nullptr);
  CHECK(checkpoint.find("b")->data().size() == 5);
  CHECK(checkpoint.find("c") == nullptr);
}

TEST_CASE("a missing shard is named") {
  const TemporaryFolder folder;
  folder.write("one.safetensors", shard("a", 3));
  folder.write("model.safetensors.index.json",
               R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})");
  const std::string message = open_message(folder, ErrorCode::not_found);
  CHECK(contains(message, "two.safetensors is missing"));
  CHECK(contains(message, "half downloaded"));
}

TEST_CASE("an index that lies or leads out of the folder is refused") {
  for (const auto& [index, says] : {
           std::pair{R"({"weight_map":{"a":"../one.safetensors"}})", "plain file name"},
           std::pair{R"({"weight_map":{"a":"/etc/one.safetensors"}})", "plain file name"},
           std::pair{R"({"weight_map":{"a":"sub/one.safetensors"}})", "plain file name"},
           std::pair{R"({"weight_map":{"a":".safetensors"}})", "plain file name"},
           std::pair{R"({"weight_map":{"a":"one.bin"}})", "plain file name"},
           std::pair{R"({"weight_map":{"a":""}})", "plain file name"},
           std::pair{R"({"weight_map":{"a":"one.safetensors\u0000.safetensors"}})",
                     "plain file name"},
           std::pair{R"({"weight_map":{"a":7}})", "not a file name"},
           std::pair{R"({"weight_map":{}})", "no weight_map"},
           std::pair{R"({"weight_map":[]})", "no weight_map"},
           std::pair{R"({})", "no weight_map"},
           std::pair{R"([1])", "no weight_map"},
           std::pair{R"({"weight_map":{"a":"one.safetensors","z":"one.safetensors"}})",
                     "holds the tensor"},
           std::pair{R"({"weight_map":{"a":"one.safetensors","a":"one.safetensors"}})", "twice"},
       }) {
    CAPTURE(std::string(index));
    const TemporaryFolder folder;
    folder.write("one.safetensors", shard("a", 3));
    folder.write("model.safetensors.index.json", index);
    CHECK(contains(open_message(folder, ErrorCode::corrupt_checkpoint), says));
  }
}

TEST_CASE("pickles are refused with the way to convert them, and an empty folder is told apart") {
  const TemporaryFolder folder;
  CHECK(contains(open_message(folder, ErrorCode::not_found), "half downloaded"));
  folder.write("pytorch_model.bin", "PK");
  const std::string message = open_message(folder, ErrorCode::unsupported);
  CHECK(contains(message, "pytorch_model.bin"));
  CHECK(contains(message, "safe_serialization=True"));
}

TEST_CASE("a tensor that is not there is named with the nearest that is") {
  const TemporaryFolder folder;
  folder.write("model.safetensors", shard("bert.pooler.weight", 3));
  const Checkpoint checkpoint = Checkpoint::open(folder.path());
  const std::string message =
      message_of(ErrorCode::corrupt_checkpoint, [&] { checkpoint.require("pooler.weight"); });
  CHECK(contains(message, "no tensor \"pooler.weight\""));
  CHECK(contains(message, "bert.pooler.weight"));
}

TEST_CASE("the real MiniLM opens: 104 tensors, 90.9 MB") {
  const Checkpoint checkpoint = Checkpoint::open(minilm_folder());
  CHECK(checkpoint.tensors().size() == 104);
  CHECK(checkpoint.nbytes() > 90'000'000);
  CHECK(checkpoint.nbytes() < 91'000'000);
  const auto& words = checkpoint.require("embeddings.word_embeddings.weight");
  CHECK(words.info->shape == std::vector<std::int64_t>{30522, 384});
  CHECK(words.data().size() == 30522u * 384 * 4);
}
