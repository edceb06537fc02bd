// The built-in interface on the real MiniLM, through a server and a client: the shape and size of
// every result.
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "interfaces/support.h"

using namespace gpumcp::tests;
namespace fs = std::filesystem;

namespace {

Worker& worker() {
  static Worker& shared = Worker::start({"embeddings"});
  return shared;
}

std::set<std::string> keys(const Json& value) {
  std::set<std::string> out;
  for (const auto& [key, item] : value.items()) out.insert(key);
  return out;
}

const std::set<std::string> kAlways = {"text", "model", "dims", "dtype", "norm", "preview"};
std::set<std::string> always_and(std::set<std::string> more) {
  more.insert(kAlways.begin(), kAlways.end());
  return more;
}

void check_small_and_equal(const CallToolResult& result) {
  CHECK(result.structuredContent.size() < 1024);
  CHECK(text_of(result) == result.structuredContent);
}

// A folder of this test's own, removed at the end.
struct Folder {
  Folder() {
    std::string name = (fs::temp_directory_path() / "gpumcp-interfaces-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()));
    path = fs::canonical(name);
  }
  ~Folder() { fs::remove_all(path); }
  fs::path path;
};

std::string read_file(const fs::path& path) {
  std::ostringstream out;
  out << std::ifstream(path, std::ios::binary).rdbuf();
  return out.str();
}

double cosine(const std::vector<float>& a, const std::vector<float>& b) {
  long double both = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    both += static_cast<long double>(a[i]) * b[i];
    aa += static_cast<long double>(a[i]) * a[i];
    bb += static_cast<long double>(b[i]) * b[i];
  }
  return static_cast<double>(both / std::sqrt(aa * bb));
}

}  // namespace

TEST_CASE("the tools are typed, short-named, read-only, and say what they return") {
  const auto tools = worker().client().list_tools();
  REQUIRE(tools);
  std::vector<std::string> names;
  for (const auto& tool : *tools) {
    names.push_back(tool.name);
    CHECK(tool.name.size() <= 24);
    CHECK(tool.description.size() < 2048);
    CHECK(tool.inputSchema["type"] == "object");
    CHECK(tool.inputSchema["additionalProperties"] == false);
    CHECK(tool.outputSchema["type"] == "object");
    REQUIRE(tool.annotations);
    CHECK(!tool.annotations->title.empty());
    CHECK(tool.annotations->readOnlyHint == true);
    CHECK(tool.annotations->openWorldHint == false);
  }
  CHECK(names == std::vector<std::string>{"get_model_info", "get_embedding", "get_embeddings",
                                          "rerank", "search", "similarity"});
  const Json& output = (*tools)[1].outputSchema;
  CHECK(keys(output["properties"]) ==
        always_and({"uri", "path", "embedding", "truncated", "tokens", "max_tokens"}));
  CHECK(output["required"].size() == kAlways.size());
  CHECK((*tools)[1].inputSchema["properties"]["output"]["default"] == "ref");
  CHECK((*tools)[2].inputSchema["properties"]["texts"]["maxItems"] == 256);
}

TEST_CASE("get_model_info describes MiniLM") {
  const Json info = worker().value("get_model_info");
  CHECK(info["model"] == kMiniLm);
  CHECK(info["model_type"] == "bert");
  CHECK(info["dims"] == 384);
  CHECK(info["hidden_size"] == 384);
  CHECK(info["num_layers"] == 6);
  CHECK(info["vocab_size"] == 30522);
  CHECK(info["max_tokens"] == 256);
  CHECK(info["pooling"] == "mean");
  CHECK(info["normalize"] == true);
  CHECK(info["loaded"].is_boolean());
}

