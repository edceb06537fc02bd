#pragma once

// Element types of tensors in checkpoints and artifacts, with no torch in sight. A value type.
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace gpumcp::gpu_runtime {

enum class Dtype : std::uint8_t {
  boolean,
  u8,
  i8,
  i16,
  u16,
  i32,
  u32,
  i64,
  u64,
  f16,
  bf16,
  f32,
  f64,
  f8_e4m3,
  f8_e5m2,
};

// One row a dtype: its size, its name in a safetensors header, in config.json, and in an .npy
// header
// ("" where the format has none).
struct DtypeFacts {
  Dtype dtype;
  std::size_t item_size;
  std::string_view safetensors, torch, npy;
};

inline constexpr std::array<DtypeFacts, 15> kDtypes{{
    {Dtype::boolean, 1, "BOOL", "bool", "|b1"},
    {Dtype::u8, 1, "U8", "uint8", "|u1"},
    {Dtype::i8, 1, "I8", "int8", "|i1"},
    {Dtype::i16, 2, "I16", "int16", "<i2"},
    {Dtype::u16, 2, "U16", "uint16", "<u2"},
    {Dtype::i32, 4, "I32", "int32", "<i4"},
    {Dtype::u32, 4, "U32", "uint32", "<u4"},
    {Dtype::i64, 8, "I64", "int64", "<i8"},
    {Dtype::u64, 8, "U64", "uint64", "<u8"},
    {Dtype::f16, 2, "F16", "float16", "<f2"},
    {Dtype::bf16, 2, "BF16", "bfloat16", ""},
    {Dtype::f32, 4, "F32", "float32", "<f4"},
    {Dtype::f64, 8, "F64", "float64", "<f8"},
    {Dtype::f8_e4m3, 1, "F8_E4M3", "float8_e4m3fn", ""},
    {Dtype::f8_e5m2, 1, "F8_E5M2", "float8_e5m2", ""},
}};

constexpr const DtypeFacts& facts(Dtype dtype) { return kDtypes[static_cast<std::size_t>(dtype)]; }

constexpr std::size_t item_size(Dtype dtype) { return facts(dtype).item_size; }

// "float32": the name that torch and numpy users know; used in messages and results.
constexpr std::string_view to_string(Dtype dtype) { return facts(dtype).torch; }

constexpr std::optional<Dtype> find_dtype(std::string_view name,
                                          std::string_view DtypeFacts::* column) {
  for (const DtypeFacts& row : kDtypes) {
    if (!name.empty() && row.*column == name) return row.dtype;
  }
  return std::nullopt;
}

constexpr std::optional<Dtype> dtype_from_safetensors(std::string_view name) {
  return find_dtype(name, &DtypeFacts::safetensors);
}
constexpr std::optional<Dtype> dtype_from_torch(std::string_view name) {
  return find_dtype(name, &DtypeFacts::torch);
}
constexpr std::optional<Dtype> dtype_from_npy(std::string_view descr) {
  return find_dtype(descr, &DtypeFacts::npy);
}

namespace dtype_checks {
constexpr bool rows_are_in_order() {
  for (std::size_t i = 0; i < kDtypes.size(); ++i) {
    if (static_cast<std::size_t>(kDtypes[i].dtype) != i) return false;
  }
  return true;
}
static_assert(rows_are_in_order());
}  // namespace dtype_checks

}  // namespace gpumcp::gpu_runtime
