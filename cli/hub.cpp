#include "cli/hub.h"

#include <fmt/format.h>
#include <httplib.h>
#include <openssl/evp.h>
#include <poll.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <regex>
#include <stdexcept>

#include "cli/command.h"
#include "cli/shell_worker.h"
#include "mcp/json.h"

namespace gpumcp::cli {
namespace fs = std::filesystem;
namespace {

constexpr size_t kMaxFiles = 2000, kMaxListing = 16u << 20;
constexpr int kTries = 5, kRedirects = 8;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

struct Url {
  std::string base, path;  // "https://host:port", "/a?b"
};

std::optional<Url> split_url(const std::string& url) {
  static const std::regex form(R"((https?://[A-Za-z0-9.\-_:\[\]]+)(/.*)?)");
  std::smatch match;
  if (!std::regex_match(url, match, form)) return {};
  return Url{match[1], match[2].length() > 0 ? match[2].str() : "/"};
}

std::string host_of(const std::string& base) { return base.substr(base.find("://") + 3); }

// $https_proxy and the like, as curl reads them.
void use_proxy(httplib::Client& client, const std::string& base) {
  const bool https = base.starts_with("https:");
  std::string proxy = environment(https ? "https_proxy" : "http_proxy");
  if (proxy.empty() && https) proxy = environment("HTTPS_PROXY");
  if (proxy.empty()) return;
  std::string host = host_of(base);
  host = host.substr(0, host.find(':'));
  std::string none = environment("no_proxy");
  if (none.empty()) none = environment("NO_PROXY");
  for (size_t at = 0; at < none.size();) {
    const size_t end = std::min(none.find(',', at), none.size());
    std::string one = none.substr(at, end - at);
    one.erase(0, one.find_first_not_of(" ."));
    if (!one.empty() && (one == "*" || host == one || host.ends_with("." + one))) return;
    at = end + 1;
  }
  static const std::regex form(R"((?:http://)?(?:([^:@/]*):([^@/]*)@)?([^:/@]+):(\d+)/?)");
  std::smatch match;
  if (!std::regex_match(proxy, match, form)) return;
  client.set_proxy(match[3].str(), std::atoi(match[4].str().c_str()));
  if (match[1].matched) client.set_proxy_basic_auth(match[1].str(), match[2].str());
}

std::unique_ptr<httplib::Client> connect(const std::string& base) {
  auto client = std::make_unique<httplib::Client>(base);
  client->set_connection_timeout(30);
  client->set_read_timeout(60);
  client->set_follow_location(false);  // a token must not follow to another host
  use_proxy(*client, base);
  return client;
}

// What a redirect names: another host's URL, or a path of this one.
std::string target_of(const Url& from, const std::string& location) {
  if (location.starts_with("http://") || location.starts_with("https://")) return location;
  return from.base + (location.starts_with('/') ? "" : "/") + location;
}

// slash: whether "/" stays as it is.
std::string encode_path(const std::string& path, bool slash = true) {
  std::string out;
  for (const char c : path) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) || (slash && c == '/') ||
                       c == '-' || c == '_' || c == '.' || c == '~';
    out += plain ? std::string(1, c)
                 : fmt::format("%{:02X}", static_cast<unsigned>(static_cast<unsigned char>(c)));
  }
  return out;
}

