#include "sandbox/metrics.h"

#include <fmt/format.h>

#include <algorithm>

#include "sandbox/front.h"

namespace gpumcp::sandbox {
namespace {

// A label's value: Prometheus escapes \, " and line ends.
std::string metric_label(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\n')
      out += "\\n";
    else if (c == '\\' || c == '"')
      (out += '\\') += c;
    else
      out += c;
  }
  return out;
}

void describe_metric(std::string& out, const char* name, const char* kind, const char* help) {
  out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, kind);
}

void one_value(std::string& out, const char* name, const char* kind, const char* help,
               double value) {
  describe_metric(out, name, kind, help);
  out += fmt::format("{} {}\n", name, value);
}

double metric_number(const mcp::Json& json, const char* key) {
  const auto it = json.find(key);
  return it != json.end() && it->is_number() ? it->get<double>() : 0;
}

}  // namespace

void CallMetrics::add(const std::string& tool, double seconds, bool failed, double busy_s) {
  const auto bound = std::lower_bound(kBounds.begin(), kBounds.end(), seconds);
  std::scoped_lock lock(mutex_);
  Tool& one = tools_[tool];
  Tool::Outcome& outcome = failed ? one.failed : one.ok;
  ++outcome.counts[static_cast<size_t>(bound - kBounds.begin())];
  outcome.sum_s += seconds;
  busy_s_ += busy_s;
}

std::string CallMetrics::text() const {
  std::scoped_lock lock(mutex_);
  std::string out;
  const char* name = "gpumcp_call_duration_seconds";
  describe_metric(out, name, "histogram",
                  "Time of a tool's calls at this front, a worker's start included.");
  for (auto& [tool, one] : tools_) {
    for (auto& [word, outcome] : {std::pair("ok", &one.ok), std::pair("error", &one.failed)}) {
      const std::string labels =
          fmt::format("tool=\"{}\",outcome=\"{}\"", metric_label(tool), word);
      uint64_t sum = 0;
      for (size_t i = 0; i < outcome->counts.size(); ++i) {
        sum += outcome->counts[i];
        const std::string bound = i < kBounds.size() ? fmt::format("{}", kBounds[i]) : "+Inf";
        out += fmt::format("{}_bucket{{{},le=\"{}\"}} {}\n", name, labels, bound, sum);
      }
      out += fmt::format("{}_sum{{{}}} {}\n{}_count{{{}}} {}\n", name, labels, outcome->sum_s, name,
                         labels, sum);
    }
  }
  one_value(
      out, "gpumcp_gpu_busy_seconds_total", "counter",
      "Device time of the calls of this front; calls that share a batch each count all of it.",
      busy_s_);
  return out;
}

std::string worker_metrics(const mcp::Json& status) {
  std::string out;
  one_value(out, "gpumcp_worker_up", "gauge", "Whether this front is connected to a worker.",
            status.is_object() ? 1 : 0);
  if (!status.is_object()) return out;
  one_value(out, "gpumcp_worker_uptime_seconds", "gauge", "How long the worker has run.",
            metric_number(status, "uptime_s"));
  one_value(out, "gpumcp_worker_calls_in_flight", "gauge", "Calls of all fronts in the worker.",
            metric_number(status, "calls_in_flight"));
  one_value(out, "gpumcp_worker_fronts", "gauge", "Connections to the worker.",
            metric_number(status, "connections"));
  if (status.contains("held_s"))
    one_value(out, "gpumcp_gpu_held_seconds_total", "counter",
              "How long the worker has held models on its device.",
              metric_number(status, "held_s"));
  const mcp::Json models = status.value("models", mcp::Json::array());
  size_t loaded = 0;
  for (const mcp::Json& model : models) loaded += model.value("state", "") == "hot" ? 1 : 0;
  one_value(out, "gpumcp_models_loaded", "gauge", "Models on the device.",
            static_cast<double>(loaded));
  struct PerModel {
    const char *name, *kind, *key, *help;
  };
  for (const PerModel& metric :
       {PerModel{"gpumcp_model_bytes", "gauge", "bytes", "Weights of a model on its device."},
        PerModel{"gpumcp_model_loads_total", "counter", "loads", "Loads from the disk."},
        PerModel{"gpumcp_model_unloads_total", "counter", "unloads", "Unloads."},
        PerModel{"gpumcp_model_queue_depth", "gauge", "queue_depth",
                 "Calls that wait for a model's next batch."}}) {
    if (models.empty()) break;
    describe_metric(out, metric.name, metric.kind, metric.help);
    for (const mcp::Json& model : models) {
      std::string name = model.value("name", "");
      if (name.empty()) name = model.value("folder", "");
      out += fmt::format("{}{{model=\"{}\"}} {}\n", metric.name, metric_label(name),
                         metric_number(model, metric.key));
    }
  }
  return out;
}

mcp::HttpOptions::Get metrics_get(Front& front) {
  front.count_calls();
  return {.path = "/metrics", .handler = [&front](const mcp::HttpHead&) {
            return mcp::HttpReply{.content_type = "text/plain; version=0.0.4; charset=utf-8",
                                  .body = front.metrics().text() + front.queue_metrics() +
                                          worker_metrics(front.worker_status()),
                                  .headers = {{"Cache-Control", "no-store"}}};
          }};
}

}  // namespace gpumcp::sandbox
