// Plays recorded conversations against a small fixed server and compares its lines byte by byte.
//   {"intent": "what this shows"}           starts a conversation, with a peer of its own
//   {"client": {…}} or {"client": "text"}   is sent; a string is sent as it stands, so it can be
//   broken
//   {"server": {…}}                         is the next line that must come
// --update writes what the server said in place of the expected lines. Each client line is followed
// by all server lines that answer it, so the order is fixed.
#include <fstream>
#include <future>
#include <iostream>
#include <string>
#include <vector>

#include "mcp/server.h"

using namespace gpumcp::mcp;

namespace {

void add_features(Server& server) {
  server.expose(
      "add", "Add two numbers.", [](double a, double b) { return a + b; }, arg("a", "The first."),
      arg("b"));
  server.expose(
      "repeat", "Say a text several times, with progress.",
      [](const std::string& text, int times, Context& context) {
        std::string out;
        for (int i = 1; i <= times; ++i) {
          out += text;
          context.progress(i, times, "said");
          context.log(LogLevel::info, text);
        }
        return out;
      },
      arg("text"), arg("times", "How often.", 2).minimum(1).maximum(5));
  server.expose("fail", "Always fails.",
                []() -> int { throw ToolError("this tool always fails"); });
  server.expose("link", "A link.", [] {
    CallToolResult result = CallToolResult::text("see");
    result.content.push_back(
        {ResourceLink{.uri = "mem://note", .name = "note", .mimeType = "text/plain"}});
    return result;
  });
  server.add_resource(
      {.uri = "mem://note", .name = "note", .mimeType = "text/plain"},
      [](const std::string& uri, Context&) -> std::optional<std::vector<ResourceContents>> {
        return {{{uri, "text/plain", "remember"}}};
      });
}

// One conversation in progress. A ping after each client line shows that nothing more comes.
class Conversation {
 public:
  Conversation() {
    add_features(server_);
    auto [near_end, far_end] = make_memory_transports();
    near_ = std::move(near_end);
    served_ = std::async(std::launch::async, [this, far = std::move(far_end)]() mutable {
      server_.serve(*far);
      far.reset();
    });
  }
  ~Conversation() {
    near_->close();
    served_.get();
  }

  std::vector<std::string> say(const std::string& text, bool request) {
    static constexpr std::string_view kPing =
        R"({"jsonrpc":"2.0","id":"end of turn","method":"ping"})";
    (void)near_->write(text);
    std::vector<std::string> lines;
    // A request that runs ends with its response; then, or else, the ping's answer ends the turn.
    bool answered = !request, pinged = false;
    while (true) {
      if (answered && !std::exchange(pinged, true)) (void)near_->write(kPing);
      auto line = near_->read();
      if (!line || !*line) return lines;
      const Json message = Json::parse(**line);
      if (message.value("id", Json()) == "end of turn") return lines;
      if (!message.contains("method")) answered = true;
      lines.push_back(**line);
    }
  }

 private:
  Server server_{{.name = "transcript", .version = "1", .instructions = "A fixed server."}};
  std::unique_ptr<Transport> near_;
  std::future<void> served_;
};

// Returns the number of differences.
int play(const std::string& path, bool update) {
  std::ifstream in(path);
  if (!in) {
    std::cerr << path << ": cannot be read\n";
    return 1;
  }
  std::unique_ptr<Conversation> conversation;
  std::vector<std::string> got, out;
  size_t next = 0;
  int differences = 0, number = 0, turns = 0;
  auto differ = [&](const std::string& want, const std::string& came) {
    ++differences;
    std::cerr << path << ':' << number << ":\n  expected " << want << "\n  got      " << came
              << '\n';
  };
  auto finish_turn = [&] {
    for (; next < got.size(); ++next) {
      if (!update) differ("(nothing more)", got[next]);
    }
  };
  for (std::string line; std::getline(in, line);) {
    ++number;
    const Json json = Json::parse(line, nullptr, false);
    if (!json.is_object() || json.size() != 1) {
      differ("an object of intent, client or server", line);
      continue;
    }
    if (json.contains("server")) {
      if (update) continue;
      const std::string want = json["server"].dump();
      const std::string came = next < got.size() ? got[next++] : "(nothing)";
      if (came != want) differ(want, came);
      continue;
    }
    finish_turn();
    out.push_back(line);
    got.clear();
    next = 0;
    if (json.contains("intent")) {
      conversation = std::make_unique<Conversation>();
      continue;
    }
    if (!conversation) {
      differ("an intent before the first client line", line);
      continue;
    }
    ++turns;
    const Json& client = json["client"];
    const bool request =
        client.is_object() ? client.contains("id") && client.contains("method") : true;
    got =
        conversation->say(client.is_string() ? client.get<std::string>() : client.dump(), request);
    for (const std::string& one : got) out.push_back("{\"server\":" + one + "}");
  }
  finish_turn();
  if (update) {
    std::ofstream file(path);
    for (const std::string& line : out) file << line << '\n';
  }
  std::cout << path << ": " << turns << " turns, " << differences << " differences\n";
  return turns == 0 ? 1 : differences;
}

}  // namespace

int main(int argc, char** argv) {
  bool update = false;
  int differences = argc < 2;
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--update")
      update = true;
    else
      differences += play(argv[i], update);
  }
  return differences ? 1 : 0;
}
