#include "gpu_runtime/artifact_view.h"

#include <doctest/doctest.h>

#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "gpu_runtime/npy.h"
#include "gpu_runtime/safetensors.h"
#include "tests/gpu_runtime/support.h"

using namespace gpumcp::gpu_runtime;

namespace {

std::vector<float> counted(std::size_t n) {
  std::vector<float> values(n);
  std::iota(values.begin(), values.end(), 0.0f);
  return values;
}

// A store with one float32 artifact of that shape, holding 0, 1, 2, …
struct Fixture {
  ArtifactStore store;
  std::string uri;

  explicit Fixture(std::vector<std::int64_t> shape, const std::string& owner = "") {
    std::size_t count = 1;
    for (const std::int64_t n : shape) count *= static_cast<std::size_t>(n);
    uri = store
              .put({.bytes = write_npy(shape, counted(count)),
                    .shape = shape,
                    .dtype = "float32",
                    .name = "x.npy",
                    .owner = owner})
              .uri;
  }
  // Shape and values of a part.
  std::pair<std::vector<std::int64_t>, std::vector<float>> part(const std::string& query) {
    const Array array = read_array(store, uri + query);
    std::vector<float> values(array.data.size() / sizeof(float));
    if (!values.empty()) std::memcpy(values.data(), array.data.data(), array.data.size());
    return {array.shape, values};
  }
  std::string refused(const std::string& query) {
    return message_of(ErrorCode::invalid_argument, [&] { artifact_bytes(store, uri + query); });
  }
};

using Shape = std::vector<std::int64_t>;
using Values = std::vector<float>;

}  // namespace

TEST_CASE("a slice names what NumPy's would") {
  Fixture f({3, 4});
  CHECK(f.part("") == std::pair(Shape{3, 4}, counted(12)));
  CHECK(f.part("?slice=1:3") == std::pair(Shape{2, 4}, Values{4, 5, 6, 7, 8, 9, 10, 11}));
  CHECK(f.part("?slice=-1") == std::pair(Shape{4}, Values{8, 9, 10, 11}));
  CHECK(f.part("?slice=:,1:3") == std::pair(Shape{3, 2}, Values{1, 2, 5, 6, 9, 10}));
  CHECK(f.part("?slice=::2,-2:") == std::pair(Shape{2, 2}, Values{2, 3, 10, 11}));
  CHECK(f.part("?slice=2,1") == std::pair(Shape{}, Values{9}));
  CHECK(f.part("?slice=5:9") == std::pair(Shape{0, 4}, Values{}));
  CHECK(f.part("?slice=0:100,0") == std::pair(Shape{3}, Values{0, 4, 8}));
  CHECK(f.part("?slice=:%2C1%3A3") == std::pair(Shape{3, 2}, Values{1, 2, 5, 6, 9, 10}));
  Fixture cube({2, 3, 2});
  CHECK(cube.part("?slice=1,:,0") == std::pair(Shape{3}, Values{6, 8, 10}));
  CHECK(cube.part("?slice=:,1:") == std::pair(Shape{2, 2, 2}, Values{2, 3, 4, 5, 8, 9, 10, 11}));
}

TEST_CASE("what is no slice, or does not fit, is refused with the reason") {
  Fixture f({3, 4});
  CHECK(contains(f.refused("?slice=3"), "index 3 is beyond dimension 0, which has 3"));
  CHECK(contains(f.refused("?slice=-4"), "beyond"));
  CHECK(contains(f.refused("?slice=0,0,0"), "2 dimensions"));
  CHECK(contains(f.refused("?slice=a:b"), "begin:end"));
  CHECK(contains(f.refused("?slice=1:2:0"), "step"));
  CHECK(contains(f.refused("?slice=1:2:-1"), "step"));
  CHECK(contains(f.refused("?slice="), "write : for all"));
  CHECK(contains(f.refused("?slice=9223372036854775808"), "none"));
  CHECK(contains(f.refused("?slice=%"), "escape"));
  CHECK(contains(f.refused("?format=pickle"), "npy or safetensors"));
  CHECK(contains(f.refused("?rows=1"), "format, slice and tensor"));
  CHECK(contains(f.refused("?tensor=x"), "no name"));
  std::string many = "?slice=0";
  for (int i = 0; i < 40; ++i) many += ",0";
  CHECK(contains(f.refused(many), "32 parts"));
}

