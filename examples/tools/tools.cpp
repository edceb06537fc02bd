// What a tool can take and give: plain functions whose types become the schema. A described struct,
// an enum, defaults and bounds go in; a structured result, an image, or an error come out.
//   gpumcp tools -- build/release/bin/example_tools
//   gpumcp call order_coffee drink=espresso cups=2 -- build/release/bin/example_tools
//   gpumcp call order_coffee drink=espresso cups=40 -- build/release/bin/example_tools    exit code
//   5
#include <gpumcp/mcp.h>

#include <optional>

using namespace gpumcp;

enum class Drink { espresso, cappuccino, tea };
GPUMCP_DESCRIBE_ENUM(Drink, espresso, cappuccino, tea)

struct Order {
  Drink drink = Drink::espresso;
  int cups = 1;
  double price = 0;
  std::optional<std::string> note;
};
GPUMCP_DESCRIBE_DOC(Order, (drink, "What was ordered."), (cups, "How many."),
                    (price, "In euros, for all."), (note, "For whoever makes it."))

Order order_coffee(Drink drink, int cups, std::optional<std::string> note) {
  if (drink == Drink::cappuccino && cups > 3)
    throw ToolError("there is milk for three cappuccinos only; order fewer, or tea");
  const double each = drink == Drink::tea ? 2.5 : drink == Drink::espresso ? 1.8 : 3.2;
  return {drink, cups, each * cups, std::move(note)};
}

int main() {
  mcp::Server server({.name = "coffee", .version = "1.0"});
  server.expose({.name = "order_coffee",
                 .title = "Order coffee",
                 .description = "Order drinks at the bar.",
                 .annotations = {{.readOnlyHint = false, .destructiveHint = false}}},
                order_coffee, arg("drink", "What to drink."),
                arg("cups", "How many.", 1).minimum(1).maximum(10), arg("note", "A wish."));
  server.expose("menu", "Today's menu, as a picture.", [] {
    const std::string svg =
        R"(<svg xmlns="http://www.w3.org/2000/svg" width="90" height="20"><text y="15">espresso</text></svg>)";
    return mcp::CallToolResult{
        .content = {{mcp::ImageContent{mcp::base64_encode(svg), "image/svg+xml"}}}};
  });
  return server.serve_stdio();
}