// A digest in the making.
class Digest {
 public:
  explicit Digest(const HubFile& file) : context_(EVP_MD_CTX_new(), &EVP_MD_CTX_free) {
    const bool lfs = !file.sha256.empty();
    EVP_DigestInit_ex(context_.get(), lfs ? EVP_sha256() : EVP_sha1(), nullptr);
    if (!lfs) {
      const std::string head = fmt::format("blob {}", file.size);
      add(std::string_view(head.c_str(), head.size() + 1));
    }
  }
  void add(std::string_view bytes) { EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()); }
  std::string hex() {
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    EVP_DigestFinal_ex(context_.get(), bytes, &size);
    std::string out;
    for (unsigned i = 0; i < size; ++i) out += fmt::format("{:02x}", bytes[i]);
    return out;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

std::string digest_of(const fs::path& path, const HubFile& file) {
  Digest digest(file);
  std::ifstream in(path, std::ios::binary);
  std::string chunk(1u << 20, '\0');
  while (in.read(chunk.data(), static_cast<std::streamsize>(chunk.size())) || in.gcount() > 0)
    digest.add({chunk.data(), static_cast<size_t>(in.gcount())});
  return digest.hex();
}

bool is_hex(const std::string& text, size_t size) {
  return text.size() == size && text.find_first_not_of("0123456789abcdef") == text.npos;
}

std::string text_member(const mcp::Json& json, const char* key) {
  const auto it = json.find(key);
  return it != json.end() && it->is_string() ? it->get<std::string>() : "";
}

bool is_safe_path(const std::string& path) {
  static const std::regex form(R"(([A-Za-z0-9_][A-Za-z0-9._\-]*/)?[A-Za-z0-9_][A-Za-z0-9._\-]*)");
  return path.size() < 200 && std::regex_match(path, form);
}

}  // namespace

HubOptions HubOptions::from_environment() {
  HubOptions options;
  if (const std::string endpoint = environment("HF_ENDPOINT"); !endpoint.empty())
    options.endpoint = endpoint;
  while (options.endpoint.ends_with('/')) options.endpoint.pop_back();
  options.token = environment("HF_TOKEN");
  if (options.token.empty()) {
    const std::string home = environment("HF_HOME");
    std::ifstream file(home.empty() ? fs::path(environment("HOME")) / ".cache/huggingface/token"
                                    : fs::path(home) / "token");
    std::getline(file, options.token);
  }
  if (options.token.find_first_of("\r\n") != options.token.npos)
    throw std::invalid_argument("HF_TOKEN: a token is one line");
  return options;
}

Hub::Hub(HubOptions options, const Interrupt& interrupt)
    : options_(std::move(options)), interrupt_(interrupt) {
  const auto url = split_url(options_.endpoint);
  if (!url)
    throw std::invalid_argument(
        fmt::format("HF_ENDPOINT {}: is no URL of the form http(s)://HOST[:PORT]",
                    options_.endpoint.substr(0, 200)));
#ifndef CPPHTTPLIB_OPENSSL_SUPPORT
  if (url->base.starts_with("https:"))
    throw std::invalid_argument("this build's HTTP library has no TLS: it reaches no https hub");
#endif
}

void Hub::wait(double seconds) const {
  pollfd fd = {interrupt_.fd(), POLLIN, 0};
  poll(&fd, 1, static_cast<int>(seconds * 1000));
  if (interrupt_.raised()) throw ShellExit{kInterrupted, ""};
}

