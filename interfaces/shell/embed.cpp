// gpumcp_embed: texts to the rows of an array, as raw bytes; gpumcp embed writes them to a file.
#include "gpu_runtime/runtime.h"
#include "interfaces/shell/shell_tools.h"

namespace gpumcp::interfaces {

ModelPath shell_model(const std::string& model) {
  return model.starts_with('/') ? ModelPath(model)
                                : gpu_runtime::Runtime::current().find_model(model);
}

namespace {

struct Rows {
  int64_t rows, dims;
  std::string data;
  int64_t tokens;
  std::vector<int64_t> truncated;
  int64_t max_tokens;
};
GPUMCP_DESCRIBE_DOC(Rows, (rows, "One for each text, in order."), (dims, "Values in a row."),
                    (data, "The rows, float32, little-endian, as base64."),
                    (tokens, "Tokens of all texts, after truncation."),
                    (truncated, "Indices of the texts that were cut to max_tokens."),
                    (max_tokens, "How many tokens the model reads; 0: no limit is known."))

Rows embed(const std::string& name, const std::vector<std::string>& texts,
           const gpu_runtime::SentenceEncodeOptions& options) {
  const auto model = SentenceTransformer::from_pretrained(shell_model(name));
  Rows out{.rows = static_cast<int64_t>(texts.size()),
           .dims = options.dims > 0 ? options.dims : model.dims(),
           .max_tokens = static_cast<int64_t>(model.max_seq_length().value_or(0))};
  if (texts.empty()) return out;
  const auto encoded = model.encode(texts, options);
  const at::Tensor vectors = encoded.vectors.contiguous();
  out.dims = vectors.size(1);
  if (!vectors.isfinite().all().item<bool>())
    throw ToolError("the model " + name +
                    " gave values that are no finite numbers: its weights are broken; pull the "
                    "model anew");
  out.data = mcp::base64_encode(std::string_view(
      reinterpret_cast<const char*>(vectors.const_data_ptr<float>()), vectors.nbytes()));
  for (const int64_t n : encoded.tokens) out.tokens += n;
  for (size_t i = 0; i < encoded.truncated.size(); ++i) {
    if (encoded.truncated[i]) out.truncated.push_back(static_cast<int64_t>(i));
  }
  return out;
}

}  // namespace

void expose_shell_embed(Interface& interface) {
  interface.expose_to_shell(
      {.name = kShellEmbed, .description = "Texts to rows of float32, for gpumcp embed."},
      [](const std::string& model, const std::vector<std::string>& texts,
         const std::optional<std::string>& prompt, int64_t dims, const std::string& long_text) {
        return embed(model, texts,
                     {.prompt_name = prompt,
                      .dims = dims,
                      .long_text = long_text == "mean" ? gpu_runtime::LongText::mean
                                                       : gpu_runtime::LongText::truncate});
      },
      arg("model", "Its name, or its folder's absolute path."), arg("texts", "May be none."),
      arg("prompt", "The name of one of the model's prompts."),
      arg("dims", "Only so many values of each row; 0: all.", int64_t{0}).minimum(0),
      arg("long_text", "What becomes of a text beyond max_tokens.", "truncate")
          .one_of({"truncate", "mean"}));
}

}  // namespace gpumcp::interfaces
