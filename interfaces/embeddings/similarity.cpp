// similarity and search: which texts or stored vectors are nearest to which, by cosine. The vectors
// stay in the worker; only indices, scores and, where they fit into 1 KB, the beginnings of the
// texts travel.
#include <c10/util/Half.h>

#include <cmath>
#include <cstring>

#include "gpu_runtime/error.h"
#include "gpu_runtime/npy.h"
#include "interfaces/embeddings/vector_output.h"

namespace gpumcp::interfaces {
namespace {

struct Match {
  int64_t index;
  double score;
  std::optional<std::string> text;
};
GPUMCP_DESCRIBE_DOC(Match, (index, "Row in the corpus, from 0; an artifact of n rows counts as n."),
                    (score, "Cosine similarity, -1 to 1, rounded to 6 digits."),
                    (text, "The beginning of the text, where it fits."))

struct Ranked {
  std::string query;
  std::vector<Match> matches;
};
GPUMCP_DESCRIBE_DOC(
    Ranked,
    (query, "The beginning of the query's text, or its URI; empty where there are too many."),
    (matches, "Best first."))

struct Similarity {
  std::vector<Ranked> results;
  int64_t compared;
  std::optional<std::string> all;
};
GPUMCP_DESCRIBE_DOC(Similarity, (results, "One for each query, in order."),
                    (compared, "Rows of the corpus."),
                    (all,
                     "Where not all matches fit here: the tensor of all of them, [query, match, "
                     "(index, score)]."))

struct Found {
  std::vector<Match> matches;
  int64_t compared;
};
GPUMCP_DESCRIBE_DOC(Found, (matches, "Best first."), (compared, "Rows of the corpus."))

constexpr size_t kMaxQueries = 16, kMaxResults = 64;
constexpr size_t kMatchCharacters = 80, kShortCharacters = 24;
constexpr std::string_view kArtifacts = "gpumcp://artifacts/";

// How texts become vectors, on either side; `dims` also cuts what artifacts hold.
struct How {
  gpu_runtime::SentenceEncodeOptions queries, corpus;
};
How how(std::optional<int64_t> dims, std::optional<std::string> prompt,
        std::optional<std::string> corpus_prompt, const std::string& long_text) {
  return {encode_options(dims, std::move(prompt), long_text),
          encode_options(dims, std::move(corpus_prompt), long_text)};
}

// The rows of one argument.
struct Rows {
  Matrix matrix;
  std::vector<std::string> labels;  // of each row: its text or its URI
  std::vector<bool> is_text;
};

template <class T>
void append_floats(std::span<const std::byte> bytes, std::vector<float>& out) {
  for (size_t i = 0; i + sizeof(T) <= bytes.size(); i += sizeof(T)) {
    T value;
    std::memcpy(static_cast<void*>(&value), bytes.data() + i, sizeof value);
    out.push_back(static_cast<float>(value));
  }
}

// The artifact's rows. Throws DecodeError naming the argument's path.
Matrix read_artifact(const Embedder& embedder, const std::string& uri, const mcp::JsonPath& path) {
  using gpu_runtime::Dtype;
  try {
    const auto artifact = embedder.artifacts->get(uri);
    const gpu_runtime::NpyView view = gpu_runtime::read_npy(artifact->bytes, uri);
    if (view.shape.empty() || view.shape.size() > 2 || view.shape.back() == 0 || view.data.empty())
      throw mcp::DecodeError(
          path, "the artifact is no vector and no matrix: its shape must be [d] or [n, d]");
    Matrix out{.dims = static_cast<size_t>(view.shape.back())};
    switch (view.dtype) {
      case Dtype::f32:
        append_floats<float>(view.data, out.values);
        break;
      case Dtype::f64:
        append_floats<double>(view.data, out.values);
        break;
      case Dtype::f16:
        append_floats<c10::Half>(view.data, out.values);
        break;
      default:
        throw mcp::DecodeError(path, "the artifact holds " + std::string(to_string(view.dtype)) +
                                         " values, but float16, float32 or float64 is needed");
    }
    if (const size_t at = find_not_finite(out.values); at != out.values.size())
      throw mcp::DecodeError(
          path, "value " + std::to_string(at) + " of the artifact is not a finite number");
    return out;
  } catch (const gpu_runtime::Error& e) {
    throw mcp::DecodeError(path, e.what());
  }
}

// Appends rows, all of one length.
void append(Rows& rows, const Matrix& more, const std::string& label, bool is_text, size_t dims,
            const mcp::JsonPath& path) {
  if (more.dims != dims)
    throw mcp::DecodeError(path, "its vectors have " + std::to_string(more.dims) +
                                     " values and those before it " + std::to_string(dims) +
                                     ": only vectors of one model can be compared");
  rows.matrix.values.insert(rows.matrix.values.end(), more.values.begin(), more.values.end());
  rows.labels.insert(rows.labels.end(), more.rows(), label);
  rows.is_text.insert(rows.is_text.end(), more.rows(), is_text);
}

bool is_artifact(const std::string& item) { return item.starts_with(kArtifacts); }

// The first `dims` values of each row (0: all). Throws DecodeError where there are fewer.
Matrix cut_rows(Matrix rows, size_t dims, const mcp::JsonPath& path) {
  if (dims == 0 || rows.dims == dims) return rows;
  if (rows.dims < dims)
    throw mcp::DecodeError(path, "its vectors have " + std::to_string(rows.dims) +
                                     " values, fewer than dims " + std::to_string(dims));
  Matrix out{.dims = dims};
  for (size_t i = 0; i < rows.rows(); ++i) {
    const auto row = rows.row(i).first(dims);
    out.values.insert(out.values.end(), row.begin(), row.end());
  }
  return out;
}

// The vectors of all texts in the lists, in order: in one call where both sides are treated alike.
Matrix embed_texts(const Embedder& embedder, const std::vector<std::string>& queries,
                   const std::vector<std::string>& corpus, const How& how) {
  std::vector<std::string> asked, known;
  auto only_texts = [](const std::vector<std::string>& list, std::vector<std::string>& out) {
    for (const std::string& item : list) {
      if (!is_artifact(item)) out.push_back(item);
    }
  };
  const bool alike = how.queries.prompt_name == how.corpus.prompt_name;
  only_texts(queries, asked);
  only_texts(corpus, alike ? asked : known);
  Matrix out = asked.empty() ? Matrix() : embedder.encode(asked, how.queries).matrix;
  if (known.empty()) return out;
  Matrix behind = embedder.encode(known, how.corpus).matrix;
  if (asked.empty()) return behind;
  out.values.insert(out.values.end(), behind.values.begin(), behind.values.end());
  return out;
}

// Both arguments' rows.
std::pair<Rows, Rows> gather(const Embedder& embedder, const std::vector<std::string>& queries,
                             const std::vector<std::string>& corpus, const How& how) {
  const mcp::JsonPath root{nullptr, "arguments"};
  // Artifacts first: a wrong one is told before the model is asked for anything.
  std::vector<Matrix> artifacts;
  auto read_all = [&](const std::vector<std::string>& list, const char* name) {
    const mcp::JsonPath argument{&root, name};
    for (size_t i = 0; i < list.size(); ++i) {
      const mcp::JsonPath path{&argument, {}, i};
      if (is_artifact(list[i]))
        artifacts.push_back(cut_rows(read_artifact(embedder, list[i], path),
                                     static_cast<size_t>(how.queries.dims), path));
    }
  };
  read_all(queries, "queries");
  read_all(corpus, "corpus");
  const Matrix embedded = embed_texts(embedder, queries, corpus, how);

  std::pair<Rows, Rows> out;
  size_t next_text = 0, next_artifact = 0, dims = embedded.dims;
  auto fill = [&](const std::vector<std::string>& list, const char* name, Rows& rows) {
    const mcp::JsonPath argument{&root, name};
    for (size_t i = 0; i < list.size(); ++i) {
      const bool text = !is_artifact(list[i]);
      Matrix one;
      if (text) {
        const auto row = embedded.row(next_text++);
        one = {row.size(), {row.begin(), row.end()}};
      } else {
        one = std::move(artifacts[next_artifact++]);
      }
      if (dims == 0) dims = one.dims;
      append(rows, one, list[i], text, dims, {&argument, {}, i});
    }
    rows.matrix.dims = dims;
  };
  fill(queries, "queries", out.first);
  fill(corpus, "corpus", out.second);
  return out;
}

// Leaves out what is only for reading, until the result is small.
void shorten(Similarity& value) {
  std::vector<std::optional<std::string>*> texts;
  const size_t k = value.results[0].matches.size();
  for (size_t rank = 0; rank < k; ++rank) {  // each query's worst match loses its text first
    for (Ranked& ranked : value.results) texts.push_back(&ranked.matches[rank].text);
  }
  fit_texts(value, texts);
  if (json_size(value) <= kResultBytes) return;
  for (Ranked& ranked : value.results) {
    if (!is_artifact(ranked.query))
      ranked.query = cut_text(ranked.query, kShortCharacters, 4 * kShortCharacters);
  }
}

// What is still too large keeps each query's best matches, and the others behind a URI.
void put_aside(Similarity& value, const Embedder& embedder, const Context& context) {
  shorten(value);
  if (json_size(value) <= kResultBytes) return;
  const size_t k = value.results[0].matches.size();
  Matrix table{.dims = 2};
  for (const Ranked& ranked : value.results) {
    for (const Match& match : ranked.matches) {
      table.values.push_back(static_cast<float>(match.index));
      table.values.push_back(static_cast<float>(match.score));
    }
  }
  const auto queries = static_cast<int64_t>(value.results.size());
  value.all = deliver("ref", table, {queries, static_cast<int64_t>(k), 2}, embedder, context).uri;
  for (Ranked& ranked : value.results) ranked.query.clear();
  size_t left = k;
  fit_result(value, [&] {
    if (left == 1) return false;
    --left;
    for (Ranked& ranked : value.results) ranked.matches.resize(left);
    return true;
  });
}

// All of it, however large.
Similarity similarity(const Embedder& embedder, const std::vector<std::string>& queries,
                      const std::vector<std::string>& corpus, int64_t top_k, const How& how) {
  const mcp::JsonPath root{nullptr, "arguments"};
  const auto [asked, known] = gather(embedder, queries, corpus, how);
  const size_t k = std::min(static_cast<size_t>(top_k), known.matrix.rows());
  if (const size_t n = asked.matrix.rows(); n * k > kMaxResults)
    throw mcp::DecodeError({&root, "top_k"},
                           std::to_string(n) + " queries with " + std::to_string(k) +
                               " matches each are more than the limit of " +
                               std::to_string(kMaxResults) + " matches: ask for fewer");
  Similarity out{.results = {}, .compared = static_cast<int64_t>(known.matrix.rows())};
  for (size_t q = 0; q < asked.matrix.rows(); ++q) {
    Ranked ranked{.query = cut_text(asked.labels[q], kMatchCharacters, 4 * kMatchCharacters)};
    for (const auto& [index, score] : nearest(asked.matrix.row(q), known.matrix, k)) {
      Match match{.index = static_cast<int64_t>(index), .score = std::round(score * 1e6) / 1e6};
      if (known.is_text[index])
        match.text = cut_text(known.labels[index], kMatchCharacters, 4 * kMatchCharacters);
      ranked.matches.push_back(std::move(match));
    }
    out.results.push_back(std::move(ranked));
  }
  return out;
}

// One query of similarity's, without what scores too little.
Found search(const Embedder& embedder, const std::string& query,
             const std::vector<std::string>& corpus, int64_t top_k, double min_score,
             const How& how) {
  Similarity all;
  try {
    all = similarity(embedder, {query}, corpus, top_k, how);
  } catch (const mcp::DecodeError& e) {  // names the argument as it is called here
    std::string said = e.what();
    constexpr std::string_view kTheirs = "arguments.queries[0]";
    if (said.starts_with(kTheirs)) said.replace(0, kTheirs.size(), "arguments.query");
    throw ToolError(said);
  }
  if (all.results.size() != 1)
    throw ToolError("arguments.query: it names " + std::to_string(all.results.size()) +
                    " vectors; search takes one query, similarity several");
  Found out{std::move(all.results[0].matches), all.compared};
  std::erase_if(out.matches, [&](const Match& match) { return match.score < min_score; });
  fit_matches(out, out.matches);
  return out;
}

}  // namespace

void expose_search(Interface& interface, const Embedder& embedder) {
  interface.expose(
      {.name = "search",
       .description = "Semantic search: the texts or stored vectors whose meaning is nearest to a "
                      "query, best first. The corpus may be texts, or artifacts that "
                      "get_embeddings made once and for all; vectors never travel.",
       .annotations = read_only("Semantic search")},
      [embedder](const std::string& query, const std::vector<std::string>& corpus, int64_t top_k,
                 double min_score, std::optional<int64_t> dims,
                 const std::optional<std::string>& prompt,
                 const std::optional<std::string>& corpus_prompt, const std::string& long_text) {
        return search(embedder, query, corpus, top_k, min_score,
                      how(dims, prompt, corpus_prompt, long_text));
      },
      arg("query", "What to look for: a text, or the URI of one vector.").min_length(1),
      arg("corpus", "Where to look: 1 to " + std::to_string(kMaxTexts) +
                        " texts or artifact URIs; one artifact may hold any number of vectors.")
          .min_items(1)
          .max_items(kMaxTexts),
      arg("top_k", "How many matches at most.", int64_t{5}).minimum(1).maximum(20),
      arg("min_score", "Leave out matches with a lower cosine.", -1.0).minimum(-1).maximum(1),
      dims_arg(), prompt_arg("prompt", "for the query's text"),
      prompt_arg("corpus_prompt", "for the corpus' texts"), long_text_arg());
}

void expose_similarity(Interface& interface, const Embedder& embedder) {
  interface.expose(
      {.name = "similarity",
       .description = "Semantic search and comparison: finds which texts of a corpus mean nearly "
                      "the same as each "
                      "query (cosine similarity of embeddings, best first). Takes texts and "
                      "gpumcp://artifacts/ URIs "
                      "of get_embedding and get_embeddings, mixed at will; vectors never travel.",
       .annotations = read_only("Semantic similarity")},
      [embedder](const std::vector<std::string>& queries, const std::vector<std::string>& corpus,
                 int64_t top_k, std::optional<int64_t> dims,
                 const std::optional<std::string>& prompt,
                 const std::optional<std::string>& corpus_prompt, const std::string& long_text,
                 Context& context) {
        Similarity out = similarity(embedder, queries, corpus, top_k,
                                    how(dims, prompt, corpus_prompt, long_text));
        put_aside(out, embedder, context);
        return out;
      },
      arg("queries", "1 to " + std::to_string(kMaxQueries) +
                         " texts or artifact URIs to compare; queries times top_k " + "may be " +
                         std::to_string(kMaxResults) + " at most.")
          .min_items(1)
          .max_items(kMaxQueries),
      arg("corpus", "1 to " + std::to_string(kMaxTexts) +
                        " texts or artifact URIs to search in; one artifact may hold " +
                        "any number of vectors.")
          .min_items(1)
          .max_items(kMaxTexts),
      arg("top_k", "How many matches to return for each query.", int64_t{5})
          .minimum(1)
          .maximum(kMaxResults),
      dims_arg(), prompt_arg("prompt", "for the queries' texts"),
      prompt_arg("corpus_prompt", "for the corpus' texts"), long_text_arg());
}

}  // namespace gpumcp::interfaces
