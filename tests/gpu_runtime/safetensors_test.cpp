#include "gpu_runtime/safetensors.h"

#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <vector>

#include "tests/gpu_runtime/support.h"

using namespace gpumcp::gpu_runtime;

namespace {

std::string with_length(std::uint64_t length, const std::string& rest) {
  std::string bytes;
  for (int shift = 0; shift < 64; shift += 8) bytes += static_cast<char>(length >> shift & 0xff);
  return bytes + rest;
}

// A file of this header and n bytes of data.
std::string file_of(const std::string& header, std::size_t n) {
  std::string data(n, '\0');
  for (std::size_t i = 0; i < n; ++i) data[i] = static_cast<char>(i);
  return with_length(header.size(), header + data);
}

std::string tensor(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

}  // namespace

TEST_CASE("a well-formed file gives its tensors, bytes and metadata") {
  const TemporaryFolder folder;
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"b":)" + tensor("F32", "[2,2]", "[4,20]") + R"(,"a":)" +
      tensor("U8", "[4]", "[0,4]") + R"(,"none":)" + tensor("F32", "[0,7]", "[20,20]") +
      R"(,"scalar":)" + tensor("I16", "[]", "[20,22]") + "}   ";
  const auto file = SafetensorsFile::open(folder.write("x.safetensors", file_of(header, 22)));
  REQUIRE(file->tensors().size() == 4);
  CHECK(file->tensors()[0].name == "a");  // in the order of the data
  CHECK(file->nbytes() == 22);
  CHECK(file->metadata().at("format") == "pt");
  const TensorInfo* b = file->find("b");
  REQUIRE(b != nullptr);
  CHECK(b->dtype == Dtype::f32);
  CHECK(b->shape == std::vector<std::int64_t>{2, 2});
  CHECK(file->data(*b).size() == 16);
  CHECK(std::to_integer<int>(file->data(*b)[0]) == 4);
  CHECK(file->data(*file->find("none")).empty());
  CHECK(file->find("scalar")->shape.empty());
  CHECK(file->find("missing") == nullptr);
  CHECK_NOTHROW(SafetensorsFile::open(folder.write("empty.safetensors", file_of("{}", 0))));
}