HubModel Hub::model(const std::string& name, const std::string& revision) {
  std::string url = fmt::format("{}/api/models/{}/revision/{}?blobs=true", options_.endpoint,
                                encode_path(name), encode_path(revision, false));
  bool own_host = true;
  std::string problem;
  for (int tries = 0, redirects = 0; tries < kTries;) {
    const auto at = split_url(url);
    if (!at) throw ShellExit{kUnreachable, fmt::format("the hub leads to {}, no URL", url)};
    auto client = connect(at->base);
    httplib::Headers headers = {{"User-Agent", "gpumcp/" GPUMCP_VERSION}};
    if (own_host && !options_.token.empty())
      headers.emplace("Authorization", "Bearer " + options_.token);
    std::string body;
    auto answer = client->Get(at->path, headers, [&](const char* data, size_t size) {
      body.append(data, size);
      return body.size() < kMaxListing && !interrupt_.raised();
    });
    if (interrupt_.raised()) throw ShellExit{kInterrupted, ""};
    if (!answer || answer->status >= 500 || answer->status == 429) {
      problem = answer ? fmt::format("it answers {}", answer->status)
                       : httplib::to_string(answer.error());
      wait(++tries < kTries ? 0.5 * tries : 0);
      continue;
    }
    if (answer->status >= 300 && answer->status < 400) {
      if (++redirects > kRedirects)
        throw ShellExit{kUnreachable, fmt::format("{}: redirects without end", options_.endpoint)};
      url = target_of(*at, answer->get_header_value("Location"));
      own_host = own_host && split_url(url) && split_url(url)->base == at->base;
      continue;
    }
    if (answer->status == 401 || answer->status == 403 || answer->status == 404) {
      throw ShellExit{
          kToolError,
          answer->status == 404
              ? fmt::format("{} has no model {}{}", options_.endpoint, name,
                            revision == "main" ? "" : " with the revision " + revision)
              : fmt::format(
                    "{} does not give {} to {} (status {}): the name may be wrong, or the model "
                    "private or behind a licence. Accept it at {}/{}, and set HF_TOKEN to a token "
                    "of {}/settings/tokens",
                    options_.endpoint, name,
                    options_.token.empty() ? "callers without a token" : "your token",
                    answer->status, options_.endpoint, name, options_.endpoint)};
    }
    auto json = mcp::parse_json(body);
    if (answer->status != 200 || !json || !json->is_object())
      throw ShellExit{kUnreachable, fmt::format("{} answers {} and no list of files: is it a "
                                                "Hugging Face hub?",
                                                options_.endpoint, answer->status)};
    HubModel model{.revision = text_member(*json, "sha")};
    if (!is_hex(model.revision, 40))
      throw ShellExit{kUnreachable, "the hub names no commit for the model"};
    const auto files = json->find("siblings");
    if (files == json->end() || !files->is_array() || files->size() > kMaxFiles)
      throw ShellExit{kUnreachable, "the hub gives no list of the model's files"};
    for (const mcp::Json& one : *files) {
      if (!one.is_object()) continue;
      HubFile file{.path = text_member(one, "rfilename")};
      if (!is_safe_path(file.path)) continue;
      if (const auto size = one.find("size"); size != one.end() && size->is_number_unsigned())
        file.size = size->get<uint64_t>();
      file.blob_sha1 = text_member(one, "blobId");
      if (const auto lfs = one.find("lfs"); lfs != one.end() && lfs->is_object()) {
        file.sha256 = text_member(*lfs, "sha256");
        if (const auto size = lfs->find("size"); size != lfs->end() && size->is_number_unsigned())
          file.size = size->get<uint64_t>();
      }
      if (!is_hex(file.sha256, 64)) file.sha256.clear();
      if (!is_hex(file.blob_sha1, 40)) file.blob_sha1.clear();
      model.files.push_back(std::move(file));
    }
    return model;
  }
  throw ShellExit{kUnreachable,
                  fmt::format("{} cannot be reached: {}. Check the network, HF_ENDPOINT, "
                              "https_proxy and SSL_CERT_FILE",
                              options_.endpoint, problem)};
}

// One request for a file. `again`: another may succeed.
struct Hub::Attempt {
  bool done = false, again = false;
  std::string problem;
};

