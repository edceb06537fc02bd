// A tool that asks the user: a form while it runs, with defaults and choices; and a page to open,
// for what must not go through the client. The handler is written once for clients of every
// version.
//   build/release/bin/example_client call book_table guests=4 --
//   build/release/bin/example_elicitation
// asks on the terminal; an empty line takes the default.
#include <gpumcp/mcp.h>

using namespace gpumcp;

int main() {
  mcp::Server server({.name = "table", .version = "1.0"});

  server.expose(
      "book_table", "Book a table for tonight.",
      [](int guests, Context& context) -> std::string {
        const Json form = Json::parse(R"({
          "type": "object",
          "properties": {
            "name": {"type": "string", "title": "Name", "minLength": 1},
            "hour": {"type": "integer", "title": "Hour", "minimum": 18, "maximum": 22, "default": 19},
            "place": {"type": "string", "title": "Where", "enum": ["inside", "garden"], "default": "inside"}
          },
          "required": ["name", "hour"]
        })");
        // In 2026-07-28 the handler may run again from the start: ask first, act then.
        const auto answer = context.elicit("details", {"Who comes, and when?", form});
        if (!answer.accepted()) return "no table was booked";
        return "a table for " + std::to_string(guests) + " at " +
               mcp::to_text(answer.content["hour"]) + " (" +
               answer.content.value("place", "inside") + "), " + answer.content.value("name", "");
      },
      arg("guests").minimum(1).maximum(12));

  server.expose(
      "pay_deposit", "Pay the deposit of a booking.", [](Context& context) -> std::string {
        // The card's number goes to the page, never through the client: "accept" says that it was
        // opened, not that anything was paid.
        const auto answer = context.elicit("card", {.message = "Pay 20 euros to keep the table.",
                                                    .url = "https://example.com/pay/17"});
        return answer.accepted() ? "waiting for the payment" : "the table is free again at 18:00";
      });
  return server.serve_stdio();
}
