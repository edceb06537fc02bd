#include "interfaces/steering.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

#include "gpu_runtime/call_scope.h"
#include "gpu_runtime/error.h"
#include "gpu_runtime/runtime.h"
#include "gpu_runtime/safetensors.h"
#include "interfaces/tensor_io.h"

namespace gpumcp::interfaces {
namespace {

namespace rt = gpu_runtime;

constexpr const char* kKey = "gpumcp.steering";  // of the handle's metadata

[[noreturn]] void refuse(const std::string& argument, const std::string& why) {
  throw ToolError("arguments." + argument + ": " + why);
}

void check_mode(const std::string& mode, const std::string& argument) {
  if (mode != "add" && mode != "ablate")
    refuse(argument + ".mode", "\"" + mode + "\" is none: add or ablate");
}

rt::Site site_of(const std::string& site, int64_t layer, const std::string& argument) {
  try {
    return rt::parse_site("blocks." + std::to_string(layer) + "." + site);
  } catch (const rt::Error& e) {
    refuse(argument + ".site", e.what());
  }
}

SteeringPlan read_handle(const std::string& uri, const std::string& argument) {
  try {
    const auto artifact =
        rt::Runtime::current().artifacts().get(uri, rt::CallScope::current_limits().caller);
    const auto bytes = std::as_bytes(std::span(artifact->bytes));
    if (artifact->mime_type == rt::kSafetensorsMime) {
      const auto header = rt::parse_safetensors_header(bytes, bytes.size(), uri);
      const auto found = header.metadata.find(kKey);
      if (found != header.metadata.end()) {
        const Json json = Json::parse(found->second);
        SteeringPlan plan{.vector = json.at("vector").get<std::string>(),
                          .layers = json.at("layers").get<std::vector<int64_t>>(),
                          .strength = json.at("strength").get<double>(),
                          .mode = json.at("mode").get<std::string>(),
                          .positions = json.at("positions").get<std::string>(),
                          .site = json.at("site").get<std::string>(),
                          .rows = TensorRef::open(uri).tensor()};
        check_mode(plan.mode, argument);
        if (plan.rows.dim() == 2 && !plan.layers.empty()) return plan;
      }
    }
  } catch (const rt::Error& e) {
    refuse(argument + ".handle", e.what());
  } catch (const Json::exception&) {  // no handle of ours
  }
  refuse(argument + ".handle", uri +
                                   " is no handle of steer or ablate_direction; a vector goes into "
                                   "\"vector\", with \"layers\"");
}

// Where a direction must be taken out so that nothing in a layer reads it.
std::vector<rt::Site> ablated_sites(int64_t layer) {
  std::vector<rt::Site> sites{{rt::SiteKind::resid_mid, layer}, {rt::SiteKind::resid_post, layer}};
  if (layer == 0) sites.insert(sites.begin(), {rt::SiteKind::resid_pre, 0});
  return sites;
}

void append_edits(const SteeringPlan& plan, int64_t prompt_tokens, const std::string& argument,
                  std::vector<rt::Edit>& out) {
  const rt::TokenPlaces places =
      parse_places(plan.positions, prompt_tokens, argument + ".positions");
  for (size_t i = 0; i < plan.layers.size(); ++i) {
    const at::Tensor vector = plan.rows[plan.rows.size(0) == 1 ? 0 : static_cast<int64_t>(i)];
    const bool ablate = plan.mode == "ablate";
    std::vector<rt::Site> sites{site_of(plan.site, plan.layers[i], argument)};
    if (ablate && plan.site == "resid_post") sites = ablated_sites(plan.layers[i]);
    for (const rt::Site site : sites) {
      out.push_back({.site = site,
                     .kind = ablate ? rt::EditKind::ablate : rt::EditKind::add,
                     .vector = vector,
                     .scale = plan.strength,
                     .places = places});
    }
  }
}

}  // namespace

SteeringPlan plan_steering(const SteeringInput& input, int64_t num_layers,
                           const std::string& argument) {
  if (input.handle) return read_handle(*input.handle, argument);
  if (!input.vector) refuse(argument, "give a handle, or a vector with layers");
  SteeringPlan plan{.vector = input.vector->uri(),
                    .layers = input.layers.value_or(std::vector<int64_t>()),
                    .strength = input.strength.value_or(1),
                    .mode = input.mode.value_or("add"),
                    .positions = input.positions.value_or("all"),
                    .site = input.site.value_or("resid_post"),
                    .rows = {}};
  check_mode(plan.mode, argument);
  if (!std::isfinite(plan.strength) || std::abs(plan.strength) > 1e6)
    refuse(argument + ".strength", "must lie between -1000000 and 1000000");
  plan.rows = rows_of(*input.vector, argument + ".vector").to(at::kFloat);
  if (plan.layers.empty() && (plan.mode == "ablate" || plan.rows.size(0) == num_layers)) {
    for (int64_t i = 0; i < num_layers; ++i) plan.layers.push_back(i);
  }
  if (plan.layers.empty()) plan.layers.push_back(num_layers / 2);
  for (int64_t& layer : plan.layers) layer = chosen_layer(layer, num_layers, argument + ".layers");
  if (plan.rows.size(0) != 1 && plan.rows.size(0) != static_cast<int64_t>(plan.layers.size())) {
    refuse(argument + ".vector",
           "it has " + std::to_string(plan.rows.size(0)) + " rows for " +
               std::to_string(plan.layers.size()) +
               " layers: give one vector, or a row for each layer (?slice=5 behind the uri takes "
               "one row)");
  }
  site_of(plan.site, plan.layers[0], argument);
  parse_places(plan.positions, 1'000'000, argument + ".positions");
  return plan;
}

std::string keep_steering(const SteeringPlan& plan) {
  const Json json = {{"vector", plan.vector},       {"layers", plan.layers},
                     {"strength", plan.strength},   {"mode", plan.mode},
                     {"positions", plan.positions}, {"site", plan.site}};
  const at::Tensor rows = plan.rows.contiguous();
  const std::vector<rt::NamedArray> arrays{
      {"vector",
       rt::Dtype::f32,
       rows.sizes().vec(),
       {static_cast<const std::byte*>(rows.const_data_ptr()), rows.nbytes()}}};
  const std::string caller = rt::CallScope::current_limits().caller;
  return rt::Runtime::current()
      .artifacts()
      .put({.bytes = rt::write_safetensors(arrays, {{kKey, json.dump()}}),
            .shape = rows.sizes().vec(),
            .dtype = "float32",
            .name = "steering",
            .description = json.dump(),
            .owner = caller,
            .mime_type = std::string(rt::kSafetensorsMime),
            .made_by = caller})
      .uri;
}

int64_t chosen_layer(int64_t layer, int64_t count, const std::string& argument) {
  const int64_t at = layer < 0 ? layer + count : layer;
  if (at < 0 || at >= count) {
    refuse(argument, std::to_string(layer) + " is none: the model's layers are 0 to " +
                         std::to_string(count - 1) + ", or -1 to " + std::to_string(-count) +
                         " from the end");
  }
  return at;
}

rt::TokenPlaces parse_places(const std::string& positions, int64_t prompt_tokens,
                             const std::string& argument, std::string_view known) {
  if (positions == "all") return {};
  if (positions == "prompt") return {.end = prompt_tokens};
  if (positions == "generated") return {.begin = prompt_tokens};
  if (positions == "last") return {.begin = prompt_tokens - 1, .end = prompt_tokens};
  const auto refuse_all = [&] {
    refuse(argument, "\"" + cut_utf8(positions, 60) + "\" is none: give " + std::string(known));
  };
  rt::TokenPlaces places;
  std::string_view rest = positions;
  for (;;) {
    while (rest.starts_with(' ')) rest.remove_prefix(1);
    int64_t place = 0;
    const auto [end, problem] = std::from_chars(rest.data(), rest.data() + rest.size(), place);
    if (problem != std::errc()) refuse_all();
    rest.remove_prefix(static_cast<size_t>(end - rest.data()));
    const int64_t at = place < 0 ? place + prompt_tokens : place;
    if (at < 0 || at >= prompt_tokens) {
      refuse(argument, std::to_string(place) + " is none: the text has tokens 0 to " +
                           std::to_string(prompt_tokens - 1));
    }
    places.list.push_back(at);
    while (rest.starts_with(' ')) rest.remove_prefix(1);
    if (rest.empty()) break;
    if (rest[0] != ',') refuse_all();
    rest.remove_prefix(1);
  }
  std::ranges::sort(places.list);
  const auto repeated = std::ranges::unique(places.list);
  places.list.erase(repeated.begin(), repeated.end());
  return places;
}

std::shared_ptr<rt::RowTaps> steering_taps(const std::vector<SteeringInput>& steering,
                                           int64_t num_layers, int64_t prompt_tokens) {
  if (steering.empty()) return nullptr;
  auto taps = std::make_shared<rt::RowTaps>();
  for (size_t i = 0; i < steering.size(); ++i) {
    const std::string argument = "steering[" + std::to_string(i) + "]";
    append_edits(plan_steering(steering[i], num_layers, argument), prompt_tokens, argument,
                 taps->edits);
  }
  return taps;
}

}  // namespace gpumcp::interfaces
