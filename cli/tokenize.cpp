// gpumcp tokenize: texts to token ids and back, line by line. The tokenizer runs in the worker that
// the agents use, so that both see the same ids; no weights are loaded.
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/pipeline.h"
#include "cli/shell_worker.h"
#include "cli/text_lines.h"

namespace gpumcp::cli {
namespace {

// interfaces/shell/shell_tools.h
constexpr const char* kTokenize = "gpumcp_tokenize";
constexpr const char* kDetokenize = "gpumcp_detokenize";
constexpr size_t kInFlight = 3, kTexts = 512, kBytes = 1u << 18;

struct TokenizeOptions {
  ShellOptions shell;
  bool no_special = false, special = false, decode = false, plain = false;
};

void print_line(std::string line) {
  line += '\n';
  if (std::fwrite(line.data(), 1, line.size(), stdout) != line.size())
    throw ShellExit{kFailed, "cannot write to stdout"};
}

void flush() {
  if (std::fflush(stdout) != 0) throw ShellExit{kFailed, "cannot write to stdout"};
}

// {"ids": […]} or […].
mcp::Json ids_of(const std::string& line, const LineInput& input) {
  auto json = mcp::parse_json(line);
  if (json && json->is_object() && json->contains("ids")) json = mcp::Json((*json)["ids"]);
  const bool good = json && json->is_array() &&
                    std::ranges::all_of(*json, [](auto& id) { return id.is_number_integer(); });
  if (!good)
    throw std::invalid_argument(fmt::format("{}, line {}: expected {{\"ids\": [1, 2]}} or [1, 2]",
                                            input.name(), input.line_number()));
  return *json;
}

mcp::Json next_ids(LineInput& input, bool may_wait, bool& ended) {
  mcp::Json lists = mcp::Json::array();
  std::string line;
  for (size_t bytes = 0; lists.size() < kTexts && bytes < kBytes; bytes += line.size()) {
    const auto got = input.next(line, may_wait && lists.empty());
    ended = got == LineInput::Got::end;
    if (got != LineInput::Got::line) break;
    if (line.find_first_not_of(" \t") != line.npos) lists.push_back(ids_of(line, input));
  }
  return lists;
}

int run_tokenize(const TokenizeOptions& o) {
  const Interrupt interrupt;
  LineInput input("-", interrupt);
  TextLines lines(input, o.plain ? TextFormat::text : TextFormat::json);
  ShellWorker worker(o.shell, {kTokenize, kDetokenize});
  bool ended = false;
  run_in_order<mcp::Json, mcp::Json>(
      kInFlight,
      [&](bool may_wait) -> std::optional<mcp::Json> {
        mcp::Json batch;
        if (o.decode) {
          batch = next_ids(input, may_wait, ended);
        } else {
          std::vector<std::string> texts;
          lines.next(texts, kTexts, kBytes, may_wait);
          ended = lines.ended();
          batch = std::move(texts);
        }
        if (interrupt.raised()) throw ShellExit{kInterrupted, ""};
        return batch.empty() ? std::nullopt : std::optional(std::move(batch));
      },
      [&] { return ended; },
      [&](mcp::Json batch) {
        const mcp::Json arguments = {{"model", worker.model()},
                                     {o.decode ? "ids" : "texts", std::move(batch)},
                                     {"special", !o.no_special}};
        return worker.call(o.decode ? kDetokenize : kTokenize, arguments, interrupt.token());
      },
      [&](const mcp::Json& result) {
        if (o.decode) {
          for (const mcp::Json& text : result.at("texts"))
            print_line(o.plain ? text.get<std::string>() : mcp::to_text(text));
        } else {
          for (const mcp::Json& ids : result.at("ids"))
            print_line(fmt::format(R"({{"ids":{}}})", mcp::to_text(ids)));
        }
        flush();
      });
  return kOk;
}

}  // namespace

Command tokenize_command() {
  return {
      "tokenize", "texts to token ids and back, line by line",
      "  echo '\"hello world\"' | gpumcp tokenize --model sentence-transformers/all-MiniLM-L6-v2\n"
      "                                       JSON strings in, {\"ids\":[101,7592,2088,102]} "
      "out\n"
      "  gpumcp tokenize --model M --plain < notes.txt | jq '.ids | length'\n"
      "  gpumcp tokenize --model M --no-special < in.jsonl | gpumcp tokenize --model M --decode\n"
      "Nothing is truncated. Exit codes: 0 ok, 1 usage or a bad line, 4 no worker, 5 the "
      "tokenizer failed, 130 interrupted.",
      [](CLI::App& app, const std::vector<std::string>&) {
        auto o = std::make_shared<TokenizeOptions>();
        o->shell.declare(app);
        app.get_option("--model")->required();
        auto* special = app.add_flag(
            "--special", o->special,
            "with the tokens that the model wants round a text (the default); --decode: show "
            "special tokens");
        app.add_flag("--no-special", o->no_special,
                     "without them; --decode: leave special tokens out")
            ->excludes(special);
        app.add_flag("--decode", o->decode, "ids to texts: {\"ids\": […]} or […] a line");
        app.add_flag("--plain", o->plain, "texts are lines as they stand, not JSON strings");
        return [o] { return run_shell([&] { return run_tokenize(*o); }); };
      }};
}

}  // namespace gpumcp::cli