TEST_CASE(
    "get_embedding by reference is small, and its artifact equals the inline vector bit by bit") {
  const CallToolResult result = worker().call("get_embedding", {{"text", "hello world"}});
  REQUIRE(!result.isError);
  check_small_and_equal(result);
  const Json value = Json::parse(result.structuredContent);
  CHECK(keys(value) == always_and({"uri"}));
  CHECK(value["text"] == "hello world");
  CHECK(value["model"] == kMiniLm);
  CHECK(value["dims"] == 384);
  CHECK(value["dtype"] == "float32");
  CHECK(value["norm"].get<double>() == doctest::Approx(1.0).epsilon(1e-5));
  CHECK(value["preview"].size() == 10);

  REQUIRE(result.content.size() == 2);
  const auto& link = std::get<gpumcp::mcp::ResourceLink>(result.content[1].value);
  CHECK(link.uri == value["uri"]);
  CHECK(link.mimeType == "application/x-npy");
  CHECK(!link.name.empty());

  const std::string bytes = worker().read_bytes(link.uri);
  CHECK(link.size == static_cast<int64_t>(bytes.size()));
  const Npy npy = parse_npy(bytes);
  CHECK(npy.header.find("(384,)") != std::string::npos);
  CHECK(npy.header.find("<f4") != std::string::npos);
  const CallToolResult all =
      worker().call("get_embedding", {{"text", "hello world"}, {"output", "inline"}});
  const Json inlined = Json::parse(all.structuredContent);
  CHECK(keys(inlined) == always_and({"embedding"}));
  CHECK(text_of(all) == all.structuredContent);
  CHECK(all.content.size() == 1);
  CHECK(inlined["embedding"].get<std::vector<float>>() == npy.values);
  CHECK(std::vector<float>(npy.values.begin(), npy.values.begin() + 10) ==
        value["preview"].get<std::vector<float>>());
}

TEST_CASE("dims keeps a vector's first values, and their length is one again") {
  const Json whole = worker().value("get_embedding", {{"text", "hello"}, {"output", "inline"}});
  const Json part =
      worker().value("get_embedding", {{"text", "hello"}, {"output", "inline"}, {"dims", 64}});
  CHECK(part["dims"] == 64);
  const auto all = whole["embedding"].get<std::vector<double>>();
  const auto first = part["embedding"].get<std::vector<double>>();
  REQUIRE(first.size() == 64);
  double squares = 0;
  for (size_t i = 0; i < 64; ++i) squares += all[i] * all[i];
  for (size_t i = 0; i < 64; ++i)
    CHECK(first[i] == doctest::Approx(all[i] / std::sqrt(squares)).epsilon(1e-5));
  CHECK(worker().value("get_embeddings", {{"texts", {"a", "b"}}, {"dims", 8}})["dims"] == 8);
  CHECK(worker().error("get_embedding", {{"text", "hello"}, {"dims", 385}}).find("384") !=
        std::string::npos);
}

TEST_CASE("a prompt that the model does not have is refused by name") {
  const std::string said =
      worker().error("get_embedding", {{"text", "hello"}, {"prompt", "no_such_prompt"}});
  CHECK(said.find("no_such_prompt") != std::string::npos);
}

TEST_CASE("a model's prompts go before texts, each side's its own") {
  Worker& prompted = Worker::start({"embeddings"}, {{"default_model", "prompted"}});
  auto vector = [&](Json arguments) {
    arguments["output"] = "inline";
    return prompted.value("get_embedding", arguments)["embedding"].get<std::vector<float>>();
  };
  const auto plain = vector({{"text", "the dog"}});
  const auto query = vector({{"text", "the dog"}, {"prompt", "query"}});
  CHECK(query != plain);
  CHECK(query == vector({{"text", "where is the dog"}}));
  const Json many = prompted.value("get_embeddings", {{"texts", {"the dog"}}, {"prompt", "query"}});
  CHECK(max_difference(parse_npy(prompted.read_bytes(many["uri"])).values, query) < 1e-6);

  const std::vector<std::string> corpus{"sat on the mat", "barked at the moon"};
  const std::vector<std::string> whole{"the cat sat on the mat", "the cat barked at the moon"};
  const Json asked = {
      {"query", "the dog"}, {"corpus", corpus}, {"prompt", "query"}, {"corpus_prompt", "document"}};
  const Json found = prompted.value("search", asked)["matches"];
  const Json by_hand =
      prompted.value("search", {{"query", "where is the dog"}, {"corpus", whole}})["matches"];
  const Json unprompted =
      prompted.value("search", {{"query", "the dog"}, {"corpus", corpus}})["matches"];
  REQUIRE(found.size() == 2);
  for (size_t i = 0; i < 2; ++i) {
    CHECK(found[i]["index"] == by_hand[i]["index"]);
    CHECK(found[i]["score"].get<double>() ==
          doctest::Approx(by_hand[i]["score"].get<double>()).epsilon(1e-5));
    CHECK(found[i]["text"] == corpus[found[i]["index"].get<size_t>()]);  // as they were given
  }
  CHECK(found[0]["score"] != unprompted[0]["score"]);
  const Json similar = prompted.value("similarity", {{"queries", {"the dog"}},
                                                     {"corpus", corpus},
                                                     {"prompt", "query"},
                                                     {"corpus_prompt", "document"}});
  CHECK(similar["results"][0]["matches"] == found);
  CHECK(prompted.error("get_embedding", {{"text", "a"}, {"prompt", "title"}}).find("query") !=
        std::string::npos);
}

