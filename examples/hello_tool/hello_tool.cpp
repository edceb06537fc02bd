// The smallest server: one typed tool, no GPU. A host starts it as it stands, and so does
//   gpumcp call add a=1 b=2 -- build/release/bin/hello_tool
#include <gpumcp/mcp.h>
using namespace gpumcp;

int main() {
  mcp::Server server({.name = "hello", .version = "1.0"});
  server.expose(
      "add", "Add two numbers.", [](double a, double b) { return a + b; }, arg("a"), arg("b"));
  return server.serve_stdio();
}