TEST_CASE("an artifact is given as .npy or as .safetensors, each with its MIME type") {
  Fixture f({2, 3});
  const ArtifactBytes npy = artifact_bytes(f.store, f.uri);
  CHECK(npy.mime_type == "application/x-npy");
  CHECK(read_npy(npy.bytes).shape == Shape{2, 3});
  CHECK(artifact_bytes(f.store, f.uri + "?format=npy").bytes == npy.bytes);
  const ArtifactBytes part = artifact_bytes(f.store, f.uri + "?slice=1&format=npy");
  CHECK(read_npy(part.bytes).shape == Shape{3});

  const ArtifactBytes file = artifact_bytes(f.store, f.uri + "?format=safetensors");
  CHECK(file.mime_type == "application/x-safetensors");
  const auto bytes = std::as_bytes(std::span(file.bytes));
  const SafetensorsHeader header = parse_safetensors_header(bytes, bytes.size(), "test");
  REQUIRE(header.tensors.size() == 1);
  CHECK(header.tensors[0].shape == Shape{2, 3});
  CHECK(header.metadata.at("name") == "x.npy");
  CHECK(header.data_begin % 8 == 0);
  CHECK(std::memcmp(file.bytes.data() + header.data_begin, counted(6).data(), 24) == 0);
}

TEST_CASE("an artifact of several tensors gives each by its name") {
  Fixture f({1});
  const Values a = counted(4);
  const std::vector<std::int8_t> b{1, 2, 3};
  const std::vector<NamedArray> both{
      {"b", Dtype::i8, {3}, std::as_bytes(std::span(b))},
      {"a", Dtype::bf16, {2, 4}, std::as_bytes(std::span(a))}};  // 16 bytes, as bfloat16
  const std::string uri = f.store
                              .put({.bytes = write_safetensors(both),
                                    .name = "both",
                                    .mime_type = std::string(kSafetensorsMime)})
                              .uri;
  CHECK(artifact_bytes(f.store, uri).mime_type == "application/x-safetensors");
  CHECK(read_array(f.store, uri + "?tensor=b&slice=1:").shape == Shape{2});
  CHECK(read_array(f.store, uri + "?tensor=a").dtype == Dtype::bf16);
  const std::string which =
      message_of(ErrorCode::invalid_argument, [&] { read_array(f.store, uri); });
  CHECK(contains(which, "it holds the string \"a\", the string \"b\""));
  message_of(ErrorCode::invalid_argument, [&] { read_array(f.store, uri + "?tensor=c"); });
  CHECK(contains(message_of(ErrorCode::invalid_argument,
                            [&] { artifact_bytes(f.store, uri + "?tensor=a&format=npy"); }),
                 "format=safetensors"));
  CHECK(artifact_bytes(f.store, uri + "?tensor=a&format=safetensors").mime_type ==
        "application/x-safetensors");
}

TEST_CASE("what holds no array cannot be viewed, only taken whole") {
  Fixture f({1});
  const std::string uri =
      f.store.put({.bytes = "hello", .name = "t", .mime_type = "text/plain"}).uri;
  CHECK(artifact_bytes(f.store, uri).bytes == "hello");
  message_of(ErrorCode::invalid_argument, [&] { read_array(f.store, uri); });
  message_of(ErrorCode::invalid_argument, [&] { artifact_bytes(f.store, uri + "?slice=0"); });
  const std::string broken =
      f.store.put({.bytes = std::string(20, '\xff'), .mime_type = std::string(kSafetensorsMime)})
          .uri;
  CHECK(contains(message_of(ErrorCode::invalid_argument, [&] { read_array(f.store, broken); }),
                 "holds no array"));
}

TEST_CASE("a session's own artifact is not there for others") {
  Fixture f({2}, "front-1/3");
  CHECK(f.store.get(f.uri, "front-1/3")->bytes.size() > 0);
  for (const char* other : {"", "front-1/4", "front-1/30"}) {
    const std::string said =
        message_of(ErrorCode::not_found, [&] { artifact_bytes(f.store, f.uri, other); });
    CHECK(contains(said, "another session's own"));
  }
  CHECK(artifact_bytes(f.store, f.uri + "?slice=0", "front-1/3").bytes.size() > 0);
}

TEST_CASE("what is written as safetensors is refused where it is no whole") {
  const Values a = counted(4);
  const NamedArray good{"a", Dtype::f32, {4}, std::as_bytes(std::span(a))};
  NamedArray longer = good, negative = good, meta = good;
  longer.shape = {5};
  negative.shape = {-4};
  meta.name = "__metadata__";
  for (const auto& tensors :
       std::vector<std::vector<NamedArray>>{{longer}, {negative}, {meta}, {good, good}}) {
    message_of(ErrorCode::invalid_argument, [&] { write_safetensors(tensors); });
  }
  CHECK(write_safetensors({}).size() % 8 == 0);
}
