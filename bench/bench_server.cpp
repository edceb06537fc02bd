// The server that MCP benchmarks talk to: two typed tools, over stdio or HTTP, in either era. `add`
// costs nothing, so what is measured is the protocol; `get_embedding` answers with a fixed vector
// of 384 numbers.
//   bench_server stdio | bench_server http PORT [era [announce]]      (the era is the client's
//   choice; the argument is ignored)
// With `announce` there is a third tool of that name, which tells open listens that tools changed.
#include <gpumcp/mcp.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

using namespace gpumcp;

namespace {

struct Sum {
  double sum;
};
GPUMCP_DESCRIBE(Sum, sum)

struct Embedding {
  std::string text;
  std::vector<double> embedding, preview;
};
GPUMCP_DESCRIBE(Embedding, text, embedding, preview)

Sum add(double a, double b) { return {a + b}; }

Embedding get_embedding(std::string text) {
  Embedding out{std::move(text), std::vector<double>(384), {}};
  for (uint64_t i = 0; i < out.embedding.size(); ++i) {
    const auto v = static_cast<int64_t>((i * 2654435761u + 12345u) % 200000001u) - 100000000;
    out.embedding[i] = static_cast<double>(v) / 1e9;
  }
  out.preview.assign(out.embedding.begin(), out.embedding.begin() + 10);
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  mcp::Server server({.name = "gpumcp-peer", .version = "0.1.0"});
  server.expose("add", "Add two numbers.", add, arg("a"), arg("b"));
  server.expose("get_embedding", "A fixed vector for any text.", get_embedding, arg("text"));
  if (argc == 2 && !std::strcmp(argv[1], "stdio")) return server.serve_stdio();
  if (argc < 3 || std::strcmp(argv[1], "http")) {
    std::fprintf(stderr, "usage: bench_server stdio | bench_server http PORT [era]\n");
    return 2;
  }
  if (argc > 4 && !std::strcmp(argv[4], "announce")) {
    server.expose("announce", "Says that the tools changed.", [&server] {
      server.notify_list_changed("tools");
      return true;
    });
  }
  auto http = mcp::HttpServer::listen(server, {.port = std::atoi(argv[2])});
  if (!http) {
    std::fprintf(stderr, "%s\n", http.error().message.c_str());
    return 1;
  }
  std::fprintf(stderr, "listening on %s\n", (*http)->url().c_str());
  (*http)->serve();
  return 0;
}
