// Metrics of a front and its worker, as Prometheus reads them: GET /metrics. Asking wakes no worker
// and keeps none awake. Labels are tools' and models' names, never URIs or callers. CallMetrics is
// thread-safe; its front owns it.
#pragma once

#include <array>
#include <map>
#include <mutex>
#include <string>

#include "mcp/http_server.h"

namespace gpumcp::sandbox {

class Front;

// Calls that have ended, by tool: how many, how many failed, how long they took.
class CallMetrics {
 public:
  // Upper bounds in seconds, those of OpenTelemetry's conventions for MCP; beyond them is infinity.
  static constexpr std::array<double, 14> kBounds = {0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1,
                                                     2,    5,    10,   30,  60,  120, 300};
  // busy_s: device time that the call's worker told for it; 0 if it told none.
  void add(const std::string& tool, double seconds, bool failed, double busy_s);
  std::string text() const;

 private:
  struct Tool {
    struct Outcome {
      std::array<uint64_t, kBounds.size() + 1> counts{};
      double sum_s = 0;
    } ok, failed;
  };
  mutable std::mutex mutex_;
  // Guarded by mutex_:
  std::map<std::string, Tool> tools_;
  double busy_s_ = 0;
};

// The worker's half, from its status; null: none runs.
std::string worker_metrics(const mcp::Json& status);

// For HttpOptions::get: needs the server's token, as everything but /healthz and /readyz does. The
// front must outlive the HTTP server.
mcp::HttpOptions::Get metrics_get(Front& front);

}  // namespace gpumcp::sandbox
