// An interface: functions that agents call, with a model behind them. README.md says how to run it.
#include <gpumcp/interface.h>
using namespace gpumcp;
// clang-format off: laid out as the documentation shows it

struct Embedding { std::string text; std::vector<float> embedding; std::vector<float> preview; };
GPUMCP_DESCRIBE(Embedding, text, embedding, preview)

GPUMCP_INTERFACE(model_tools, interface) {
  // The model that `--model NAME` names, else this one; "google/gemma-2-9b" is written the same way.
  auto model_path = interface.get_model_path(interface.default_model("sentence-transformers/all-MiniLM-L6-v2"));
  auto model = AutoModel::from_pretrained(model_path);          // a handle: weights load at the first call
  auto tokenizer = AutoTokenizer::from_pretrained(model_path);

  interface.expose("get_embedding", "Get text embedding from model.",
      [=](const std::string& text) -> Embedding {
        auto inputs = tokenizer(text).to(model.device());
        auto outputs = model(inputs, {.output_hidden_states = true});   // joins the model's queue, so concurrent calls share a batch
        auto embedding = outputs.hidden_states.back().mean(1).squeeze();
        return {text, to_vector(embedding), to_vector(embedding.slice(0, 0, 10))};
      },
      arg("text", "The text to embed."));
}