TEST_CASE("every hostile or broken header is refused, with the file's name and the reason") {
  struct Case {
    const char* name;
    std::string bytes, says;
  };
  const std::string good = R"({"a":)" + tensor("F32", "[2]", "[0,8]") + "}";
  const std::string deep = R"({"a":{"dtype":"F32","shape":[[[[0]]]],"data_offsets":[0,4]}})";
  std::string many_dimensions = "[1";
  for (int i = 0; i < 40; ++i) many_dimensions += ",1";
  const auto one = [](const std::string& dtype, const std::string& shape,
                      const std::string& offsets) {
    return R"({"a":)" + tensor(dtype, shape, offsets) + "}";
  };
  const std::vector<Case> cases = {
      {"no bytes", "", "half downloaded"},
      {"seven bytes", "1234567", "half downloaded"},
      {"header beyond the file", with_length(1000, good), "the header alone lacks"},
      {"header beyond the limit", with_length(100'000'001, good), "limit of 100000000"},
      {"header length all ones", with_length(~std::uint64_t{0}, good), "limit of 100000000"},
      {"header of no bytes", with_length(0, "xxxx"), "does not begin with '{'"},
      {"header is an array", file_of("[]", 0), "does not begin with '{'"},
      {"header begins with a space", file_of(" {}", 0), "does not begin with '{'"},
      {"header is no JSON", file_of("{\"a\"", 0), "not valid JSON"},
      {"bytes behind the JSON", file_of("{}x", 0), "not valid JSON"},
      {"invalid UTF-8 in a name", file_of("{\"\xff\":{}}", 0), "not valid JSON"},
      {"nested too deep", file_of(deep, 4), "nested deeper than 3"},
      {"a tensor twice",
       file_of(R"({"a":)" + tensor("U8", "[1]", "[0,1]") + R"(,"a":)" +
                   tensor("U8", "[1]", "[1,2]") + "}",
               2),
       "stands there twice"},
      {"a field twice",
       file_of(R"({"a":{"dtype":"U8","dtype":"F32","shape":[1],"data_offsets":[0,1]}})", 1),
       "stands there twice"},
      {"tensor is no object", file_of(R"({"a":3})", 0), "not described by an object"},
      {"unknown field",
       file_of(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1}})", 1),
       "unknown field"},
      {"no shape", file_of(R"({"a":{"dtype":"U8","data_offsets":[0,1]}})", 1),
       "lacks the field shape"},
      {"no offsets", file_of(R"({"a":{"dtype":"U8","shape":[1]}})", 1),
       "lacks the field data_offsets"},
      {"unknown dtype", file_of(one("F128", "[1]", "[0,16]"), 16), "unknown dtype"},
      {"dtype is a number", file_of(R"({"a":{"dtype":4,"shape":[1],"data_offsets":[0,1]}})", 1),
       "unknown dtype"},
      {"shape is a number", file_of(one("U8", "1", "[0,1]"), 1), "shape that is no array"},
      {"negative dimension", file_of(one("U8", "[-1]", "[0,1]"), 1), "a whole number"},
      {"fractional dimension", file_of(one("U8", "[1.0]", "[0,1]"), 1), "a whole number"},
      {"dimension beyond 64 bits", file_of(one("U8", "[99999999999999999999]", "[0,1]"), 1),
       "a whole number"},
      {"product overflows", file_of(one("F32", "[1073741824,1073741824,1073741824]", "[0,8]"), 8),
       "overflows"},
      {"product wraps to 8", file_of(one("F64", "[4294967296,4294967296,1]", "[0,8]"), 8),
       "overflows"},
      {"overflow hidden by a zero", file_of(one("F64", "[1152921504606846976,16,0]", "[0,0]"), 0),
       "overflows"},
      {"too many dimensions", file_of(one("U8", many_dimensions + "]", "[0,1]"), 1), "dimensions"},
      {"three offsets", file_of(one("U8", "[1]", "[0,1,2]"), 1), "must be [begin, end]"},
      {"negative offset", file_of(one("U8", "[1]", "[-1,0]"), 1), "a whole number"},
      {"end before begin", file_of(one("U8", "[1]", "[1,0]"), 1), "before it begins"},
      {"size unlike the shape", file_of(one("F32", "[3]", "[0,8]"), 8),
       "its shape and dtype make 12"},
      {"overlap",
       file_of(R"({"a":)" + tensor("U8", "[4]", "[0,4]") + R"(,"b":)" +
                   tensor("U8", "[4]", "[2,6]") + "}",
               6),
       "inside the one before"},
      {"same bytes twice",
       file_of(R"({"a":)" + tensor("U8", "[4]", "[0,4]") + R"(,"b":)" +
                   tensor("U8", "[4]", "[0,4]") + "}",
               4),
       "inside the one before"},
      {"hole at the begin", file_of(one("U8", "[1]", "[1,2]"), 2), "belong to no tensor"},
      {"hole in the middle",
       file_of(R"({"a":)" + tensor("U8", "[1]", "[0,1]") + R"(,"b":)" +
                   tensor("U8", "[1]", "[2,3]") + "}",
               3),
       "belong to no tensor"},
      {"bytes behind the last tensor", file_of(good, 9), "after the last tensor"},
      {"half downloaded", file_of(good, 5), "3 bytes are missing"},
      {"offsets far beyond the file",
       file_of(one("U8", "[1000000000000]", "[0,1000000000000]"), 10), "missing"},
      {"metadata of numbers", file_of(R"({"__metadata__":{"a":1}})", 0), "not a string"},
      {"metadata is a list", file_of(R"({"__metadata__":[]})", 0), "__metadata__ is not an object"},
  };
  CHECK(cases.size() >= 20);
  const TemporaryFolder folder;
  for (const Case& c : cases) {
    CAPTURE(std::string(c.name));
    const auto path = folder.write("bad.safetensors", c.bytes);
    const std::string message =
        message_of(ErrorCode::corrupt_checkpoint, [&] { SafetensorsFile::open(path); });
    CHECK(contains(message, "bad.safetensors"));
    CHECK(contains(message, c.says));
    CHECK(message.size() < 1000);
  }
}

TEST_CASE("no cut of a good file is accepted, and none is read past its end") {
  const std::string whole = file_of(R"({"a":)" + tensor("F32", "[2]", "[0,8]") + "}", 8);
  for (std::size_t n = 0; n < whole.size(); ++n) {
    // On the heap and of exactly this size, so that a sanitizer sees a read behind it.
    const std::vector<char> cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n));
    CAPTURE(n);
    CHECK_THROWS_AS(parse_safetensors_header(std::as_bytes(std::span(cut)), n, "cut"), Error);
  }
}

TEST_CASE("a path that is no regular file is refused without waiting") {
  const TemporaryFolder folder;
  message_of(ErrorCode::not_found, [&] { SafetensorsFile::open(folder / "none.safetensors"); });
  message_of(ErrorCode::corrupt_checkpoint, [&] { SafetensorsFile::open(folder.path()); });
}