Hub::Attempt Hub::fetch_once(std::string url, const HubFile& file, const fs::path& part,
                             const std::function<void(uint64_t)>& progress) {
  std::error_code error;
  bool own_host = true;
  for (int redirects = 0; redirects <= kRedirects; ++redirects) {
    const auto at = split_url(url);
    if (!at) return {.problem = "the hub leads to a place that is no URL"};
    uint64_t have = fs::exists(part, error) ? fs::file_size(part, error) : 0;
    if (have > file.size) {
      fs::remove(part, error);
      have = 0;
    }
    if (have == file.size && have > 0) return {.done = true};
    auto client = connect(at->base);
    httplib::Headers headers = {{"User-Agent", "gpumcp/" GPUMCP_VERSION},
                                {"Accept-Encoding", "identity"}};
    if (own_host && !options_.token.empty())
      headers.emplace("Authorization", "Bearer " + options_.token);
    if (have > 0) headers.emplace("Range", fmt::format("bytes={}-", have));

    std::FILE* out = nullptr;
    int status = 0;
    std::string location, why;
    auto answer = client->Get(
        at->path, headers,
        [&](const httplib::Response& response) {
          status = response.status;
          location = response.get_header_value("Location");
          if (status != 200 && status != 206) return true;
          if (status == 200) have = 0;  // no ranges here: from the start
          out = std::fopen(part.c_str(), status == 200 ? "wb" : "ab");
          if (!out) why = fmt::format("cannot write {}: {}", part.string(), std::strerror(errno));
          return out != nullptr;
        },
        [&](const char* data, size_t size) {
          if (interrupt_.raised()) return false;
          if (!out) return true;  // the body of an error
          have += size;
          if (have > file.size)
            why = "it sends more bytes than the file has";
          else if (std::fwrite(data, 1, size, out) != size)
            why = fmt::format("cannot write {}: {}", part.string(), std::strerror(errno));
          progress(have);
          return why.empty();
        });
    if (out && std::fclose(out) != 0 && why.empty())
      why = fmt::format("cannot write {}: {}", part.string(), std::strerror(errno));
    if (interrupt_.raised()) throw ShellExit{kInterrupted, ""};
    if (!why.empty()) return {.problem = why};
    if (!answer && status == 0)
      return {.again = true, .problem = httplib::to_string(answer.error())};
    if (status >= 300 && status < 400) {
      url = target_of(*at, location);
      own_host = own_host && split_url(url) && split_url(url)->base == at->base;
      continue;
    }
    if (status == 416) {
      fs::remove(part, error);
      return {.again = true, .problem = "it refused to go on where the last try ended"};
    }
    if (status != 200 && status != 206)
      return {.again = status >= 500 || status == 429,
              .problem = fmt::format("it answers {}", status)};
    if (have == file.size) {
      if (have == 0) std::ofstream(part, std::ios::binary).flush();
      return {.done = true};
    }
    return {.again = true,
            .problem = fmt::format("it ended after {} of {} bytes", have, file.size)};
  }
  return {.problem = "redirects without end"};
}

void Hub::download(const std::string& name, const std::string& revision, const HubFile& file,
                   const fs::path& to, const std::function<void(uint64_t)>& progress) {
  const fs::path part = to.string() + ".part";
  const std::string url = fmt::format("{}/{}/resolve/{}/{}", options_.endpoint, encode_path(name),
                                      revision, encode_path(file.path));
  std::error_code error;
  fs::create_directories(to.parent_path(), error);
  Attempt attempt;
  uint64_t before = 0;
  for (int tries = 0; tries < kTries; ++tries) {
    attempt = fetch_once(url, file, part, progress);
    if (attempt.done || !attempt.again) break;
    // What moved on does not count as a failure.
    const uint64_t now = fs::exists(part, error) ? fs::file_size(part, error) : 0;
    if (now > before) tries = 0;
    before = now;
    if (tries + 1 < kTries) wait(0.5 * (tries + 1));
  }
  if (!attempt.done)
    throw ShellExit{kUnreachable,
                    fmt::format("{}: {}. What arrived is kept: the same command goes on from there",
                                file.path, attempt.problem)};
  const std::string& expected = file.sha256.empty() ? file.blob_sha1 : file.sha256;
  if (!expected.empty()) {
    const std::string got = digest_of(part, file);
    if (got != expected) {
      fs::remove(part, error);
      throw ShellExit{
          kToolError,
          fmt::format("{}: has {} {}, not {}: it was damaged on its way and is removed; "
                      "run the same command again",
                      file.path, file.sha256.empty() ? "git id" : "sha256", got, expected)};
    }
  }
  fs::rename(part, to);
}

std::vector<HubFile> wanted_files(const std::vector<HubFile>& all) {
  static const std::regex root(
      R"(model\.safetensors|model-\d{5}-of-\d{5}\.safetensors|[^/]*\.json|vocab\.txt|merges\.txt|chat_template\.jinja)");
  static const std::regex module(R"(\d+_[A-Za-z]+/(model\.safetensors|[^/]*\.json))");
  std::vector<HubFile> out;
  for (const HubFile& file : all) {
    if (std::regex_match(file.path, root) || std::regex_match(file.path, module))
      out.push_back(file);
  }
  // The small ones first: what is wrong with them shows before the weights come.
  std::ranges::stable_sort(out, {}, &HubFile::size);
  return out;
}

}  // namespace gpumcp::cli
