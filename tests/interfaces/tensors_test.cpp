// The built-in interface "tensors", through a server and a client, against what NumPy computes
// (tests/golden/tensors/make.py). Results show six digits; artifacts are float32.
#include <doctest/doctest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "interfaces/support.h"

using namespace gpumcp::tests;
namespace fs = std::filesystem;

namespace {

const fs::path kGolden = fs::path(GPUMCP_TEST_GOLDEN) / "tensors";

std::string read_file(const fs::path& path) {
  std::ostringstream out;
  out << std::ifstream(path, std::ios::binary).rdbuf();
  return out.str();
}

const Json& expected() {
  static const Json all = Json::parse(read_file(kGolden / "expected.json"));
  return all;
}

// The workspace of the worker here: the golden files, and what tests save.
fs::path workspace() {
  static const fs::path folder = [] {
    std::string name = (fs::temp_directory_path() / "gpumcp-tensors-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()));
    for (const char* file : {"rows.npy", "other.npy", "several.safetensors"})
      fs::copy(kGolden / file, fs::path(name) / file);
    std::atexit([] { fs::remove_all(workspace()); });
    return fs::canonical(name);
  }();
  return folder;
}

Worker& worker() {
  static Worker& shared = Worker::start({"tensors"}, {{"workspace", workspace().string()}});
  return shared;
}

std::string load(const std::string& file, const std::string& tensor = "") {
  return worker().value("load_tensor", {{"file", file}, {"tensor", tensor}})["uri"];
}
const std::string& rows() {
  static const std::string uri = load("rows.npy");
  return uri;
}
const std::string& other() {
  static const std::string uri = load("other.npy");
  return uri;
}

Json value(const std::string& tool, const Json& arguments) {
  const CallToolResult result = worker().call(tool, arguments);
  if (result.isError) FAIL(tool << ": " << text_of(result));
  CHECK_MESSAGE(result.structuredContent.size() < 1024, tool);
  CHECK(text_of(result) == result.structuredContent);
  return Json::parse(result.structuredContent);
}

void flatten(const Json& json, std::vector<double>& out) {
  if (json.is_array()) {
    for (const Json& item : json) flatten(item, out);
  } else {
    out.push_back(json.get<double>());
  }
}

// Shown numbers have six digits.
void check_close(const Json& got, const Json& wanted, double relative = 1e-5) {
  std::vector<double> a, b;
  flatten(got, a);
  flatten(wanted, b);
  REQUIRE(a.size() == b.size());
  for (size_t i = 0; i < a.size(); ++i)
    CHECK(std::abs(a[i] - b[i]) <= relative * (1 + std::abs(b[i])));
}

void check_artifact(const std::string& uri, const Json& wanted) {
  check_close(Json(parse_npy(worker().read_bytes(uri)).values), wanted, 2e-6);
}

}  // namespace

TEST_CASE("the tools of tensors are typed, short-named, and stand beside those of embeddings") {
  Worker& both = Worker::start({"embeddings", "tensors"});
  const auto tools = both.client().list_tools();
  REQUIRE(tools);
  CHECK(tools->size() == 18);
  for (const auto& tool : *tools) {
    CHECK(tool.name.size() <= 24);
    CHECK(tool.inputSchema["additionalProperties"] == false);
    CHECK(tool.outputSchema["type"] == "object");
    REQUIRE(tool.annotations);
    CHECK(!tool.annotations->title.empty());
  }
}

TEST_CASE("describe_tensor says what NumPy says") {
  const Json got = value("describe_tensor", {{"tensor", rows()}});
  for (const auto& [key, wanted] : expected()["describe"].items()) check_close(got[key], wanted);
  CHECK(got["shape"] == Json({40, 6}));
  CHECK(got["dtype"] == "float32");
  CHECK(got["count"] == 240);
  CHECK(got["not_finite"] == 0);
  CHECK(got["about"] == "loaded from rows.npy");
  // What is not finite is counted and left out.
  const Json zeros =
      value("arithmetic", {{"op", "multiply"}, {"tensors", {other()}}, {"number", 0}});
  const Json broken =
      value("arithmetic", {{"op", "divide"}, {"tensors", {zeros["uri"], zeros["uri"]}}});
  CHECK(!broken.contains("norm"));
  CHECK(broken["preview"][0].is_null());
  const Json said = value("describe_tensor", {{"tensor", broken["uri"]}});
  CHECK(said["not_finite"] == 18);
  CHECK(!said.contains("mean"));
  CHECK(worker().error("cosine", {{"a", broken["uri"]}}).find("NaN") != std::string::npos);
}

TEST_CASE("slice_tensor takes parts as NumPy does") {
  const Json got = value("slice_tensor", {{"tensor", rows()}, {"slice", "-2:,::2"}});
  CHECK(got["shape"] == Json({2, 3}));
  check_close(got["values"], expected()["slice"]);
  check_artifact(got["uri"], expected()["slice"]);
  const Json large = value("slice_tensor", {{"tensor", rows()}, {"slice", "0:10"}});
  CHECK(!large.contains("values"));
  CHECK(large["preview"].size() == 6);
  CHECK(worker().error("slice_tensor", {{"tensor", rows()}, {"slice", "40"}}).find("beyond") !=
        std::string::npos);
}

TEST_CASE("arithmetic computes what NumPy computes") {
  const std::string first = value("slice_tensor", {{"tensor", rows()}, {"slice", "0:3"}})["uri"];
  const std::string four = value("slice_tensor", {{"tensor", rows()}, {"slice", "0:4"}})["uri"];
  const std::string four_t = value("arithmetic", {{"op", "transpose"}, {"tensors", {four}}})["uri"];
  const std::string direction = value("slice_tensor", {{"tensor", other()}, {"slice", "0"}})["uri"];
  const std::map<std::string, Json> calls{{"add", {{"tensors", {first, other()}}}},
                                          {"subtract", {{"tensors", {first, other()}}}},
                                          {"multiply", {{"tensors", {other()}}, {"number", -2.5}}},
                                          {"divide", {{"tensors", {first, other()}}}},
                                          {"matmul", {{"tensors", {other(), four_t}}}},
                                          {"mean", {{"tensors", {rows()}}, {"axis", 0}}},
                                          {"sum", {{"tensors", {rows()}}}},
                                          {"norm", {{"tensors", {other()}}, {"axis", 1}}},
                                          {"max", {{"tensors", {other()}}, {"axis", -1}}},
                                          {"min", {{"tensors", {other()}}}},
                                          {"normalize", {{"tensors", {other()}}}},
                                          {"softmax", {{"tensors", {other()}}}},
                                          {"abs", {{"tensors", {other()}}}},
                                          {"transpose", {{"tensors", {other()}}}},
                                          {"flatten", {{"tensors", {other()}}}},
                                          {"project", {{"tensors", {first, direction}}}},
                                          {"reject", {{"tensors", {first, direction}}}},
                                          {"stack", {{"tensors", {first, other()}}, {"axis", 1}}},
                                          {"concat", {{"tensors", {first, other()}}}}};
  for (auto [op, arguments] : calls) {
    CAPTURE(op);
    arguments["op"] = op;
    check_artifact(value("arithmetic", arguments)["uri"], expected()["arithmetic"][op]);
  }
  CHECK(calls.size() == expected()["arithmetic"].size());
  const std::string unfit =
      worker().error("arithmetic", {{"op", "add"}, {"tensors", {rows(), other()}}});
  CHECK(unfit.find("[40, 6], [3, 6]") != std::string::npos);
  CHECK(worker().error("arithmetic", {{"op", "add"}, {"tensors", {other()}}}).find("operands") !=
        std::string::npos);
}

TEST_CASE("cosine and top_k find what NumPy finds") {
  const std::string four = value("slice_tensor", {{"tensor", rows()}, {"slice", "0:4"}})["uri"];
  check_close(value("cosine", {{"a", other()}, {"b", four}})["values"], expected()["cosine"]);
  const Json large = value("cosine", {{"a", rows()}});
  CHECK(!large.contains("values"));
  CHECK(large["max"] == 1);
  CHECK(parse_npy(worker().read_bytes(large["uri"])).values.size() == 1600);

  const Json top = value("top_k", {{"tensor", rows()}, {"k", 4}, {"by", "magnitude"}})["top"];
  for (size_t i = 0; i < 4; ++i) {
    const Json& wanted = expected()["top_magnitude"][i];
    CHECK(top[i]["index"] == Json({wanted[0], wanted[1]}));
    check_close(top[i]["value"], wanted[2]);
  }
  const Json near =
      value("top_k", {{"tensor", rows()}, {"k", 3}, {"query", other() + "?slice=0"}})["top"];
  for (size_t i = 0; i < 3; ++i) {
    CHECK(near[i]["index"] == Json({expected()["nearest"][i][0]}));
    check_close(near[i]["value"], expected()["nearest"][i][1]);
  }
  value("top_k", {{"tensor", rows()}, {"k", 20}});  // fits 1 KB
}

TEST_CASE("pca finds NumPy's directions, with signs that are always the same") {
  const CallToolResult result =
      worker().call("pca", {{"tensor", rows()}, {"k", 2}, {"plot", true}});
  REQUIRE(!result.isError);
  const Json got = Json::parse(result.structuredContent);
  check_close(got["explained_variance"], expected()["pca_variance"]);
  check_close(got["explained_ratio"], expected()["pca_ratio"]);
  check_artifact(got["components"], expected()["pca_components"]);
  auto projected = parse_npy(worker().read_bytes(got["projected"])).values;
  projected.resize(6);
  check_close(Json(projected), expected()["pca_projected"]);
  const auto* image = std::get_if<gpumcp::mcp::ImageContent>(&result.content.back().value);
  REQUIRE(image);
  CHECK(image->mimeType == "image/png");
  CHECK(gpumcp::mcp::base64_decode(image->data)->size() < 8192);
}

TEST_CASE("cluster finds the four groups that were made, largest first, the same each time") {
  const Json got = value("cluster", {{"tensor", rows()}, {"k", 4}});
  check_close(got["inertia"], expected()["inertia"]);
  CHECK(got["sizes"] == Json({10, 10, 10, 10}));
  for (size_t i = 0; i < 40; ++i) CHECK(got["label_of_row"][i] == got["label_of_row"][i % 4]);
  CHECK(std::set<int>{got["label_of_row"][0], got["label_of_row"][1], got["label_of_row"][2],
                      got["label_of_row"][3]}
            .size() == 4);
  CHECK(value("cluster", {{"tensor", rows()}, {"k", 4}})["label_of_row"] == got["label_of_row"]);
  CHECK(worker().error("cluster", {{"tensor", other()}, {"k", 4}}).find("at most one") !=
        std::string::npos);
}

TEST_CASE("tensors go into files of the workspace and come back, and no farther") {
  const Json saved = value("save_tensor", {{"tensors", {{"x", rows()}}}, {"file", "copy.npy"}});
  CHECK(read_file(workspace() / "copy.npy") == read_file(kGolden / "rows.npy"));
  CHECK(saved["path"] == (workspace() / "copy.npy").string());
  CHECK(worker()
            .error("save_tensor", {{"tensors", {{"x", rows()}}}, {"file", "copy.npy"}})
            .find("overwrite") != std::string::npos);
  value("save_tensor", {{"tensors", {{"x", other()}}}, {"file", "copy.npy"}, {"overwrite", true}});
  CHECK(read_file(workspace() / "copy.npy") == read_file(kGolden / "other.npy"));

  value("save_tensor",
        {{"tensors", {{"first", rows()}, {"second", other()}}}, {"file", "both.safetensors"}});
  CHECK(worker().read_bytes(load("both.safetensors", "second")) == worker().read_bytes(other()));
  CHECK(worker().error("load_tensor", {{"file", "both.safetensors"}}).find("first") !=
        std::string::npos);
  const Json b = value("load_tensor", {{"file", "several.safetensors"}, {"tensor", "b"}});
  CHECK(b["dtype"] == "int64");
  CHECK(b["preview"] == Json({7, -8, 9}));

  fs::create_directory_symlink("/tmp", workspace() / "link");
  for (const char* bad : {"../x.npy", "/etc/x.npy", "a/../../x.npy", "link/x.npy", ".npy/"}) {
    CAPTURE(bad);
    worker().error("save_tensor", {{"tensors", {{"x", rows()}}}, {"file", bad}});
    worker().error("load_tensor", {{"file", bad}});
  }
  CHECK(worker().error("load_tensor", {{"file", "none.npy"}}).find("No such file") !=
        std::string::npos);
  CHECK(worker().error("load_tensor", {{"file", "none.pt"}}).find(".safetensors") !=
        std::string::npos);
  std::ofstream(workspace() / "broken.npy") << "no array";
  CHECK(worker().error("load_tensor", {{"file", "broken.npy"}}).find("broken.npy") !=
        std::string::npos);
}

TEST_CASE("a session lists and drops what its own calls kept") {
  gpumcp::mcp::CallOptions session;
  session.meta = {{"gpumcp/session", "agent-1"}};
  auto call = [&](const std::string& tool, const Json& arguments) {
    const auto result = worker().client().call_tool(tool, arguments, session);
    REQUIRE(result);
    if (result->isError) FAIL(text_of(*result));
    return Json::parse(result->structuredContent);
  };
  std::vector<std::string> uris;
  for (int i = 0; i < 7; ++i)
    uris.push_back(call("slice_tensor", {{"tensor", rows()}, {"slice", std::to_string(i)}})["uri"]);
  Json page = call("list_artifacts", Json::object());
  CHECK(page["count"] == 7);
  CHECK(page["artifacts"].size() == 5);
  CHECK(page["artifacts"][0]["uri"] == uris[6]);
  CHECK(page["artifacts"][0]["shape"] == Json({6}));
  CHECK(page["next"] == 5);
  page = call("list_artifacts", {{"skip", 5}});
  CHECK(page["artifacts"][1]["uri"] == uris[0]);
  CHECK(!page.contains("next"));

  // Another session's cannot be dropped, one's own can.
  Json dropped = call("drop_artifacts", {{"uris", {uris[0], rows()}}});
  CHECK(dropped["dropped"] == 1);
  CHECK(dropped["not_found"] == Json::array({rows()}));
  CHECK(worker().error("describe_tensor", {{"tensor", uris[0]}}).find("expired") !=
        std::string::npos);
  CHECK(call("drop_artifacts", {{"all", true}})["dropped"] == 6);
  CHECK(call("list_artifacts", Json::object())["count"] == 0);
  value("describe_tensor", {{"tensor", rows()}});
  CHECK(worker().error("drop_artifacts", Json::object()).find("all = true") != std::string::npos);
}

TEST_CASE("plot_tensor draws matrices, points and lines") {
  for (const Json& call : {Json{{"tensor", rows()}}, Json{{"tensor", rows()}, {"kind", "scatter"}},
                           Json{{"tensor", rows() + "?slice=0"}, {"kind", "line"}}}) {
    const CallToolResult result = worker().call("plot_tensor", call);
    REQUIRE(!result.isError);
    REQUIRE(result.content.size() == 2);
    const auto* image = std::get_if<gpumcp::mcp::ImageContent>(&result.content[1].value);
    REQUIRE(image);
    const std::string bytes = gpumcp::mcp::base64_decode(image->data).value();
    CHECK(bytes.starts_with("\x89PNG"));
    CHECK(bytes.size() < 8192);
  }
  CHECK(worker().error("plot_tensor", {{"tensor", rows()}, {"kind", "line"}}).find("slice") !=
        std::string::npos);
}
