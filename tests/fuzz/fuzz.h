// What a fuzz target is: one function, LLVMFuzzerTestOneInput. With clang it is linked with
// -fsanitize=fuzzer; with any other compiler replay_main.cpp feeds it the corpus and mutations of
// it, so that it runs as a plain test.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

// A property that must hold for every input; checked in release builds too.
#define FUZZ_CHECK(condition)                                                            \
  do {                                                                                   \
    if (!(condition)) {                                                                  \
      std::fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                      \
    }                                                                                    \
  } while (false)
