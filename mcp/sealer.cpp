#include "mcp/sealer.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <cstring>
#include <memory>
#include <stdexcept>

#include "mcp/protocol.h"

namespace gpumcp::mcp {
namespace {

// The layout before Base64: nonce, expiry (big endian seconds), ciphertext, tag.
constexpr size_t kNonce = 12, kExpiry = 8, kTag = 16;

using Cipher = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;
Cipher make_cipher() { return {EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free}; }

const unsigned char* bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}
unsigned char* bytes(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }
void check(int ok) {
  if (ok != 1) throw std::runtime_error("libcrypto failed");
}

std::array<unsigned char, 32> sha256(std::string_view text) {
  std::array<unsigned char, 32> out;
  check(EVP_Digest(text.data(), text.size(), out.data(), nullptr, EVP_sha256(), nullptr));
  return out;
}

}  // namespace

Sealer::Sealer(std::string_view secret) : secret_(secret) {
  if (!secret.empty() && secret.size() < 32)
    throw std::invalid_argument(
        fmt::format("the state secret has {} bytes; at least 32 are needed", secret.size()));
}

const Sealer::Key& Sealer::key() const {
  std::call_once(made_, [&] {
    if (secret_.empty())
      check(RAND_bytes(key_.data(), static_cast<int>(key_.size())));
    else
      key_ = sha256(secret_);
  });
  return key_;
}

std::string Sealer::seal(std::string_view text, std::string_view context,
                         Clock::time_point expires) const {
  std::string out(kNonce + kExpiry + text.size() + kTag, '\0');
  check(RAND_bytes(bytes(out), kNonce));
  const auto seconds = static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::seconds>(expires.time_since_epoch()).count());
  for (size_t i = 0; i < kExpiry; ++i)
    out[kNonce + i] = static_cast<char>(seconds >> (8 * (kExpiry - 1 - i)));
  auto cipher = make_cipher();
  int n = 0;
  check(EVP_EncryptInit_ex(cipher.get(), EVP_aes_256_gcm(), nullptr, key().data(), bytes(out)));
  check(EVP_EncryptUpdate(cipher.get(), nullptr, &n, bytes(out) + kNonce, kExpiry));
  check(EVP_EncryptUpdate(cipher.get(), nullptr, &n, bytes(context),
                          static_cast<int>(context.size())));
  check(EVP_EncryptUpdate(cipher.get(), bytes(out) + kNonce + kExpiry, &n, bytes(text),
                          static_cast<int>(text.size())));
  check(EVP_EncryptFinal_ex(cipher.get(), bytes(out) + kNonce + kExpiry + text.size(), &n));
  check(EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_GCM_GET_TAG, kTag,
                            bytes(out) + kNonce + kExpiry + text.size()));
  return base64_encode(out);
}

Result<std::string> Sealer::open(std::string_view sealed, std::string_view context,
                                 Clock::time_point now) const {
  const auto refuse = [] {
    return fail(ErrorCode::invalid_params,
                "params.requestState: not one of this server's for this request, or changed on "
                "the way; send it back as it was, or start again without it");
  };
  auto raw = base64_decode(sealed);
  if (!raw || raw->size() < kNonce + kExpiry + kTag) return refuse();
  const size_t size = raw->size() - kNonce - kExpiry - kTag;
  std::string out(size, '\0');
  auto cipher = make_cipher();
  int n = 0;
  check(EVP_DecryptInit_ex(cipher.get(), EVP_aes_256_gcm(), nullptr, key().data(), bytes(*raw)));
  check(EVP_DecryptUpdate(cipher.get(), nullptr, &n, bytes(*raw) + kNonce, kExpiry));
  check(EVP_DecryptUpdate(cipher.get(), nullptr, &n, bytes(context),
                          static_cast<int>(context.size())));
  check(EVP_DecryptUpdate(cipher.get(), bytes(out), &n, bytes(*raw) + kNonce + kExpiry,
                          static_cast<int>(size)));
  check(EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_GCM_SET_TAG, kTag,
                            bytes(*raw) + kNonce + kExpiry + size));
  unsigned char rest[16];
  if (EVP_DecryptFinal_ex(cipher.get(), rest, &n) != 1) return refuse();
  uint64_t seconds = 0;
  for (size_t i = 0; i < kExpiry; ++i)
    seconds = seconds << 8 | static_cast<unsigned char>((*raw)[kNonce + i]);
  if (now >= Clock::time_point(std::chrono::seconds(seconds)))
    return fail(ErrorCode::invalid_params,
                "params.requestState: has expired; start again without it");
  return out;
}

std::string sha256_hex(std::string_view text) {
  std::string out;
  for (unsigned char byte : sha256(text)) out += fmt::format("{:02x}", byte);
  return out;
}

}  // namespace gpumcp::mcp
