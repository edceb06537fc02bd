#include "interfaces/python/python_interface.h"

#include <fmt/format.h>

#include <cmath>

#include "gpu_runtime/error.h"
#include "gpu_runtime/model_store.h"
#include "interfaces/python/results.h"

namespace gpumcp::python {
namespace {

using Clock = std::chrono::steady_clock;
constexpr const char* kOutputMeta = "gpumcp/output";

std::string text_of(const Json& json, const char* key) {
  const auto it = json.find(key);
  return it != json.end() && it->is_string() ? it->get<std::string>() : std::string();
}

template <class T>
T value_of(const Json& json, const char* key) {
  const auto it = json.find(key);
  return it != json.end() && !it->is_null() ? it->get<T>() : T{};
}

// Half a second after the second failure in a row, doubling up to half a minute.
std::chrono::milliseconds pause_after(int failures) {
  return failures < 2
             ? std::chrono::milliseconds(0)
             : std::chrono::milliseconds(std::min(30000, 500 << std::min(failures - 2, 6)));
}

double rounded(double value) { return std::round(value * 1000) / 1000; }

// Models by name, as native interfaces find them.
auto make_answers(const Json& options, std::shared_ptr<gpu_runtime::ArtifactStore> artifacts) {
  std::map<std::string, std::filesystem::path> overrides;
  std::vector<std::string> names;
  const Json models = options.value("models", Json::object());
  for (const auto& [name, folder] : models.items()) {
    names.push_back(name);
    if (folder.is_string() && !folder.get_ref<const std::string&>().empty())
      overrides[name] = folder.get<std::string>();
  }
  return [store = std::make_shared<gpu_runtime::ModelStore>(overrides), names, artifacts](
             const std::string& what, const std::string& name) -> std::pair<Json, std::string> {
    if (what == "models") return {Json(names), {}};
    if (what == "artifact") return {nullptr, artifacts->get(name)->bytes};
    // Adapters have no config.json, so a folder counts as it is.
    auto path = store->find(name);
    return {Json((path.found() ? path.folder : path.require()).string()), {}};
  };
}

}  // namespace

PythonInterface::PythonInterface(const Json& options,
                                 std::shared_ptr<gpu_runtime::ArtifactStore> artifacts,
                                 std::shared_ptr<gpu_runtime::HeldTime> held) try
    : workspace_(text_of(options, "workspace")),
      artifacts_(std::move(artifacts)),
      held_(std::move(held)) {
  const Json& manifest = options.at("manifest");
  for (const Json& one : manifest.at("tools")) {
    auto tool = mcp::tool_from_json(one);
    if (!tool) throw std::invalid_argument(tool.error().message);
    child_options_.tools.push_back(tool->name);
    tools_.push_back(std::move(*tool));
  }
  child_options_.source = text_of(options, "source");
  child_options_.scripts = text_of(options, "scripts");
  child_options_.environments = text_of(options, "environments");
  child_options_.device = text_of(options, "device").empty() ? "auto" : text_of(options, "device");
  child_options_.threads = value_of<int>(options, "threads");
  child_options_.wrap = value_of<std::vector<std::string>>(options, "wrap");
  if (const auto limit = options.find("load_timeout_s");
      limit != options.end() && limit->is_number())
    child_options_.load_timeout_s = limit->get<double>();
  const Json own = manifest.value("python", Json::object());
  const Json given = options.value("python", Json::object());
  child_options_.packages = value_of<std::vector<std::string>>(own, "packages");
  for (auto& package : value_of<std::vector<std::string>>(given, "packages"))
    child_options_.packages.push_back(package);
  child_options_.version = text_of(given, "version");
  child_options_.requires_python = text_of(own, "requires");
  child_options_.secrets = value_of<std::vector<std::string>>(given, "secrets");
  child_options_.env = value_of<std::map<std::string, std::string>>(given, "env");
  child_options_.held = held_;
  child_options_.ask = make_answers(options, artifacts_);
} catch (const Json::exception& e) {
  throw std::invalid_argument(
      fmt::format("the settings of a Python interface are broken: {}", e.what()));
}

void PythonInterface::register_tools(mcp::Registry& registry) {
  for (const mcp::Tool& tool : tools_) {
    registry.add_tool(
        tool, [self = shared_from_this(), tool](const Json& arguments, mcp::Context& context) {
          return self->call(tool, arguments, context);
        });
  }
}

// The living process, or a new one. `refusal`: it failed too often just now.
std::shared_ptr<Child> PythonInterface::child(std::string& refusal, bool& cold) {
  std::scoped_lock lock(mutex_);
  if (child_ && child_->ended()) {
    const auto lived = child_->ended_at() - child_->began();
    if (child_->was_ready() && lived > std::chrono::seconds(10)) failures_ = 0;
    const auto left = child_->ended_at() + pause_after(failures_ + 1) - Clock::now();
    if (left > std::chrono::seconds(2)) {
      refusal = fmt::format(
          "was not run: {} {}. It failed {} times in a row; the next try is in {:.0f} s",
          child_options_.source.filename().string(), child_->why(), failures_ + 1,
          std::ceil(std::chrono::duration<double>(left).count()));
      return nullptr;
    }
    ++failures_;
    child_.reset();
  }
  if (stopping_) {
    refusal = "was not run: the worker leaves";
    return nullptr;
  }
  if (!child_) {
    child_ = std::make_shared<Child>(child_options_);
    cold = true;
  }
  cold = cold || !child_->was_ready();
  return child_;
}

void PythonInterface::load(mcp::Context& context) {
  std::string refusal;
  bool cold = false;
  auto process = child(refusal, cold);
  if (process) refusal = process->load(context);
  if (constexpr std::string_view told = "was not run: "; refusal.starts_with(told))
    refusal.erase(0, told.size());
  if (!refusal.empty()) throw mcp::ToolError(refusal);
}

mcp::CallToolResult PythonInterface::call(const mcp::Tool& tool, const Json& given,
                                          mcp::Context& context) {
  const auto begun = Clock::now();
  // The front's word for the folder first, then the worker's own.
  const Json& meta = context.call()._meta;
  const std::string folder = text_of(meta, "gpumcp/workspace");
  std::string output = text_of(meta, kOutputMeta);
  Json arguments = given;
  if (tool._meta.is_object() && tool._meta.contains(kOutputMeta)) {
    if (const std::string asked = text_of(arguments, "output"); !asked.empty()) output = asked;
    arguments.erase("output");
  }
  if (output != "inline" && output != "file") output = "ref";

  std::string refusal;
  bool cold = false;
  const gpu_runtime::HeldTime::Share share(*held_);
  auto process = child(refusal, cold);
  if (!process) throw mcp::ToolError(tool.name + " " + refusal);
  Outcome outcome = process->call(tool.name, arguments, output, context);
  if (outcome.ran && outcome.error.empty()) {
    std::scoped_lock lock(mutex_);
    failures_ = 0;
  }
  const double all_ms = std::chrono::duration<double, std::milli>(Clock::now() - begun).count();
  const double load_ms = cold ? std::max(0.0, all_ms - outcome.queue_ms - outcome.run_ms) : 0;
  context.set_meta("gpumcp/usage", {{"queue_ms", rounded(outcome.queue_ms)},
                                    {"load_ms", rounded(load_ms)},
                                    {"tokenize_ms", 0},
                                    {"gpu_ms", rounded(outcome.run_ms)},
                                    {"batch_size", outcome.ran ? 1 : 0},
                                    {"tokens", 0},
                                    {"cold", cold},
                                    {"gpu_held_s", rounded(share.seconds())}});
  if (outcome.wrapped) context.set_meta("gpumcp/wrapped", true);
  if (!outcome.error.empty()) {
    const bool told =
        outcome.error.starts_with("was not run") || outcome.error.starts_with("failed: ");
    throw mcp::ToolError(told ? tool.name + " " + outcome.error : outcome.error);
  }
  try {
    return to_result(std::move(outcome), output, folder.empty() ? workspace_ : folder, *artifacts_);
  } catch (const gpu_runtime::Error& e) {
    throw mcp::ToolError(e.what());
  }
}

Json PythonInterface::status() const {
  std::scoped_lock lock(mutex_);
  Json one = child_ ? child_->status()
                    : Json{{"file", child_options_.source.string()}, {"state", "not started"}};
  return {{"python", Json::array({std::move(one)})}};
}

void PythonInterface::stop() {
  std::shared_ptr<Child> last;
  {
    std::scoped_lock lock(mutex_);
    stopping_ = true;
    last = child_;
  }
  if (last) last->stop();
}

}  // namespace gpumcp::python
