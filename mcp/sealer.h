// Sealer: makes texts that a client carries for the server and cannot read or change (requestState
// of 2026-07-28 basic/patterns/mrtr; pagination cursors need no seal). AES-256-GCM with a random
// nonce; what a text is bound to (`context`: principal, method, arguments) and when it expires are
// part of what is authenticated. Thread-safe. The key is made when it is first used: starting
// libcrypto takes longer than a server takes to answer its first tools/list.
#pragma once

#include <array>
#include <chrono>
#include <mutex>
#include <string>
#include <string_view>

#include "mcp/result.h"

namespace gpumcp::mcp {

class Sealer {
 public:
  using Clock = std::chrono::system_clock;
  // With a random key: what was sealed by another process cannot be opened. Processes that share
  // clients share a secret, any bytes of at least 32.
  explicit Sealer(std::string_view secret = {});

  std::string seal(std::string_view text, std::string_view context,
                   Clock::time_point expires) const;
  // Error invalid_params: forged, damaged, for another context, or expired.
  Result<std::string> open(std::string_view sealed, std::string_view context,
                           Clock::time_point now = Clock::now()) const;

 private:
  using Key = std::array<unsigned char, 32>;
  const Key& key() const;

  const std::string secret_;
  mutable std::once_flag made_;
  mutable Key key_;
};

// SHA-256 in hexadecimal digits.
std::string sha256_hex(std::string_view bytes);

}  // namespace gpumcp::mcp
