// A worker in the test's process: a server, the built interfaces opened by dlopen as the program
// does it, and a client over memory transports. Workers live until end_all(), as a plugin's host
// must live as long as its process.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "mcp/client.h"
#include "mcp/plugin.h"
#include "mcp/server.h"

namespace gpumcp::tests {

using mcp::CallToolResult;
using mcp::Json;

class Worker final : public mcp::PluginHost {
 public:
  // Opens lib/gpumcp/interfaces/NAME.so for each name.
  static Worker& start(const std::vector<std::string>& interfaces, Json options = Json::object());
  static void end_all();
  ~Worker() override;

  mcp::Registry& registry() override { return server_; }
  const Json& options() const override { return options_; }
  void on_status(std::function<Json()> status) override { statuses.push_back(std::move(status)); }
  void on_shutdown(std::function<void()> shutdown) override {
    shutdowns.push_back(std::move(shutdown));
  }
  std::shared_ptr<void> share(const std::string& name,
                              const std::function<std::shared_ptr<void>()>& make) override {
    auto& object = shared_[name];
    return object ? object : object = make();
  }

  // Opens one more. Throws what its load() throws.
  void open(const std::string& name);
  mcp::Client& client() { return *client_; }
  CallToolResult call(const std::string& tool, const Json& arguments = Json::object());
  // The structured content; fails the test case if the call did.
  Json value(const std::string& tool, const Json& arguments = Json::object());
  // The text of a call that must be an isError.
  std::string error(const std::string& tool, const Json& arguments = Json::object());
  std::vector<float> inline_vector(const std::string& text);
  std::string read_bytes(const std::string& uri);

  std::vector<std::function<Json()>> statuses;
  std::vector<std::function<void()>> shutdowns;

 private:
  explicit Worker(Json options);

  Json options_;
  std::map<std::string, std::shared_ptr<void>> shared_;
  mcp::Server server_;
  std::unique_ptr<mcp::Transport> end_;
  std::thread serving_;
  std::unique_ptr<mcp::Client> client_;
};

// A float32 .npy of version 1.0, parsed anew here, apart from the code under test.
struct Npy {
  std::string header;
  std::vector<float> values;
};
Npy parse_npy(const std::string& bytes);

std::string text_of(const CallToolResult& result);
double max_difference(const std::vector<float>& a, const std::vector<float>& b);

// Where every worker here looks for the model "broken"; a test case puts one there. Removed by
// end_all().
std::filesystem::path broken_model();

inline constexpr const char* kMiniLm = "sentence-transformers/all-MiniLM-L6-v2";

}  // namespace gpumcp::tests
