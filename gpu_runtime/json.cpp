#include "gpu_runtime/json.h"

// A SAX handler that builds the value itself, because nlohmann's own DOM builder takes the last of
// two equal keys and has no depth limit.
#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

namespace gpumcp::gpu_runtime {
namespace {

class StrictBuilder : public nlohmann::json_sax<Json> {
 public:
  explicit StrictBuilder(const JsonLimits& limits) : limits_(limits) {}

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t&) override { return fail("binary value"); }

  bool start_object(std::size_t) override { return open(Json::object()); }
  bool end_object() override { return close(); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    auto [place, is_new] = stack_.back()->get_ref<Json::object_t&>().try_emplace(name, nullptr);
    if (!is_new) return fail(fmt::format("the key \"{}\" stands there twice", name.substr(0, 60)));
    slot_ = &place->second;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& problem) override {
    // nlohmann's text opens with its own error number in brackets.
    std::string_view text = problem.what();
    if (const auto end = text.find("] "); end != text.npos) text.remove_prefix(end + 2);
    return fail(fmt::format("byte {}: {}", position, text.substr(0, 200)));
  }

  Json take() { return std::move(root_); }
  const std::string& problem() const { return problem_; }

 private:
  template <class T>
  bool add(T&& value) {
    if (++n_values_ > limits_.max_values) {
      return fail(fmt::format("more than {} values", limits_.max_values));
    }
    place(std::forward<T>(value));
    return true;
  }

  template <class T>
  Json* place(T&& value) {
    if (stack_.empty()) {
      root_ = std::forward<T>(value);
      return &root_;
    }
    if (stack_.back()->is_array()) {
      return &stack_.back()->get_ref<Json::array_t&>().emplace_back(std::forward<T>(value));
    }
    *slot_ = std::forward<T>(value);
    return slot_;
  }

  bool open(Json container) {
    if (stack_.size() >= limits_.max_depth) {
      return fail(fmt::format("nested deeper than {} levels", limits_.max_depth));
    }
    if (++n_values_ > limits_.max_values) {
      return fail(fmt::format("more than {} values", limits_.max_values));
    }
    stack_.push_back(place(std::move(container)));
    return true;
  }

  bool close() {
    stack_.pop_back();
    return true;
  }

  bool fail(std::string problem) {
    if (problem_.empty()) problem_ = std::move(problem);
    return false;
  }

  const JsonLimits& limits_;
  std::size_t n_values_ = 0;
  Json root_;
  std::vector<Json*> stack_;  // the open containers; a parent does not grow while a child is open
  Json* slot_ = nullptr;      // where the value of the last key goes
  std::string problem_;
};

struct FileCloser {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

}  // namespace

Json parse_json(std::string_view text, const std::string& origin, const JsonLimits& limits,
                ErrorCode code) {
  if (text.size() > limits.max_bytes) {
    throw Error(code, fmt::format("{}: {} bytes of JSON are more than the limit of {}", origin,
                                  text.size(), limits.max_bytes));
  }
  StrictBuilder builder(limits);
  if (!Json::sax_parse(text.begin(), text.end(), &builder)) {
    throw Error(code, fmt::format("{}: not valid JSON: {}", origin, builder.problem()));
  }
  return builder.take();
}

std::string read_text_file(const std::filesystem::path& path, std::size_t max_bytes) {
  std::unique_ptr<std::FILE, FileCloser> file(std::fopen(path.c_str(), "rbe"));
  if (!file) {
    throw Error(ErrorCode::not_found,
                fmt::format("{}: cannot be opened: {}", path.string(), std::strerror(errno)));
  }
  std::string text;
  std::vector<char> block(std::size_t{1} << 16);
  while (const std::size_t n = std::fread(block.data(), 1, block.size(), file.get())) {
    if (text.size() + n > max_bytes) {
      throw Error(ErrorCode::corrupt_checkpoint,
                  fmt::format("{}: larger than the limit of {} bytes", path.string(), max_bytes));
    }
    text.append(block.data(), n);
  }
  if (std::ferror(file.get())) {
    throw Error(ErrorCode::corrupt_checkpoint,
                fmt::format("{}: cannot be read: {}", path.string(), std::strerror(errno)));
  }
  return text;
}

Json read_json_file(const std::filesystem::path& path, const JsonLimits& limits) {
  return parse_json(read_text_file(path, limits.max_bytes), path.string(), limits);
}

std::string describe_json(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null:
      return "null";
    case Json::value_t::object:
      return "an object";
    case Json::value_t::array:
      return "an array";
    case Json::value_t::string:
      break;
    case Json::value_t::boolean:
      return value.get<bool>() ? "true" : "false";
    default:
      return fmt::format("the number {}", value.dump());
  }
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return fmt::format("the string {}", text);
}

}  // namespace gpumcp::gpu_runtime
