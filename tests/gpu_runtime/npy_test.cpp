#include "gpu_runtime/npy.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "gpu_runtime/json.h"
#include "tests/gpu_runtime/minilm.h"
#include "tests/gpu_runtime/support.h"

using namespace gpumcp::gpu_runtime;

namespace {

std::string npy_of(const std::string& header, const std::string& data) {
  std::string bytes("\x93NUMPY\x01\x00", 8);
  bytes += static_cast<char>(header.size() & 0xff);
  bytes += static_cast<char>(header.size() >> 8);
  return bytes + header + data;
}

}  // namespace

TEST_CASE("every dtype that .npy has goes out and comes back") {
  for (const DtypeFacts& row : kDtypes) {
    CAPTURE(std::string(row.torch));
    const std::vector<std::byte> data(row.item_size * 6, std::byte{1});
    const std::vector<std::int64_t> shape{2, 3};
    if (row.npy.empty()) {
      CHECK(contains(
          message_of(ErrorCode::invalid_argument, [&] { write_npy(row.dtype, shape, data); }),
          "convert to float32"));
      continue;
    }
    const std::string bytes = write_npy(row.dtype, shape, data);
    CHECK((bytes.size() - data.size()) % 64 == 0);
    const NpyView view = read_npy(bytes);
    CHECK(view.dtype == row.dtype);
    CHECK(view.shape == shape);
    REQUIRE(view.data.size() == data.size());
    CHECK(std::memcmp(view.data.data(), data.data(), data.size()) == 0);
  }
}

TEST_CASE("scalars, one dimension and no rows keep their shape") {
  for (const std::vector<std::int64_t>& shape :
       {std::vector<std::int64_t>{}, std::vector<std::int64_t>{3},
        std::vector<std::int64_t>{0, 384}}) {
    std::size_t n = 1;
    for (const auto dimension : shape) n *= static_cast<std::size_t>(dimension);
    const std::string bytes = write_npy(shape, std::vector<float>(n, 2.5f));
    CHECK(read_npy(bytes).shape == shape);
  }
}

TEST_CASE("a file that numpy wrote is read: the golden embeddings are 347 unit vectors") {
  const std::string bytes = read_text_file(golden_folder() / "minilm/embeddings.npy");
  const NpyView view = read_npy(bytes);
  CHECK(view.dtype == Dtype::f32);
  REQUIRE(view.shape == std::vector<std::int64_t>{347, 384});
  std::vector<float> values(347 * 384);
  std::memcpy(values.data(), view.data.data(), view.data.size());
  for (std::size_t row = 0; row < 347; ++row) {
    double square = 0;
    for (std::size_t i = 0; i < 384; ++i) square += std::pow(values[row * 384 + i], 2);
    CHECK(std::sqrt(square) == doctest::Approx(1.0).epsilon(1e-5));
  }
  const std::vector<std::int64_t> shape = view.shape;
  CHECK(write_npy(shape, values) == bytes);  // and ours is numpy's, byte for byte
}

TEST_CASE("data of another size than the shape is not written") {
  const std::vector<float> values(5);
  const std::vector<std::int64_t> six{2, 3}, negative{-1, -5}, huge{INT64_MAX, INT64_MAX};
  CHECK(contains(message_of(ErrorCode::invalid_argument, [&] { write_npy(six, values); }),
                 "20 bytes"));
  message_of(ErrorCode::invalid_argument, [&] { write_npy(negative, values); });
  message_of(ErrorCode::invalid_argument, [&] { write_npy(huge, values); });
}

TEST_CASE("hostile bytes are refused with a reason") {
  const std::string good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n";
  CHECK(read_npy(npy_of(good, "12345678")).shape == std::vector<std::int64_t>{2});
  CHECK(
      read_npy(npy_of("{'shape':(2),\"descr\":\"<f4\",'fortran_order':False}", "12345678")).shape ==
      std::vector<std::int64_t>{2});
  const auto with = [](const std::string& header, const std::string& data = "12345678") {
    return npy_of(header, data);
  };
  for (const std::string& bytes : {
           std::string(),
           std::string("\x93NUMPY"),
           std::string("PK\x03\x04 something else"),
           std::string("\x93NUMPY\x03\x00\x00\x00\x00\x00", 12),
           std::string("\x93NUMPY\x01\x00\xff\xff{", 11),
           std::string("\x93NUMPY\x02\x00\xff\xff\xff\xff{", 13),
           std::string("\x93NUMPY\x02\x00\x00", 9),
           with(good, "1234567"),
           with(good, "123456789"),
           with("{'descr': '<f4', 'fortran_order': True, 'shape': (2,), }"),
           with("{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }"),
           with("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }"),
           with("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }"),
           with("{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }"),
           with("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }"),
           with("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }"),
           with("{'descr': '<f4', 'fortran_order': False, 'shape': (2, }"),
           with("{'descr': '<f4', 'fortran_order': False, 'shape': 2, }"),
           with("{'descr': '<f4', 'fortran_order': False, }"),
           with("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,), }"),
           with("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'x': 'y'}"),
           with("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), } import os"),
           with("{'descr': '<f4"),
           with("{"),
           with(""),
       }) {
    CAPTURE(bytes);
    CHECK(contains(message_of(ErrorCode::invalid_argument, [&] { read_npy(bytes, "upload"); }),
                   "upload: not a readable .npy"));
  }
}
