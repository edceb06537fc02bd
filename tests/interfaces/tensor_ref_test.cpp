// Tensors by URI in signatures, and what a call's policy says of it.
#include <doctest/doctest.h>

#include <ATen/ATen.h>

#include "interfaces/interface.h"
#include "interfaces/support.h"

using namespace gpumcp::tests;
using gpumcp::CallPolicy;
using gpumcp::Interface;
using gpumcp::TensorRef;

namespace {

struct Doubled {
  TensorRef tensor;
  std::vector<std::int64_t> shape;
};
GPUMCP_DESCRIBE(Doubled, tensor, shape)

// A worker with one interface that is made here.
Worker& make_worker() {
  Worker& worker = Worker::start({});
  Interface interface(worker);
  interface.expose(
      "twice", "Twice a tensor.",
      [](const TensorRef& tensor) -> Doubled {
        return {TensorRef::keep(tensor.tensor() * 2, "twice.npy"), tensor.shape()};
      },
      gpumcp::arg("tensor", "Any tensor."));
  interface.expose(
      "length", "A vector's length.",
      [](const TensorRef& vector) { return vector.floating(1, "vector").norm().item<double>(); },
      gpumcp::arg("vector", "A vector."));
  interface.expose(
      "policy", "What the call's policy is.",
      [] {
        const auto limits = gpumcp::gpu_runtime::CallScope::current_limits();
        return std::to_string(static_cast<int>(limits.priority)) +
               (limits.deadline ? " deadline" : " none");
      },
      CallPolicy{.priority = gpumcp::Priority::background, .deadline = std::chrono::minutes(1)});
  return worker;
}

std::string keep(const at::Tensor& tensor) { return TensorRef::keep(tensor, "x.npy").uri(); }

}  // namespace

TEST_CASE("a tensor comes by its URI, whole or a part of it, and goes out by one") {
  Worker& worker = make_worker();
  const auto tools = worker.client().list_tools();
  REQUIRE(tools);
  for (const auto& tool : *tools) {
    if (tool.name != "twice") continue;
    CHECK(tool.inputSchema["properties"]["tensor"]["type"] == "string");
    CHECK(tool.inputSchema["properties"]["tensor"]["format"] == "uri");
    CHECK(tool.outputSchema["properties"]["tensor"]["format"] == "uri");
  }
  const std::string uri = keep(at::arange(6, at::kFloat).view({2, 3}));
  const Json whole = worker.value("twice", {{"tensor", uri}});
  CHECK(whole["shape"] == Json::array({2, 3}));
  const std::vector<float> doubled{0, 2, 4, 6, 8, 10}, last{6, 8, 10}, first{0, 3};
  CHECK(parse_npy(worker.read_bytes(whole["tensor"])).values == doubled);
  const Json row = worker.value("twice", {{"tensor", uri + "?slice=1"}});
  CHECK(parse_npy(worker.read_bytes(row["tensor"])).values == last);
  CHECK(parse_npy(worker.read_bytes(uri + "?slice=:,0")).values == first);
}

TEST_CASE("what is no such tensor is the argument's error") {
  Worker& worker = make_worker();
  const std::string uri = keep(at::ones({2, 3}));
  auto said = [&](const char* tool, const char* argument, const Json& value, const char* part) {
    const std::string text = worker.error(tool, {{argument, value}});
    CAPTURE(text);
    CHECK(text.find(std::string("arguments.") + argument) != std::string::npos);
    CHECK(text.find(part) != std::string::npos);
  };
  said("twice", "tensor", 5, "URI");
  said("twice", "tensor", "gpumcp://artifacts/" + std::string(32, '0'), "unknown or expired");
  said("twice", "tensor", "file:///etc/passwd", "names no artifact");
  said("twice", "tensor", uri + "?slice=7", "beyond dimension 0, which has 2");
  said("length", "vector", uri, "expected a tensor of 1 dimension");
  said("length", "vector", keep(at::ones({3}, at::kLong)), "of type Long");
  CHECK(worker.value("length", {{"vector", uri + "?slice=0"}})["result"] ==
        doctest::Approx(std::sqrt(3.0)));
}

TEST_CASE("a function's policy reaches its calls") {
  CHECK(make_worker().value("policy")["result"] == "0 deadline");
}
