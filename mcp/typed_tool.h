// The typed door: a plain function becomes a tool. Its parameters become the input schema, its
// result the output schema, structuredContent and the equal text; arguments are decoded and checked
// before it runs.
//   registry.expose("add", "Add two numbers.", [](double a, double b) { return a + b; }, arg("a"),
//   arg("b"));
// Parameters take arg()s in order; a Context& parameter may stand anywhere and takes none. A
// function whose only parameter is a described struct, without arg()s, takes the struct's fields as
// its arguments. Results: a described struct or map is the structured content; any other value is
// wrapped as {"result": …}; a WithContent<T> is T with links or images after its text; a
// CallToolResult goes out as it is; void says "done".
#pragma once

#include <cmath>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "mcp/context.h"
#include "mcp/json_type.h"
#include "mcp/protocol.h"

namespace gpumcp::mcp {

// One parameter's name, description, default and bounds (JSON Schema keywords).
class Arg {
 public:
  Arg(std::string name, std::string description)
      : name_(std::move(name)), description_(std::move(description)) {}

  Arg& minimum(double value) { return set("minimum", number(value)); }
  Arg& maximum(double value) { return set("maximum", number(value)); }
  Arg& min_items(size_t n) { return set("minItems", n); }
  Arg& max_items(size_t n) { return set("maxItems", n); }
  Arg& min_length(size_t n) { return set("minLength", n); }
  Arg& max_length(size_t n) { return set("maxLength", n); }
  Arg& one_of(std::vector<std::string> values) { return set("enum", Json(std::move(values))); }
  Arg& set(const char* keyword, Json value) {
    keywords_[keyword] = std::move(value);
    return *this;
  }
  Arg& default_value(std::string json) {
    default_ = std::move(json);
    return *this;
  }

  const std::string& name() const { return name_; }
  const std::string& description() const { return description_; }
  const Json& keywords() const { return keywords_; }
  const std::optional<std::string>& default_json() const { return default_; }

 private:
  // Whole bounds are written as integers: 1, not 1.0.
  static Json number(double value) {
    const bool whole = std::abs(value) < 9e15 && std::trunc(value) == value;
    return whole ? Json(static_cast<int64_t>(value)) : Json(value);
  }

