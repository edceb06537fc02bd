// GPUMCP_DESCRIBE(Type, a, b, …) names a struct's fields, so that it can be a tool's arguments or
// result: C++20 has no reflection. Write it at namespace scope, in the struct's own namespace.
//   struct Embedding { std::string text; std::vector<float> embedding; };
//   GPUMCP_DESCRIBE(Embedding, text, embedding)
// GPUMCP_DESCRIBE_DOC(Type, (a, "What a is."), …) adds descriptions. GPUMCP_DESCRIBE_ENUM(Type, x,
// y) does enums; they travel as the enumerators' names.
#pragma once

#include <array>
#include <string_view>
#include <tuple>
#include <utility>

namespace gpumcp::mcp {

template <class T, class M>
struct Field {
  using Member = M;
  std::string_view name;
  M T::* member;
  std::string_view description;
};

template <class T, class M>
constexpr Field<T, M> field(std::string_view name, M T::* member,
                            std::string_view description = {}) {
  return {name, member, description};
}

template <class T>
concept DescribedStruct = requires(const T* t) { gpumcp_describe(t); };
template <class T>
concept DescribedEnum = requires(T t) { gpumcp_describe_enum(t); };

}  // namespace gpumcp::mcp

// For each of up to 256 arguments (recursive __VA_OPT__ expansion).
#define GPUMCP_PARENS ()
#define GPUMCP_EXPAND(...) \
  GPUMCP_EXPAND4(GPUMCP_EXPAND4(GPUMCP_EXPAND4(GPUMCP_EXPAND4(__VA_ARGS__))))
#define GPUMCP_EXPAND4(...) \
  GPUMCP_EXPAND3(GPUMCP_EXPAND3(GPUMCP_EXPAND3(GPUMCP_EXPAND3(__VA_ARGS__))))
#define GPUMCP_EXPAND3(...) \
  GPUMCP_EXPAND2(GPUMCP_EXPAND2(GPUMCP_EXPAND2(GPUMCP_EXPAND2(__VA_ARGS__))))
#define GPUMCP_EXPAND2(...) \
  GPUMCP_EXPAND1(GPUMCP_EXPAND1(GPUMCP_EXPAND1(GPUMCP_EXPAND1(__VA_ARGS__))))
#define GPUMCP_EXPAND1(...) __VA_ARGS__
#define GPUMCP_FOR_EACH(macro, type, ...) \
  __VA_OPT__(GPUMCP_EXPAND(GPUMCP_FOR_EACH_STEP(macro, type, __VA_ARGS__)))
#define GPUMCP_FOR_EACH_STEP(macro, type, first, ...) \
  macro(type, first) __VA_OPT__(, GPUMCP_FOR_EACH_AGAIN GPUMCP_PARENS(macro, type, __VA_ARGS__))
#define GPUMCP_FOR_EACH_AGAIN() GPUMCP_FOR_EACH_STEP

#define GPUMCP_FIELD(type, name) ::gpumcp::mcp::field(#name, &type::name)
#define GPUMCP_FIELD_DOC(type, pair) GPUMCP_FIELD_DOC_OF(type, GPUMCP_UNPACK pair)
#define GPUMCP_FIELD_DOC_OF(...) GPUMCP_FIELD_DOC_2(__VA_ARGS__)
#define GPUMCP_FIELD_DOC_2(type, name, text) ::gpumcp::mcp::field(#name, &type::name, text)
#define GPUMCP_UNPACK(...) __VA_ARGS__
#define GPUMCP_ENUMERATOR(type, name) std::pair<std::string_view, type>(#name, type::name)

#define GPUMCP_DESCRIBE(Type, ...)                                            \
  [[maybe_unused]] inline constexpr auto gpumcp_describe(const Type*) {       \
    return std::make_tuple(GPUMCP_FOR_EACH(GPUMCP_FIELD, Type, __VA_ARGS__)); \
  }
#define GPUMCP_DESCRIBE_DOC(Type, ...)                                            \
  [[maybe_unused]] inline constexpr auto gpumcp_describe(const Type*) {           \
    return std::make_tuple(GPUMCP_FOR_EACH(GPUMCP_FIELD_DOC, Type, __VA_ARGS__)); \
  }
#define GPUMCP_DESCRIBE_ENUM(Type, ...)                               \
  [[maybe_unused]] inline constexpr auto gpumcp_describe_enum(Type) { \
    return std::to_array<std::pair<std::string_view, Type>>(          \
        {GPUMCP_FOR_EACH(GPUMCP_ENUMERATOR, Type, __VA_ARGS__)});     \
  }
