#pragma once

// Bytes as `tokenizers` and GPT-2 write them in a vocabulary: a printable character for each byte
// ("Ġ" for the space), or "<0x0A>". Pure functions, callable from any thread.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace gpumcp::gpu_runtime {

// The byte that a character of a byte-level vocabulary stands for, or -1.
int byte_of_char(std::uint32_t code_point);
// The bytes of a byte-level token; nullopt when one of its characters stands for none.
std::optional<std::string> bytes_of_token(std::string_view token);
// "\n" for "<0x0A>"; nullopt for every other token.
std::optional<unsigned char> byte_of_fallback(std::string_view token);
// Text in which invalid UTF-8 is U+FFFD, as Rust's from_utf8_lossy: one for each longest prefix of
// a character, one for every other byte.
std::string utf8_lossy(std::string_view bytes);

}  // namespace gpumcp::gpu_runtime
