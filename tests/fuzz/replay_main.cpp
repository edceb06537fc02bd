// Runs a fuzz target without a fuzzer: every line of the corpus files (\N newline, \R return, \XNN
// a byte), and a fixed number of mutations of each, from a fixed seed. Usage: target [--mutations
// N] FILE…
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "tests/fuzz/fuzz.h"

namespace {

std::string unescape(const std::string& line) {
  std::string out;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] != '\\' || i + 1 == line.size()) {
      out += line[i];
      continue;
    }
    switch (line[++i]) {
      case 'N':
        out += '\n';
        break;  // capital, since \n is a JSON escape that inputs use
      case 'R':
        out += '\r';
        break;
      case 'X':
        out += static_cast<char>(std::stoi(line.substr(i + 1, 2), nullptr, 16));
        i += 2;
        break;
      default:
        (out += '\\') += line[i];
    }
  }
  return out;
}

// What runs now, so that a failed check can show its input in the corpus's own spelling.
const std::string* running = nullptr;

void show_running(int) {
  std::fputs("the input was: ", stderr);
  for (const char c : running ? *running : std::string()) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7F)
      std::fprintf(stderr, "\\X%02X", byte);
    else
      std::fputc(c, stderr);
  }
  std::fputc('\n', stderr);
}

void run(const std::string& input) {
  running = &input;
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
}

}  // namespace

int main(int argc, char** argv) {
  int mutations = 200;
  std::vector<std::string> inputs;
  for (int i = 1; i < argc; ++i) {
    if (!std::strcmp(argv[i], "--mutations") && i + 1 < argc) {
      mutations = std::atoi(argv[++i]);
      continue;
    }
    std::ifstream file(argv[i]);
    if (!file) {
      std::cerr << argv[i] << ": cannot be read\n";
      return 1;
    }
    for (std::string line; std::getline(file, line);) inputs.push_back(unescape(line));
  }
  if (inputs.empty()) {
    std::cerr << "no inputs\n";
    return 1;
  }
  std::signal(SIGABRT, show_running);
  std::mt19937 random(1);
  const std::string interesting = "{}[]\",:\\0e.-\n\r\x80\xC3\xFF ";
  size_t count = 0;
  for (const std::string& input : inputs) {
    run(input);
    ++count;
    for (int m = 0; m < mutations; ++m, ++count) {
      std::string text = input;
      for (unsigned edits = 1 + random() % 4; edits > 0; --edits) {
        const size_t at = text.empty() ? 0 : random() % text.size();
        switch (random() % 4) {
          case 0:
            text.insert(at, 1, interesting[random() % interesting.size()]);
            break;
          case 1:
            if (!text.empty()) text[at] = static_cast<char>(random());
            break;
          case 2:
            if (!text.empty()) text.erase(at, 1 + random() % 8);
            break;
          default: {
            const std::string& other = inputs[random() % inputs.size()];
            if (!other.empty())
              text.insert(at, other.substr(random() % other.size(), 1 + random() % 32));
          }
        }
      }
      run(text);
    }
  }
  std::cout << count << " inputs held\n";
  return 0;
}
