// Child: the Python process of one interface file, from its start to its end. A thread of its own
// finds (or makes) the Python, starts it, hands it the file and reads what it says:
//
//   preparing ──▶ loading ──ready──▶ ready ──┐
//       └───────────┴──────── fails, dies ───┴──▶ ended (why() tells; its calls have failed)
//
// Thread-safe. Destruction ends the process: by the end of its socket, after two seconds by
// SIGKILL.
#pragma once

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "gpu_runtime/held_time.h"
#include "mcp/context.h"
#include "mcp/json.h"

namespace gpumcp::python {

using mcp::Json;

struct ChildOptions {
  std::filesystem::path source;        // the interface's file
  std::filesystem::path scripts;       // the folder of run_host.py
  std::filesystem::path environments;  // where virtual environments are kept
  std::vector<std::string> tools;      // what the file must expose
  std::vector<std::string> packages, secrets;
  std::map<std::string, std::string> env;
  std::vector<std::string> wrap;         // words before the command
  std::string version, requires_python;  // of Python: "3.11", or an interpreter's path; ">=3.10"
  std::string device = "auto";
  int threads = 0;
  double load_timeout_s = std::numeric_limits<double>::infinity();
  // From the interpreter's start to its end the process counts as holding the device: what it has
  // there, only its end gives back for sure. May be empty.
  std::shared_ptr<gpu_runtime::HeldTime> held;
  // What the file asks while it runs: "model_path", "models", "artifact". Throws what is wrong.
  // Bytes instead of a value: second.
  std::function<std::pair<Json, std::string>(const std::string& what, const std::string& name)> ask;
};

// What a function returned beside its JSON.
struct Blob {
  std::string pointer;  // JSON pointer of the object that names it
  std::string mime_type, name, dtype;
  std::vector<int64_t> shape;
  std::string bytes;
};

struct Outcome {
  std::string json;  // an object's text
  std::vector<Blob> blobs;
  std::string error;     // empty: it succeeded
  bool wrapped = false;  // the value is no object, and stands under "result"
  bool ran = false;      // the function began
  double run_ms = 0, queue_ms = 0;
};

class Child {
 public:
  explicit Child(ChildOptions options);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  // Waits until the file is loaded, and tells the caller how that goes. Empty, or why it is not:
  // "was not run: …".
  std::string load(mcp::Context& context);
  // load(), then waits for the call.
  Outcome call(const std::string& tool, const Json& arguments, const std::string& output,
               mcp::Context& context);

  bool ended() const;
  bool was_ready() const;
  std::string why() const;  // once ended: why, in words
  std::chrono::steady_clock::time_point began() const { return began_; }
  std::chrono::steady_clock::time_point ended_at() const;
  Json status() const;
  // Lets it end; returns when it has.
  void stop();

 private:
  enum class State { preparing, loading, ready, ended };
  struct Pending;
  struct Reader;

  void run();
  std::string prepare();  // the interpreter's path
  void spawn(const std::string& python);
  void read_log(int fd);
  void read_messages();
  void take(const Json& message, std::string bytes);
  void answer(const Json& question);
  void send(const Json& message, std::string_view bytes = {});
  void note(std::string text);
  void end(const std::string& why);
  std::string how_it_ended();

  const ChildOptions options_;
  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  std::vector<std::pair<std::string, std::string>> hidden_;  // secrets: value, name

  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  // Guarded by mutex_:
  State state_ = State::preparing;
  bool was_ready_ = false, stopping_ = false, holds_ = false;
  std::string note_, why_, python_version_, log_tail_;
  std::chrono::steady_clock::time_point ended_at_{}, loading_since_{};
  std::map<int64_t, Pending*> pending_;
  int64_t next_id_ = 1;
  int pid_ = 0, helper_pid_ = 0;

  std::mutex send_mutex_;
  int socket_ = -1;  // set before `loading`, closed when both threads are gone
  std::thread log_thread_;
  std::thread thread_;  // declared last: it uses what is above
};

}  // namespace gpumcp::python
