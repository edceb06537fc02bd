#include "mcp/param_headers.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <set>
#include <string_view>

#include "mcp/http_guards.h"
#include "mcp/json_members.h"

namespace gpumcp::mcp {
namespace {

constexpr const char* kMark = "x-mcp-header";
// Keywords whose value is a schema, a list of schemas, or schemas by name.
constexpr std::array<std::string_view, 12> kOne = {"items",
                                                   "contains",
                                                   "additionalProperties",
                                                   "propertyNames",
                                                   "unevaluatedItems",
                                                   "unevaluatedProperties",
                                                   "not",
                                                   "if",
                                                   "then",
                                                   "else",
                                                   "contentSchema",
                                                   "additionalItems"};
constexpr std::array<std::string_view, 5> kMany = {"allOf", "anyOf", "oneOf", "prefixItems",
                                                   "items"};
constexpr std::array<std::string_view, 4> kNamed = {"patternProperties", "dependentSchemas",
                                                    "$defs", "definitions"};

bool is_token(std::string_view text) {
  constexpr std::string_view kOthers = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           kOthers.find(c) != kOthers.npos;
  });
}

class Walk {
 public:
  // `reached`: through "properties" alone.
  void schema(const Json& schema, std::vector<std::string>& path, bool reached) {
    if (!schema.is_object() || problem) return;
    if (const Json* mark = member(schema, kMark)) note(schema, *mark, path, reached);
    for (const auto& [key, value] : schema.items()) {
      const auto is = [&](const auto& list) {
        return std::find(list.begin(), list.end(), key) != list.end();
      };
      if (key == "properties") {
        each(value, path, reached);
      } else if (value.is_array() && is(kMany)) {
        for (const Json& one : value) this->schema(one, path, false);
      } else if (is(kNamed)) {
        each(value, path, false);
      } else if (is(kOne)) {
        this->schema(value, path, false);
      }
    }
  }

  std::vector<ParamHeader> found;
  std::optional<std::string> problem;

 private:
  void each(const Json& schemas, std::vector<std::string>& path, bool reached) {
    if (!schemas.is_object()) return;
    for (const auto& [name, one] : schemas.items()) {
      path.push_back(name);
      schema(one, path, reached);
      path.pop_back();
    }
  }

  void note(const Json& schema, const Json& mark, const std::vector<std::string>& path,
            bool reached) {
    const std::string type = text_of(schema, "type");
    const std::string name = mark.is_string() ? mark.get<std::string>() : std::string();
    const char* rule = nullptr;
    if (!is_token(name))
      rule = "must be a token as header names are: letters, digits and -._~ and the like";
    else if (!reached || path.empty())
      rule = "is allowed only on properties that are reached through \"properties\" alone";
    else if (type != "string" && type != "integer" && type != "boolean")
      rule = "is allowed only on properties of type string, integer or boolean";
    else if (!names_.insert(lower_ascii(name)).second)
      rule = "must name each header once, whatever the case";
    if (rule)
      problem =
          fmt::format("{} at \"{}\": {} {}", kMark, path.empty() ? "" : path.back().substr(0, 80),
                      to_text(mark).substr(0, 80), rule);
    else
      found.push_back({name, path});
  }

  std::set<std::string> names_;
};

// "07" and "7.0" are the integer 7.
bool same_integer(const std::string& text, const Json& arguments, const ParamHeader& mark) {
  const Json* value = &arguments;
  for (const std::string& name : mark.path) value = member(*value, name);
  double number = 0;
  const char* end = text.data() + text.size();
  const auto [last, error] = std::from_chars(text.data(), end, number);
  return value->is_number() && error == std::errc() && last == end &&
         number == value->get<double>() && std::abs(number) <= 9007199254740991.0;
}

}  // namespace

Result<std::vector<ParamHeader>> find_param_headers(const Json& input_schema) {
  Walk walk;
  std::vector<std::string> path;
  walk.schema(input_schema, path, true);
  if (walk.problem) return fail(ErrorCode::invalid_params, std::move(*walk.problem));
  return std::move(walk.found);
}

std::optional<std::string> param_header_text(const Json& arguments, const ParamHeader& header) {
  const Json* value = &arguments;
  for (const std::string& name : header.path) {
    value = member(*value, name);
    if (!value) return std::nullopt;
  }
  if (value->is_string()) return value->get<std::string>();
  if (value->is_boolean()) return value->get<bool>() ? "true" : "false";
  if (value->is_number_integer()) return to_text(*value);
  if (!value->is_number_float()) return std::nullopt;
  const double number = value->get<double>();  // 7.0 is an integer to JSON Schema
  if (std::trunc(number) != number || std::abs(number) > 9007199254740991.0) return std::nullopt;
  return fmt::format("{}", static_cast<int64_t>(number));
}

Result<void> compare_param_headers(const Json& arguments, const std::vector<ParamHeader>& marks,
                                   const std::map<std::string, std::string, std::less<>>& headers) {
  for (const ParamHeader& mark : marks) {
    const auto wanted = param_header_text(arguments, mark);
    const auto came = headers.find(lower_ascii(mark.name));
    if (!wanted && came == headers.end()) continue;
    const auto wrong = [&](std::string_view what) {
      return fail(ErrorCode::header_mismatch,
                  fmt::format("header Mcp-Param-{} {}; the argument \"{}\" is {}", mark.name, what,
                              mark.path.back().substr(0, 80),
                              wanted ? to_text(Json(wanted->substr(0, 80))) : "absent"));
    };
    if (came == headers.end()) return wrong("is missing");
    const auto text = decode_header_value(came->second);
    if (!text) return wrong("is neither visible ASCII nor strict Base64 of UTF-8");
    if (wanted && (*text == *wanted || same_integer(*text, arguments, mark))) continue;
    return wrong(fmt::format("is {}", to_text(Json(text->substr(0, 80)))));
  }
  return {};
}

}  // namespace gpumcp::mcp
