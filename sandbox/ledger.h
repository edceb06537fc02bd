// Ledger: what calls cost, per call and per sandbox. Fronts write a line for each call, workers one
// for each run that they serve and one when they leave, to the file that $GPUMCP_LEDGER names (a
// JSON object a line, appended whole, so any number of processes may write). Whoever started the
// run reads it: queue, load, GPU busy, GPU held against wall time, and a bill.
//
//   wall time  ├──agent──┤call├───────agent───────┤call├──agent──┤
//   GPU held              ├──────────┤             ├──────────┤     the calls' shares, then idling
//
// A Ledger is a value; append_ledger() may be called from any thread and process.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "mcp/json.h"

namespace gpumcp::sandbox {

inline constexpr const char* kLedgerVariable = "GPUMCP_LEDGER";
// Marks the processes of one agent run (agent_run.h). Neither reaches a worker, which serves
// others.
inline constexpr const char* kRunVariable = "GPUMCP_RUN";

struct LedgerCall {
  std::string tool;
  double begun = 0, ended = 0;  // seconds since the epoch, at the front
  double queue_s = 0, load_s = 0;
  double gpu_s = 0;   // of the batches that the call rode in
  double held_s = 0;  // its share of the time in which models were held
  std::int64_t tokens = 0;
  bool cold = false, failed = false;
};

// What one worker held for this ledger, from the first front that named it.
struct LedgerWorker {
  std::string id;
  double held_before_s = 0;  // what it had held when it was told of the ledger
  double held_s = 0;         // at `seen`
  double seen = 0;
  bool left = false;  // else it lives, or died without a word
};

struct LedgerSummary {
  double wall_s = 0;
  double agent_s = 0;  // no call was in flight
  double calls_s = 0;  // at least one was
  double queue_s = 0, load_s = 0;
  double busy_s = 0;    // device time, batches that several calls shared counted once
  double shares_s = 0;  // held while calls ran
  double held_s = 0;    // in all: what a GPU is paid for
  double idle_s = 0;    // held with no call of this ledger
  double before_s = 0;  // held before the run by workers that it found: by what was loaded for it
  bool estimated = false;  // a worker never said how long it held: until now is assumed
  std::size_t calls = 0, failed = 0, cold = 0, workers = 0;
  std::int64_t tokens = 0;
  std::vector<std::pair<std::string, std::size_t>> tools;  // calls of each, most first
  std::optional<double> price;                             // of an hour of the GPU
  double cost = 0, always_on = 0;

  mcp::Json to_json() const;
  std::string to_text() const;  // some lines for people
};

class Ledger {
 public:
  // Lines that are none of a ledger's are passed over: a process may have died within one.
  static Ledger read(const std::filesystem::path& path);
  void add_line(const mcp::Json& line);

  const std::vector<LedgerCall>& calls() const { return calls_; }
  const std::vector<LedgerWorker>& workers() const { return workers_; }
  // Between two times, in seconds since the epoch; what lies outside is cut off.
  LedgerSummary summary(double begin, double end, std::optional<double> price = {}) const;

 private:
  std::map<std::string, double> before_;  // what workers had held when the run began
  std::vector<LedgerCall> calls_;
  std::vector<LedgerWorker> workers_;
};

// Lines of the file.
mcp::Json ledger_line(const LedgerCall& call);
mcp::Json ledger_line(const std::string& worker, double at, double held_s, bool left);
// Of a worker that lives as the run begins. It counts if the run comes to use that one.
mcp::Json ledger_before_line(const std::string& worker, double held_s);
// The usage that a tools/call result carries in its _meta, as far as it does. `result` is its JSON.
void read_usage(std::string_view result, LedgerCall& call);
// Appends to a file that is there; one that is gone belongs to a run that is over.
void append_ledger(const std::filesystem::path& path, const mcp::Json& line);
// Seconds since the epoch.
double ledger_now();

}  // namespace gpumcp::sandbox