TEST_CASE("search and similarity compare the first dims values, of texts and of stored vectors") {
  const std::vector<std::string> corpus = {"a kitten plays", "stock prices fell", "the cat sleeps"};
  const std::string uri = worker().value("get_embeddings", {{"texts", corpus}})["uri"];
  const Json of_texts =
      worker().value("search", {{"query", "a cat"}, {"corpus", corpus}, {"dims", 32}});
  const Json stored =
      worker().value("search", {{"query", "a cat"}, {"corpus", {uri}}, {"dims", 32}});
  const Json whole = worker().value("search", {{"query", "a cat"}, {"corpus", corpus}});
  REQUIRE(of_texts["matches"].size() == 3);
  for (size_t i = 0; i < 3; ++i) {
    CHECK(stored["matches"][i]["index"] == of_texts["matches"][i]["index"]);
    CHECK(stored["matches"][i]["score"].get<double>() ==
          doctest::Approx(of_texts["matches"][i]["score"].get<double>()).epsilon(1e-5));
  }
  CHECK(of_texts["matches"][0]["score"] != whole["matches"][0]["score"]);
  const std::string small =
      worker().value("get_embeddings", {{"texts", corpus}, {"dims", 8}})["uri"];
  CHECK(worker()
            .error("similarity", {{"queries", {"a cat"}}, {"corpus", {small}}, {"dims", 32}})
            .find("fewer than dims 32") != std::string::npos);
  CHECK(worker()
            .error("search", {{"query", "a cat"}, {"corpus", corpus}, {"corpus_prompt", "passage"}})
            .find("passage") != std::string::npos);
}

TEST_CASE("rerank orders texts by a cross-encoder's scores, in less than 1 KB") {
  const Json pairs =
      Json::parse(std::ifstream(GPUMCP_TEST_GOLDEN "/cross_encoders/bert/expected.json"))["pairs"];
  auto sigmoid = [](double x) { return 1 / (1 + std::exp(-x)); };
  const Json asked = {{"query", "where is the cat?"},
                      {"texts", {"a dog barked at the moon", "the cat sat on the mat"}}};
  const CallToolResult result = worker().call("rerank", asked);
  check_small_and_equal(result);
  const Json value = Json::parse(result.structuredContent);
  REQUIRE(value["matches"].size() == 2);
  CHECK(value["compared"] == 2);
  CHECK(value["matches"][0]["index"] == 1);
  CHECK(value["matches"][0]["text"] == "the cat sat on the mat");
  CHECK(value["matches"][0]["score"].get<double>() ==
        doctest::Approx(sigmoid(pairs[0]["logits"][0].get<double>())).epsilon(1e-4));
  CHECK(value["matches"][1]["score"].get<double>() ==
        doctest::Approx(sigmoid(pairs[1]["logits"][0].get<double>())).epsilon(1e-4));

  std::vector<std::string> many(256, std::string(500, 'x'));
  const CallToolResult large =
      worker().call("rerank", {{"query", "a"}, {"texts", many}, {"top_k", 20}});
  check_small_and_equal(large);
  const Json best = Json::parse(large.structuredContent);
  CHECK(best["matches"].size() == 20);
  CHECK(best["matches"][0]["index"] == 0);  // equal scores keep their order
  CHECK(worker().error("rerank", {{"query", "a"}, {"texts", Json::array()}}).find("texts") !=
        std::string::npos);
}

