// Messages that a user picks from a menu: one without arguments, one with, whose values are
// proposed while the user types.
//   build/release/bin/example_client list -- build/release/bin/example_prompts
//   build/release/bin/example_client prompt review language=rust --
//   build/release/bin/example_prompts
#include <gpumcp/mcp.h>

using namespace gpumcp;

int main() {
  mcp::Server server({.name = "prompts", .version = "1.0"});

  server.add_prompt({.name = "stand_up", .description = "What was done, what is next."},
                    [](const mcp::PromptArguments&, Context&) -> mcp::GetPromptResult {
                      return {.messages = {{"user",
                                            {mcp::TextContent{"Sum up yesterday's commits in three "
                                                              "lines, then ask what is next."}}}}};
                    });

  server.add_prompt(
      {.name = "review",
       .title = "Review my code",
       .description = "A review by the habits of a language.",
       .arguments = {{.name = "language", .description = "Which one.", .required = true},
                     {.name = "focus", .description = "What to look at."}}},
      [](const mcp::PromptArguments& arguments, Context&) -> mcp::GetPromptResult {
        auto focus = arguments.find("focus");
        return {
            .description = "A review",
            .messages = {
                {"user",
                 {mcp::TextContent{"Review the open file as a senior " + arguments.at("language") +
                                   " engineer would" +
                                   (focus == arguments.end() ? "." : ": " + focus->second + ".")}}},
                {"assistant", {mcp::TextContent{"Which file?"}}}}};
      });
  server.add_completer("review", "language",
                       [](const std::string& typed, const mcp::PromptArguments&) {
                         mcp::Completion out;
                         for (std::string one : {"c++", "go", "python", "rust", "ruby"})
                           if (one.starts_with(typed)) out.values.push_back(one);
                         return out;
                       });
  return server.serve_stdio();
}
