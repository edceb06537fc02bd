#include "interfaces/python/results.h"

#include <fmt/format.h>

#include "gpu_runtime/error.h"
#include "interfaces/embeddings/workspace_file.h"
#include "mcp/context.h"

namespace gpumcp::python {
namespace {

// One string or number is said as it is, anything else as the object.
std::string spoken(const std::string& json) {
  constexpr size_t kLongest = 4096;  // beyond it the object's own text serves as well
  if (!json.starts_with(R"({"result":)") || json.size() > kLongest) return json;
  const auto value = mcp::parse_json(json);
  if (!value || value->size() != 1) return json;
  const Json& result = (*value)["result"];
  if (result.is_string() && !result.get_ref<const std::string&>().empty()) {
    const std::string& text = result.get_ref<const std::string&>();
    // A text that looks like JSON is taken for it by some hosts; a bare array makes them fail.
    return text.find_first_of("[{\"") == 0 ? json : text;
  }
  return result.is_null() ? "done" : json;
}

}  // namespace

mcp::CallToolResult to_result(Outcome outcome, const std::string& output,
                              const std::string& workspace, gpu_runtime::ArtifactStore& artifacts) {
  std::vector<mcp::ContentBlock> links;
  if (!outcome.blobs.empty()) {
    auto parsed = mcp::parse_json(outcome.json);
    if (!parsed) throw mcp::ToolError("its result is no JSON: " + parsed.error().message);
    for (Blob& blob : outcome.blobs) {
      Json& place = (*parsed)[Json::json_pointer(blob.pointer)];
      if (output == "file") {
        if (workspace.empty())
          throw mcp::ToolError(
              "output \"file\" needs a workspace folder, and this server has none: use output "
              "\"ref\" and read the value by its uri");
        const size_t dot = blob.name.rfind('.');
        place.erase("uri");
        place["path"] = interfaces::write_new_file(workspace, blob.name.substr(0, dot),
                                                   blob.name.substr(dot + 1), blob.bytes)
                            .string();
        continue;
      }
      const auto size = static_cast<int64_t>(blob.bytes.size());
      const auto stored = artifacts.put({.bytes = std::move(blob.bytes),
                                         .shape = blob.shape,
                                         .dtype = blob.dtype,
                                         .name = blob.name,
                                         .mime_type = blob.mime_type});
      place["uri"] = stored.uri;
      links.push_back({mcp::ResourceLink{
          .uri = stored.uri, .name = blob.name, .mimeType = blob.mime_type, .size = size}});
    }
    outcome.json = mcp::to_text(*parsed);
  }
  mcp::CallToolResult result = mcp::CallToolResult::text(spoken(outcome.json));
  result.structuredContent = std::move(outcome.json);
  result.content.insert(result.content.end(), std::make_move_iterator(links.begin()),
                        std::make_move_iterator(links.end()));
  return result;
}

}  // namespace gpumcp::python