TEST_CASE("long_text \"mean\" reads all of a long text") {
  std::string text;
  for (int i = 0; i < 600; ++i) text += "lorem ";
  text += "whale";
  const Json cut = worker().value("get_embedding", {{"text", text}});
  const Json mean = worker().value("get_embedding", {{"text", text}, {"long_text", "mean"}});
  CHECK(cut["truncated"] == true);
  CHECK(!mean.contains("truncated"));
  CHECK(mean["norm"].get<double>() == doctest::Approx(1.0).epsilon(1e-5));
  CHECK(mean["preview"] != cut["preview"]);
}

TEST_CASE("a long text is cut as the model says, and the result says so") {
  std::string text;
  for (int i = 0; i < 90'000; ++i) text += "lorem ipsum ";
  const CallToolResult result = worker().call("get_embedding", {{"text", text}});
  REQUIRE(!result.isError);
  check_small_and_equal(result);
  const Json value = Json::parse(result.structuredContent);
  CHECK(keys(value) == always_and({"uri", "truncated", "tokens", "max_tokens"}));
  CHECK(value["text"] == text.substr(0, 200));
  CHECK(value["truncated"] == true);
  CHECK(value["tokens"].get<int64_t>() > 90'000);
  CHECK(value["max_tokens"] == 256);
  CHECK(result._meta["gpumcp/usage"]["tokens"] == 256);
}

TEST_CASE("texts that are long in bytes or in escapes leave the result under 1 KB") {
  std::string wide, emoji, control;
  for (int i = 0; i < 1000; ++i) {
    wide += "漢";
    emoji += "😀";
    control += '\x01';
  }
  for (const std::string& text :
       {wide, emoji, control, std::string(1000, '"'), std::string(1000, '\\')}) {
    const CallToolResult result = worker().call("get_embedding", {{"text", text}});
    REQUIRE(!result.isError);
    check_small_and_equal(result);
    const std::string shown = Json::parse(result.structuredContent)["text"];
    CHECK(text.starts_with(shown));
    CHECK(gpumcp::mcp::find_invalid_utf8(shown) == std::string::npos);
    CHECK(shown.size() >= 100);
  }
  CHECK(worker().value("get_embedding", {{"text", wide}})["text"].get<std::string>().size() == 600);
}

TEST_CASE("an empty text and NUL characters have vectors") {
  CHECK(worker().inline_vector("").size() == 384);
  CHECK(max_difference(worker().inline_vector(std::string("hel\0lo world", 12)),
                       worker().inline_vector("hello world")) <= 1e-6);
}

TEST_CASE("get_embedding writes a file into the workspace, for its owner's eyes") {
  Folder folder;
  Worker& own = Worker::start({"embeddings"}, {{"workspace", folder.path.string()}});
  const CallToolResult result =
      own.call("get_embedding", {{"text", "hello world"}, {"output", "file"}});
  REQUIRE(!result.isError);
  check_small_and_equal(result);
  CHECK(result.content.size() == 1);
  const Json value = Json::parse(result.structuredContent);
  CHECK(keys(value) == always_and({"path"}));
  const fs::path path = value["path"].get<std::string>();
  CHECK(path.parent_path() == folder.path);
  CHECK(path.extension() == ".npy");
  struct stat status{};
  REQUIRE(stat(path.c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0600);
  CHECK(parse_npy(read_file(path)).values == own.inline_vector("hello world"));
  CHECK(own.value("get_embedding", {{"text", "hello world"}, {"output", "file"}})["path"] !=
        path.string());

  SUBCASE("the workspace that the request names comes first") {
    Folder other;
    auto text = own.client().request(
        "tools/call", R"("name":"get_embeddings","arguments":{"texts":["a","b"],"output":"file"})",
        {}, {{"gpumcp/workspace", other.path.string()}});
    REQUIRE(text);
    const Json sent = Json::parse(*text)["structuredContent"];
    const fs::path written = sent["path"].get<std::string>();
    CHECK(written.parent_path() == other.path);
    CHECK(parse_npy(read_file(written)).header.find("(2, 384)") != std::string::npos);
  }
  SUBCASE("a workspace that is not there is an error that names it") {
    const std::string gone = (folder.path / "gone" / "deeper").string();
    Worker& lost = Worker::start({"embeddings"}, {{"workspace", gone}});
    const std::string said = lost.error("get_embedding", {{"text", "a"}, {"output", "file"}});
    CHECK(said.find(gone) != std::string::npos);
    CHECK(said.find("No such file") != std::string::npos);
  }
}

TEST_CASE("without a workspace, output file says what to do instead") {
  CHECK(worker().error("get_embedding", {{"text", "a"}, {"output", "file"}}).find("\"ref\"") !=
        std::string::npos);
}

TEST_CASE("get_embeddings gives one artifact whose rows equal single calls") {
  const std::vector<std::string> texts = {"hello world", "", "a cat sat on the mat",
                                          "the stock market fell sharply today"};
  const CallToolResult result = worker().call("get_embeddings", {{"texts", texts}});
  REQUIRE(!result.isError);
  check_small_and_equal(result);
  const Json value = Json::parse(result.structuredContent);
  CHECK(keys(value) == std::set<std::string>{"count", "model", "dims", "dtype", "preview", "uri"});
  CHECK(value["count"] == 4);
  REQUIRE(result.content.size() == 2);
  const Npy npy = parse_npy(worker().read_bytes(value["uri"]));
  CHECK(npy.header.find("(4, 384)") != std::string::npos);
  for (size_t i = 0; i < texts.size(); ++i) {
    const std::vector<float> row(npy.values.begin() + static_cast<long>(i * 384),
                                 npy.values.begin() + static_cast<long>((i + 1) * 384));
    CHECK(max_difference(row, worker().inline_vector(texts[i])) <= 1e-6);
  }
}

TEST_CASE("get_embeddings counts the texts that it cut, and stays small") {
  std::vector<std::string> texts(256, "short");
  std::string words;
  for (int i = 0; i < 300; ++i) words += "word ";
  for (size_t i = 10; i < 60; ++i) texts[i] = words;
  const CallToolResult result = worker().call("get_embeddings", {{"texts", texts}});
  REQUIRE(!result.isError);
  check_small_and_equal(result);
  const Json value = Json::parse(result.structuredContent);
  CHECK(value["count"] == 256);
  CHECK(value["truncated"] == 50);
  CHECK(value["truncated_texts"].size() == 20);
  CHECK(value["truncated_texts"][0] == 10);
  CHECK(value["max_tokens"] == 256);
}

TEST_CASE("calls that come at once share batches and get the same vectors") {
  constexpr size_t kCalls = 48;
  const std::vector<float> expected = worker().inline_vector("text 7");
  std::vector<CallToolResult> results(kCalls);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < kCalls; ++i) {
    threads.emplace_back([&, i] {
      auto result = worker().client().call_tool(
          "get_embedding", {{"text", "text " + std::to_string(i)}, {"output", "inline"}});
      if (result) results[i] = *result;
    });
  }
  for (auto& thread : threads) thread.join();
  int64_t largest = 0;
  for (const auto& result : results) {
    REQUIRE(!result.structuredContent.empty());
    largest = std::max(largest, result._meta["gpumcp/usage"]["batch_size"].get<int64_t>());
  }
  CHECK(largest > 1);
  CHECK(max_difference(
            Json::parse(results[7].structuredContent)["embedding"].get<std::vector<float>>(),
            expected) <= 1e-6);
}

TEST_CASE("every result says what the call cost, an error too") {
  const Json usage =
      worker().call("get_embedding", {{"text", "hello world"}})._meta["gpumcp/usage"];
  for (const char* key : {"queue_ms", "load_ms", "tokenize_ms", "gpu_ms", "batch_size", "tokens",
                          "cold", "gpu_held_s"}) {
    CAPTURE(key);
    CHECK(usage.contains(key));
  }
  CHECK(usage["tokens"] == 4);
  CHECK(usage["gpu_ms"].get<double>() > 0);
  const CallToolResult failed = worker().call("get_embedding", {{"text", 5}});
  CHECK(failed.isError);
  CHECK(failed._meta["gpumcp/usage"]["tokens"] == 0);
}

TEST_CASE("similarity equals a plain computation, for texts and artifacts in any mixture") {
  const std::vector<std::string> corpus = {"the stock market fell", "a kitten sits on a rug",
                                           "integrals of rational functions", "dogs chase cats"};
  const std::string query = "a cat sat on the mat";
  std::vector<std::pair<double, size_t>> expected;
  for (size_t i = 0; i < corpus.size(); ++i)
    expected.emplace_back(-cosine(worker().inline_vector(query), worker().inline_vector(corpus[i])),
                          i);
  std::sort(expected.begin(), expected.end());

  const std::string query_uri = worker().value("get_embedding", {{"text", query}})["uri"];
  const std::string corpus_uri = worker().value("get_embeddings", {{"texts", corpus}})["uri"];
  const std::string one_uri = worker().value("get_embedding", {{"text", corpus[0]}})["uri"];
  std::vector<std::string> mixed = corpus;
  mixed[0] = one_uri;
  for (const std::string& asked : {query, query_uri}) {
    for (const Json& searched : {Json(corpus), Json::array({corpus_uri}), Json(mixed)}) {
      const CallToolResult result =
          worker().call("similarity", {{"queries", {asked}}, {"corpus", searched}});
      REQUIRE(!result.isError);
      check_small_and_equal(result);
      const Json value = Json::parse(result.structuredContent);
      CHECK(value["compared"] == 4);
      REQUIRE(value["results"].size() == 1);
      CHECK(value["results"][0]["query"] == asked);
      const Json& matches = value["results"][0]["matches"];
      REQUIRE(matches.size() == 4);
      for (size_t i = 0; i < 4; ++i) {
        CHECK(matches[i]["index"] == expected[i].second);
        CHECK(matches[i]["score"].get<double>() ==
              doctest::Approx(-expected[i].first).epsilon(2e-6));
        const size_t at = expected[i].second;
        CHECK(
            matches[i].contains("text") ==
            !searched[std::min(at, searched.size() - 1)].get<std::string>().starts_with("gpumcp:"));
      }
    }
  }
  const Json two = worker().value(
      "similarity", {{"queries", {query, corpus[2]}}, {"corpus", corpus}, {"top_k", 1}});
  CHECK(two["results"][0]["matches"].size() == 1);
  CHECK(two["results"][1]["matches"][0]["index"] == 2);
  CHECK(two["results"][1]["matches"][0]["score"].get<double>() ==
        doctest::Approx(1.0).epsilon(1e-5));
}

TEST_CASE("search is similarity for one query, and leaves out what scores too little") {
  const std::vector<std::string> corpus = {"a cat sat on the mat", "the stock market fell",
                                           "kittens are young cats"};
  const Json wanted =
      worker().value("similarity", {{"queries", {"a small cat"}}, {"corpus", corpus}});
  const Json all = worker().value("search", {{"query", "a small cat"}, {"corpus", corpus}});
  CHECK(all["matches"] == wanted["results"][0]["matches"]);
  CHECK(all["compared"] == 3);
  const std::string kept = worker().value("get_embeddings", {{"texts", corpus}})["uri"];
  const Json stored = worker().value(
      "search", {{"query", "a small cat"}, {"corpus", {kept}}, {"top_k", 20}, {"min_score", 0.3}});
  REQUIRE(stored["matches"].size() == 2);
  for (size_t i = 0; i < 2; ++i) {
    CHECK(stored["matches"][i]["index"] == all["matches"][i]["index"]);
    CHECK(stored["matches"][i]["score"] == all["matches"][i]["score"]);
  }
  CHECK(worker().error("search", {{"query", kept}, {"corpus", corpus}}).find("one query") !=
        std::string::npos);
  CHECK(worker()
            .error("search", {{"query", "gpumcp://artifacts/../x"}, {"corpus", corpus}})
            .find("arguments.query ") != std::string::npos);
}

TEST_CASE(
    "similarity leaves out texts, from the worst match on, where they make the result large") {
  const std::vector<std::string> corpus(64, std::string(500, 'a'));
  const CallToolResult result = worker().call(
      "similarity", {{"queries", {std::string(500, 'b')}}, {"corpus", corpus}, {"top_k", 20}});
  REQUIRE(!result.isError);
  check_small_and_equal(result);
  const Json value = Json::parse(result.structuredContent);
  REQUIRE(value["results"][0]["matches"].size() == 20);
  CHECK(value["results"][0]["matches"][0].contains("text"));
  CHECK(!value["results"][0]["matches"][19].contains("text"));
  CHECK(value["results"][0]["matches"][3]["index"] == 3);  // equal scores keep the corpus' order
}

TEST_CASE("arguments that are wrong are errors that name their path") {
  const std::string unknown = "gpumcp://artifacts/00000000000000000000000000000000";
  const std::vector<std::pair<std::pair<std::string, Json>, std::string>> cases = {
      {{"get_model_info", {{"extra", 1}}}, "extra"},
      {{"get_embedding", Json::object()}, "arguments.text"},
      {{"get_embedding", {{"text", nullptr}}}, "arguments.text"},
      {{"get_embedding", {{"text", 5}}}, "arguments.text"},
      {{"get_embedding", {{"text", "a"}, {"extra", 1}}}, "extra"},
      {{"get_embedding", {{"text", "a"}, {"output", "csv"}}}, "arguments.output"},
      {{"get_embedding", {{"text", "a"}, {"output", nullptr}}}, "arguments.output"},
      {{"get_embeddings", {{"texts", "a"}}}, "arguments.texts"},
      {{"get_embeddings", {{"texts", Json::array()}}}, "arguments.texts"},
      {{"get_embeddings", {{"texts", {"a", 5}}}}, "arguments.texts[1]"},
      {{"get_embeddings", {{"texts", std::vector<std::string>(257, "a")}}}, "arguments.texts"},
      {{"get_embeddings", {{"texts", {"a"}}, {"output", "inline"}}}, "arguments.output"},
      {{"similarity", {{"queries", {"a"}}}}, "arguments.corpus"},
      {{"similarity", {{"queries", {"a"}}, {"corpus", {"b", unknown}}}}, "arguments.corpus[1]"},
      {{"similarity", {{"queries", {"gpumcp://artifacts/../x"}}, {"corpus", {"b"}}}},
       "arguments.queries[0]"},
      {{"similarity", {{"queries", {"a"}}, {"corpus", {"b"}}, {"top_k", 0}}}, "arguments.top_k"},
      {{"similarity", {{"queries", {"a"}}, {"corpus", {"b"}}, {"top_k", 65}}}, "arguments.top_k"},
      {{"similarity",
        {{"queries", std::vector<std::string>(16, "a")},
         {"corpus", std::vector<std::string>(9, "b")}}},
       "arguments.top_k"},
  };
  for (const auto& [call, path] : cases) {
    CAPTURE(call.first);
    CAPTURE(call.second.dump());
    const std::string said = worker().error(call.first, call.second);
    CAPTURE(said);
    CHECK(said.find(path) != std::string::npos);
    CHECK(said.size() < 1024);
  }
}

TEST_CASE("an artifact that is not there is no resource") {
  for (const char* uri :
       {"gpumcp://artifacts/00000000000000000000000000000000", "gpumcp://artifacts/../../x"}) {
    const auto contents = worker().client().read_resource(uri);
    REQUIRE(!contents);
    CHECK(contents.error().code == gpumcp::mcp::ErrorCode::invalid_params);
  }
}
