// Things to read: a resource with a fixed address, a template for many, and word when one changed.
//   build/release/bin/example_client list -- build/release/bin/example_resources
//   build/release/bin/example_client read note://shopping -- build/release/bin/example_resources
//   gpumcp call write_note name=shopping text=milk -- build/release/bin/example_resources
#include <gpumcp/mcp.h>

#include <mutex>

using namespace gpumcp;
using Contents = std::optional<std::vector<mcp::ResourceContents>>;

// Thread-safe: clients read while a tool writes.
class Notes {
 public:
  void write(const std::string& name, std::string text) {
    std::scoped_lock lock(mutex_);
    notes_[name] = std::move(text);
  }
  std::optional<std::string> find(const std::string& name) const {
    std::scoped_lock lock(mutex_);
    auto it = notes_.find(name);
    return it == notes_.end() ? std::nullopt : std::optional(it->second);
  }
  std::vector<std::string> names(const std::string& prefix = {}) const {
    std::scoped_lock lock(mutex_);
    std::vector<std::string> out;
    for (auto& [name, text] : notes_)
      if (name.starts_with(prefix)) out.push_back(name);
    return out;
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::string> notes_ = {{"shopping", "bread"}, {"ideas", "a boat"}};
};

int main() {
  Notes notes;
  mcp::Server server({.name = "notes", .version = "1.0"});

  server.add_resource({.uri = "note://", .name = "All notes", .mimeType = "application/json"},
                      [&](const std::string& uri, Context&) -> Contents {
                        return {{{uri, "application/json", mcp::to_text(Json(notes.names()))}}};
                      });
  server.add_resource_template(
      {.uriTemplate = "note://{name}", .name = "A note", .mimeType = "text/plain"},
      [&](const std::string& uri, Context&) -> Contents {
        auto text = notes.find(mcp::match_uri_template("note://{name}", uri)->at("name"));
        if (!text) return std::nullopt;  // the client hears that there is no such resource
        return {{{uri, "text/plain", std::move(*text)}}};
      });
  // While somebody types a name, these are proposed.
  server.add_completer("note://{name}", "name",
                       [&](const std::string& typed, const mcp::PromptArguments&) {
                         return mcp::Completion{.values = notes.names(typed)};
                       });

  server.expose(
      "write_note", "Write a note, or write it anew.",
      [&](const std::string& name, const std::string& text) {
        notes.write(name, text);
        server.notify_resource_updated("note://" + name);  // to those who subscribed to it
        return "written";
      },
      arg("name").min_length(1).set("pattern", "^[a-z]+$"), arg("text"));
  return server.serve_stdio();
}
