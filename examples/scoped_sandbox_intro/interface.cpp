// The functions of interface.py in C++: the model runs in gpumcp's own runtime, with no Python.
#include <gpumcp/interface.h>
using namespace gpumcp;
// clang-format off: laid out as the documentation shows it

struct ModelInfo { int64_t num_layers, hidden_size, vocab_size; std::string device; };
GPUMCP_DESCRIBE(ModelInfo, num_layers, hidden_size, vocab_size, device)
struct Embedding { std::string text; std::vector<float> embedding; std::vector<float> preview; };
GPUMCP_DESCRIBE(Embedding, text, embedding, preview)
struct Comparison { std::string text1, text2; float similarity; };
GPUMCP_DESCRIBE(Comparison, text1, text2, similarity)

GPUMCP_INTERFACE(scoped_intro, interface) {
  auto model_path = interface.get_model_path("google/gemma-2-9b");
  auto model = AutoModel::from_pretrained(model_path);          // a handle: weights load at the first call
  auto tokenizer = AutoTokenizer::from_pretrained(model_path);

  auto embed = [=](const std::string& text) {
    auto inputs = tokenizer(text).to(model.device());
    auto outputs = model(inputs, {.output_hidden_states = true});   // joins the model's queue
    return outputs.hidden_states.back().mean(1).squeeze();
  };

  interface.expose("get_model_info", "Get basic model information.",
      [=]() -> ModelInfo {
        const auto& config = model.config();
        return {config.num_hidden_layers, config.hidden_size, config.vocab_size, model.device().str()};
      });
  interface.expose("get_embedding", "Get text embedding from model.",
      [=](const std::string& text) -> Embedding {
        auto embedding = embed(text);
        return {text, to_vector(embedding), to_vector(embedding.slice(0, 0, 10))};
      },
      arg("text", "The text to embed."));
  interface.expose("compare_embeddings", "Compare embeddings of two texts.",
      [=](const std::string& text1, const std::string& text2) -> Comparison {
        auto one = embed(text1), two = embed(text2);
        return {text1, text2, one.dot(two).div(one.norm().mul(two.norm())).item().toFloat()};
      },
      arg("text1", "One text."), arg("text2", "The other."));
}
