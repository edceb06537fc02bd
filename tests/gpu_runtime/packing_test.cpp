#include "gpu_runtime/packing.h"

#include <doctest/doctest.h>

using namespace gpumcp::gpu_runtime;

TEST_CASE("chunks hold every row once, sorted by length, within the limit") {
  const std::vector<std::size_t> lengths{5, 1, 9, 5, 30, 2};
  const auto chunks = plan_chunks(lengths, 12);
  CHECK(chunks == std::vector<std::vector<std::size_t>>{{1, 5, 0}, {3}, {2}, {4}});
  CHECK(plan_chunks({}, 12).empty());
}

TEST_CASE("packed rows stand end to end, with positions from 0 and groups of one length") {
  const TokenRow a{{7}, {0}}, b{{1, 2}, {0, 1}}, c{{3, 4}, {}};
  const TokenRow* rows[] = {&a, &b, &c};
  const PackedBatch batch = pack(rows, c10::kCPU);
  auto values = [](const at::Tensor& t) {
    return std::vector<std::int64_t>(t.const_data_ptr<std::int64_t>(),
                                     t.const_data_ptr<std::int64_t>() + t.numel());
  };
  CHECK(values(batch.ids) == std::vector<std::int64_t>{7, 1, 2, 3, 4});
  CHECK(values(batch.positions) == std::vector<std::int64_t>{0, 0, 1, 0, 1});
  CHECK(values(batch.type_ids) == std::vector<std::int64_t>{0, 0, 1, 0, 0});
  REQUIRE(batch.groups.size() == 2);
  CHECK(batch.groups[1].count == 2);
  CHECK(batch.groups[1].length == 2);
  CHECK(batch.tokens == 5);
}

TEST_CASE("token types that are all 0 are left out") {
  const TokenRow a{{7, 8}, {0, 0}};
  const TokenRow* rows[] = {&a};
  CHECK_FALSE(pack(rows, c10::kCPU).type_ids.defined());
}