  std::string name_, description_;
  Json keywords_ = Json::object();
  std::optional<std::string> default_;  // JSON text
};

inline Arg arg(std::string name, std::string description = {}) {
  return Arg(std::move(name), std::move(description));
}
// With a default: the parameter may be left out.
template <class T>
Arg arg(std::string name, std::string description, const T& default_value) {
  std::string json;
  if constexpr (std::is_convertible_v<T, std::string_view>)
    append_string(json, default_value);
  else
    JsonType<T>::append(json, default_value);
  return Arg(std::move(name), std::move(description)).default_value(std::move(json));
}

// A typed result and the content blocks that follow its text: links to what the value only names,
// images.
template <class T>
struct WithContent {
  T value;
  std::vector<ContentBlock> content = {};
};

// Runs a call. May throw: ToolError, DecodeError, anything; the caller's barrier makes isError of
// it.
using ToolHandler = std::function<CallToolResult(const Json& arguments, Context& context)>;

namespace detail {

template <class F>
struct Signature : Signature<decltype(&F::operator())> {};
template <class R, class... A>
struct Signature<R (*)(A...)> {
  using Result = R;
  using Arguments = std::tuple<A...>;
};
template <class C, class R, class... A>
struct Signature<R (C::*)(A...) const> : Signature<R (*)(A...)> {};
template <class C, class R, class... A>
struct Signature<R (C::*)(A...)> : Signature<R (*)(A...)> {};

template <class T>
inline constexpr bool kIsContext = std::is_same_v<std::decay_t<T>, Context>;

template <class... A>
constexpr size_t count_plain(const std::tuple<A...>*) {
  return (size_t{0} + ... + (kIsContext<A> ? 0u : 1u));
}

// The schema of one parameter, with the arg()'s words.
Json parameter_schema(Json type_schema, const Arg& arg);
// The value given for a parameter, or its default, or null where it may be absent; throws
// DecodeError. `storage` keeps a parsed default alive.
const Json* find_argument(const Json& arguments, const Arg& arg, bool optional, const Json& schema,
                          const JsonPath& path, Json& storage);
// Text and structured content of a result that is a JSON object.
CallToolResult object_result(std::string json);

template <class R>
inline constexpr bool kIsObject = DescribedStruct<R>;
template <class T>
inline constexpr bool kIsObject<std::map<std::string, T>> = true;

template <class R>
inline constexpr bool kIsWithContent = false;
template <class T>
inline constexpr bool kIsWithContent<WithContent<T>> = true;

template <class R>
Json output_schema() {
  if constexpr (kIsWithContent<R>) {
    return output_schema<decltype(R::value)>();
  } else if constexpr (std::is_void_v<R> || std::is_same_v<R, CallToolResult> ||
                       std::is_same_v<R, Json>) {
    return nullptr;
  } else if constexpr (kIsObject<R>) {
    return JsonType<R>::schema();
  } else {
    Json schema = {{"type", "object"}, {"properties", {{"result", JsonType<R>::schema()}}}};
    if constexpr (!kIsOptional<R>)
      schema["required"] = Json::array({"result"});
    else
      schema["properties"]["result"]["type"] =
          Json::array({schema["properties"]["result"]["type"], "null"});
    return schema;
  }
}

template <class R>
CallToolResult to_result(const R& value) {
  if constexpr (std::is_same_v<R, CallToolResult>) {
    return value;
  } else if constexpr (kIsWithContent<R>) {
    CallToolResult out = to_result(value.value);
    out.content.insert(out.content.end(), value.content.begin(), value.content.end());
    return out;
  } else {
    std::string json;
    if constexpr (std::is_same_v<R, Json>) {
      json = value.is_object() ? to_text(value) : R"({"result":)" + to_text(value) + "}";
    } else if constexpr (kIsObject<R>) {
      JsonType<R>::append(json, value);
    } else {
      json = R"({"result":)";
      JsonType<R>::append(json, value);
      json += '}';
    }
    return object_result(std::move(json));
  }
}

template <class A>
using Plain = std::decay_t<A>;

// Decodes the parameters one by one and calls the function.
template <class F, class R, class... A>
CallToolResult call_decoded(F& function, const std::vector<Arg>& args,
                            const std::vector<Json>& schemas, const Json& arguments,
                            Context& context, std::tuple<A...>*) {
  const JsonPath root{nullptr, "arguments"};
  [[maybe_unused]] size_t next = 0;
  [[maybe_unused]] auto take = [&]<class P>(std::type_identity<P>) -> decltype(auto) {
    if constexpr (kIsContext<P>) {
      return std::ref(context);
    } else {
      const size_t i = next++;
      const JsonPath at{&root, args[i].name()};
      Json storage;
      const Json* value =
          find_argument(arguments, args[i], kIsOptional<Plain<P>>, schemas[i], at, storage);
      if constexpr (kIsOptional<Plain<P>>) {
        if (!value) return Plain<P>();
      }
      return JsonType<Plain<P>>::decode(*value, at);
    }
  };
  // Braces fix the order of evaluation, so that `next` counts from left to right.
  std::tuple<std::conditional_t<kIsContext<A>, std::reference_wrapper<Context>, Plain<A>>...>
      values{take(std::type_identity<A>())...};
  auto run = [&](auto&... v) -> decltype(auto) { return function(static_cast<A>(v)...); };
  if constexpr (std::is_void_v<R>) {
    std::apply(run, values);
    return CallToolResult::text("done");
  } else {
    return to_result<std::decay_t<R>>(std::apply(run, values));
  }
}

}  // namespace detail

// The Tool and the handler of a function. `tool` brings name, description, title and annotations;
// the schemas are filled in. Throws std::invalid_argument for a tool that no host would take.
template <class F>
std::pair<Tool, ToolHandler> make_typed_tool(Tool tool, F function, std::vector<Arg> args) {
  using S = detail::Signature<F>;
  using Arguments = typename S::Arguments;
  using R = typename S::Result;
  tool.outputSchema = detail::output_schema<std::decay_t<R>>();

  constexpr size_t plain = detail::count_plain(static_cast<Arguments*>(nullptr));
  if constexpr (plain == 1) {
    if (args.empty()) {
      return [&]<class... A>(std::tuple<A...>*) -> std::pair<Tool, ToolHandler> {
        using Only = std::decay_t<std::tuple_element_t<
            0, decltype(std::tuple_cat(std::conditional_t<detail::kIsContext<A>, std::tuple<>,
                                                          std::tuple<std::decay_t<A>>>()...))>>;
        if constexpr (DescribedStruct<Only>) {
          tool.inputSchema = JsonType<Only>::schema();
          return {std::move(tool), [function](const Json& arguments, Context& context) mutable {
                    Only value = JsonType<Only>::decode(arguments, {nullptr, "arguments"});
                    auto pass = [&]<class P>(std::type_identity<P>) -> decltype(auto) {
                      if constexpr (detail::kIsContext<P>)
                        return static_cast<Context&>(context);
                      else
                        return static_cast<Only&>(value);
                    };
                    if constexpr (std::is_void_v<R>) {
                      function(pass(std::type_identity<A>())...);
                      return CallToolResult::text("done");
                    } else {
                      return detail::to_result<std::decay_t<R>>(
                          function(pass(std::type_identity<A>())...));
                    }
                  }};
        } else {
          throw std::invalid_argument("tool \"" + tool.name +
                                      "\": its parameter needs an arg(\"name\")");
        }
      }(static_cast<Arguments*>(nullptr));
    }
  }
  if (args.size() != plain)
    throw std::invalid_argument("tool \"" + tool.name + "\": the function has " +
                                std::to_string(plain) + " parameters, but " +
                                std::to_string(args.size()) + " arg() were given");

  std::vector<Json> schemas;
  Json properties = Json::object(), required = Json::array();
  [&]<class... A>(std::tuple<A...>*) {
    [[maybe_unused]] auto add = [&]<class P>(std::type_identity<P>) {
      if constexpr (!detail::kIsContext<P>) {
        const Arg& arg = args[schemas.size()];
        schemas.push_back(detail::parameter_schema(JsonType<std::decay_t<P>>::schema(), arg));
        properties[arg.name()] = schemas.back();
        if (!kIsOptional<std::decay_t<P>> && !arg.default_json()) required.push_back(arg.name());
      }
    };
    (add(std::type_identity<A>()), ...);
  }(static_cast<Arguments*>(nullptr));
  tool.inputSchema = {{"type", "object"}, {"properties", std::move(properties)}};
  if (!required.empty()) tool.inputSchema["required"] = std::move(required);
  tool.inputSchema["additionalProperties"] = false;

  ToolHandler handler = [function, args = std::move(args), schemas = std::move(schemas)](
                            const Json& arguments, Context& context) mutable {
    std::vector<std::string_view> known;
    for (const Arg& arg : args) known.push_back(arg.name());
    check_known_keys(arguments, known, {nullptr, "arguments"});
    return detail::call_decoded<F, R>(function, args, schemas, arguments, context,
                                      static_cast<Arguments*>(nullptr));
  };
  return {std::move(tool), std::move(handler)};
}

}  // namespace gpumcp::mcp
