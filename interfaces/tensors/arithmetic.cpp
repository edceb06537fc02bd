// arithmetic: new tensors from old ones. A table of operations, so that a new one is a row.
#include <ATen/ops/cat.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/stack.h>

#include <functional>

#include "interfaces/tensor_io.h"
#include "interfaces/tensors/tensors.h"

namespace gpumcp::interfaces {
namespace {

struct Operands {
  std::vector<at::Tensor> tensors;  // at least one; float64
  std::optional<int64_t> axis;

  const at::Tensor& first() const { return tensors[0]; }
  const at::Tensor& second() const { return tensors[1]; }
  int64_t axis_or(int64_t other) const { return axis.value_or(other); }
};

struct Operation {
  const char* name;
  size_t least, most;  // operands, a number counting as one
  std::function<at::Tensor(const Operands&)> run;
};

constexpr size_t kMany = 16;

// Component by component, left to right.
template <class F>
std::function<at::Tensor(const Operands&)> fold(F f) {
  return [f](const Operands& o) {
    at::Tensor all = o.first();
    for (size_t i = 1; i < o.tensors.size(); ++i) all = f(all, o.tensors[i]);
    return all;
  };
}

template <class Whole, class Along>
std::function<at::Tensor(const Operands&)> reduce(Whole whole, Along along) {
  return [=](const Operands& o) { return o.axis ? along(o.first(), *o.axis) : whole(o.first()); };
}

// What of each row lies along a direction.
at::Tensor along(const at::Tensor& rows, const at::Tensor& direction) {
  const at::Tensor unit = direction / direction.norm();
  return rows.matmul(unit).unsqueeze(-1) * unit;
}

const std::vector<Operation>& operations() {
  using T = const at::Tensor&;
  static const std::vector<Operation> all{
      {"add", 2, kMany, fold([](T a, T b) { return a + b; })},
      {"subtract", 2, kMany, fold([](T a, T b) { return a - b; })},
      {"multiply", 2, kMany, fold([](T a, T b) { return a * b; })},
      {"divide", 2, kMany, fold([](T a, T b) { return a / b; })},
      {"matmul", 2, kMany, fold([](T a, T b) { return a.matmul(b); })},
      {"mean", 1, 1,
       reduce([](T a) { return a.mean(); }, [](T a, int64_t d) { return a.mean(d); })},
      {"sum", 1, 1, reduce([](T a) { return a.sum(); }, [](T a, int64_t d) { return a.sum(d); })},
      {"norm", 1, 1,
       reduce([](T a) { return a.norm(); }, [](T a, int64_t d) { return a.norm(2, d); })},
      {"max", 1, 1, reduce([](T a) { return a.amax(); }, [](T a, int64_t d) { return a.amax(d); })},
      {"min", 1, 1, reduce([](T a) { return a.amin(); }, [](T a, int64_t d) { return a.amin(d); })},
      {"normalize", 1, 1,
       [](const Operands& o) { return o.first() / o.first().norm(2, o.axis_or(-1), true); }},
      {"softmax", 1, 1, [](const Operands& o) { return o.first().softmax(o.axis_or(-1)); }},
      {"abs", 1, 1, [](const Operands& o) { return o.first().abs(); }},
      {"transpose", 1, 1, [](const Operands& o) { return o.first().transpose(-2, -1); }},
      {"flatten", 1, 1, [](const Operands& o) { return o.first().flatten(); }},
      {"project", 2, 2, [](const Operands& o) { return along(o.first(), o.second()); }},
      {"reject", 2, 2, [](const Operands& o) { return o.first() - along(o.first(), o.second()); }},
      {"stack", 1, kMany, [](const Operands& o) { return at::stack(o.tensors, o.axis_or(0)); }},
      {"concat", 1, kMany, [](const Operands& o) { return at::cat(o.tensors, o.axis_or(0)); }},
  };
  return all;
}

std::vector<std::string> names() {
  std::vector<std::string> out;
  for (const Operation& one : operations()) out.push_back(one.name);
  return out;
}

std::string shapes_of(const std::vector<at::Tensor>& tensors) {
  std::string out;
  for (const at::Tensor& one : tensors) out += (out.empty() ? "" : ", ") + spelled(one.sizes());
  return out;
}

at::Tensor compute(const Operation& operation, const Operands& operands) {
  const size_t count = operands.tensors.size();
  if (count < operation.least || count > operation.most) {
    throw ToolError(std::string(operation.name) + " takes " + std::to_string(operation.least) +
                    (operation.most > operation.least ? " or more" : "") + " operands, got " +
                    std::to_string(count) + ": `tensors` holds them, `number` is one more");
  }
  try {
    return operation.run(operands);
  } catch (const c10::Error& e) {
    throw ToolError(std::string(operation.name) + " of shapes " + shapes_of(operands.tensors) +
                    ": " + e.what_without_backtrace());
  }
}

mcp::WithContent<KeptTensor> arithmetic(const std::string& op, const std::vector<TensorRef>& given,
                                        std::optional<double> number, std::optional<int64_t> axis) {
  Operands operands{.tensors = {}, .axis = axis};
  bool wide = false;
  for (const TensorRef& one : given) {
    wide = wide || one.tensor().scalar_type() == at::kDouble;
    operands.tensors.push_back(one.tensor().to(at::kDouble));
  }
  if (number) operands.tensors.push_back(at::scalar_tensor(*number, at::kDouble));
  for (const Operation& operation : operations()) {
    if (op != operation.name) continue;
    at::Tensor result = compute(operation, operands).contiguous();
    if (!wide) result = result.to(at::kFloat);
    std::string how = op + "(";
    for (size_t i = 0; i < given.size() && i < 4; ++i) how += (i > 0 ? ", " : "") + given[i].uri();
    if (number) how += ", " + mcp::to_text(Json(*number));
    return with_link(keep_tensor(result, op, how + ")"));
  }
  throw ToolError("arguments.op: " + op + " is unknown");
}

}  // namespace

void expose_arithmetic(Interface& interface) {
  interface.expose(
      {.name = "arithmetic",
       .description = "Compute a new tensor from tensors (and a number): add, subtract, multiply, "
                      "divide, matmul, mean, sum, norm, max, min, normalize, softmax, abs, "
                      "transpose, flatten, project onto or reject a direction, stack, concat. "
                      "Shapes broadcast as in NumPy.",
       .annotations = tensor_tool("Tensor arithmetic")},
      [](const std::string& op, const std::vector<TensorRef>& tensors, std::optional<double> number,
         std::optional<int64_t> axis) { return arithmetic(op, tensors, number, axis); },
      arg("op", "What to compute. Two or more operands go left to right: a - b - c.")
          .one_of(names()),
      arg("tensors", "The operands' URIs.").min_items(1).max_items(kMany),
      arg("number", "One more operand, behind the tensors: {op: multiply, number: -2}."),
      arg("axis",
          "The dimension that mean, sum, norm, max, min, normalize, softmax, stack and "
          "concat go along; left out: all of it (normalize, softmax: the last; stack, "
          "concat: the first).")
          .minimum(-8)
          .maximum(7));
}

}  // namespace gpumcp::interfaces
