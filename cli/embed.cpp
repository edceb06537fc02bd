// gpumcp embed: a file of texts to an array, in the worker that the agents use.
#include <fmt/format.h>

#include <filesystem>

#include "cli/command.h"
#include "cli/npy_file.h"
#include "cli/pipeline.h"
#include "cli/progress.h"
#include "cli/shell_worker.h"
#include "cli/text_lines.h"

namespace gpumcp::cli {
namespace {

constexpr const char* kTool = "gpumcp_embed";  // interfaces/shell/shell_tools.h
// Several requests in flight keep the worker's next batch ready while one runs.
constexpr size_t kInFlight = 4, kTexts = 128, kTextBytes = 1u << 20;

struct EmbedOptions {
  ShellOptions shell{.model = "sentence-transformers/all-MiniLM-L6-v2"};
  std::string file, out, format = "auto", prompt, long_text = "truncate";
  int64_t dims = 0;
};

TextFormat format_of(const std::string& name) {
  return name == "text"   ? TextFormat::text
         : name == "json" ? TextFormat::json
                          : TextFormat::automatic;
}

int run_embed(const EmbedOptions& o) {
  std::error_code error;
  if (std::filesystem::is_directory(o.out, error))
    throw std::invalid_argument(fmt::format("--out {}: is a folder; name a file in it", o.out));
  const Interrupt interrupt;
  LineInput input(o.file, interrupt);
  TextLines lines(input, format_of(o.format));
  NpyFile out(o.out);
  ShellWorker worker(o.shell, {kTool});

  mcp::Json fixed = {{"model", worker.model()}, {"dims", o.dims}, {"long_text", o.long_text}};
  if (!o.prompt.empty()) fixed["prompt"] = o.prompt;
  uint64_t rows = 0, columns = 0, tokens = 0, cut = 0;
  int64_t max_tokens = 0;
  Progress progress(input.name(), input.total_bytes());
  const auto take = [&](const mcp::Json& result) {
    const auto bytes = mcp::base64_decode(result.at("data").get_ref<const std::string&>());
    const auto n = result.at("rows").get<uint64_t>();
    columns = result.at("dims").get<uint64_t>();
    if (!bytes || bytes->size() != n * columns * sizeof(float))
      throw std::runtime_error("the worker answered an array that is not whole");
    out.append(*bytes);
    rows += n;
    tokens += result.at("tokens").get<uint64_t>();
    cut += result.at("truncated").size();
    max_tokens = result.at("max_tokens").get<int64_t>();
    progress.update(input.bytes_read(),
                    fmt::format("{} texts, {:.0f}/s", rows,
                                static_cast<double>(rows) / std::max(progress.seconds(), 1e-3)));
  };
  const auto embed = [&](std::vector<std::string> texts) {
    mcp::Json arguments = fixed;
    arguments["texts"] = std::move(texts);
    return worker.call(kTool, arguments, interrupt.token());
  };
  progress.update(0, "the worker starts");
  run_in_order<std::vector<std::string>, mcp::Json>(
      kInFlight,
      [&](bool may_wait) -> std::optional<std::vector<std::string>> {
        std::vector<std::string> texts;
        lines.next(texts, kTexts, kTextBytes, may_wait);
        if (interrupt.raised()) throw ShellExit{kInterrupted, ""};
        return texts.empty() ? std::nullopt : std::optional(std::move(texts));
      },
      [&] { return lines.ended(); }, embed, take);
  if (rows == 0) take(embed({}));  // asks for the width of the empty array
  progress.done();
  out.commit(rows, columns);
  fmt::print(stderr, "{}: float32 [{}, {}] in {:.1f} s, {:.0f} texts/s, {} tokens{}\n", o.out, rows,
             columns, progress.seconds(), static_cast<double>(rows) / progress.seconds(), tokens,
             cut == 0 ? "" : fmt::format("; {} texts were cut to {} tokens", cut, max_tokens));
  return kOk;
}

}  // namespace

Command embed_command() {
  return {"embed", "embed a file of texts into a .npy array",
          "  gpumcp embed texts.txt --out vectors.npy                      a text a line\n"
          "  gpumcp embed corpus.jsonl --model BAAI/bge-small-en-v1.5 --out vectors.npy\n"
          "                                       JSON strings or {\"text\": …} a line\n"
          "  cut -f2 table.tsv | gpumcp embed - --out vectors.npy\n"
          "  python -c 'import numpy; print(numpy.load(\"vectors.npy\").shape)'\n"
          "The array is float32 [texts, dims], a row for each line. It runs in the worker that the "
          "agents use.\n"
          "Exit codes: 0 ok, 1 usage, 4 no worker, 5 the model failed, 130 interrupted (nothing is "
          "written).",
          [](CLI::App& app, const std::vector<std::string>&) {
            auto o = std::make_shared<EmbedOptions>();
            app.add_option("FILE", o->file, "the texts; - reads stdin")->required();
            app.add_option("--out", o->out, "the .npy file to write")->required();
            o->shell.declare(app);
            app.add_option("--format", o->format,
                           "text: lines as they stand; json: strings or {\"text\"} objects; auto: "
                           "as the first line is")
                ->check(CLI::IsMember({"auto", "text", "json"}))
                ->capture_default_str();
            app.add_option("--prompt", o->prompt,
                           "the name of one of the model's prompts, as query or document");
            app.add_option("--dims", o->dims, "keep only the first N values, for Matryoshka models")
                ->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
            app.add_option("--long-text", o->long_text,
                           "texts of more tokens than the model reads: truncate cuts them, mean "
                           "averages windows of them")
                ->check(CLI::IsMember({"truncate", "mean"}))
                ->capture_default_str();
            return [o] { return run_shell([&] { return run_embed(*o); }); };
          }};
}

}  // namespace gpumcp::cli
