#include "sandbox/runtime_folder.h"

#include <sys/stat.h>

#include <atomic>
#include <fstream>
#include <latch>
#include <thread>
#include <vector>

#include "tests/sandbox/support.h"

namespace gpumcp::sandbox {
namespace {
namespace fs = std::filesystem;

mode_t mode_of(const fs::path& path) {
  struct stat info{};
  REQUIRE(stat(path.c_str(), &info) == 0);
  return info.st_mode & 07777;
}

TEST_CASE("the runtime folder is made private, and a folder open to others is closed") {
  TemporaryRuntime runtime;
  auto folder = RuntimeFolder::open("abc");
  REQUIRE(folder);
  CHECK(folder->path() == runtime.path() / "gpumcp" / "abc");
  CHECK(mode_of(folder->path()) == 0700);
  CHECK(mode_of(folder->path().parent_path()) == 0700);
  REQUIRE(chmod(folder->path().c_str(), 0777) == 0);
  REQUIRE(RuntimeFolder::open("abc"));
  CHECK(mode_of(folder->path()) == 0700);
}

TEST_CASE("a file or a link in the folder's place is refused with the path and the way out") {
  TemporaryRuntime runtime;
  std::ofstream(runtime.path() / "gpumcp") << "in the way";
  auto folder = RuntimeFolder::open("abc");
  REQUIRE_FALSE(folder);
  CHECK(folder.error().message.find((runtime.path() / "gpumcp").string()) != std::string::npos);
  CHECK(folder.error().message.find("XDG_RUNTIME_DIR") != std::string::npos);
  fs::remove(runtime.path() / "gpumcp");
  fs::create_directory(runtime.path() / "elsewhere");
  fs::create_directory_symlink(runtime.path() / "elsewhere", runtime.path() / "gpumcp");
  CHECK_FALSE(RuntimeFolder::open("abc"));
}

TEST_CASE("without XDG_RUNTIME_DIR the folder lies in /tmp under the user's number") {
  unsetenv("XDG_RUNTIME_DIR");
  CHECK(RuntimeFolder::base() == "/tmp/gpumcp-" + std::to_string(geteuid()));
}

TEST_CASE("a connection file reads back as written, is 0600, and a broken one counts as none") {
  TemporaryRuntime runtime;
  auto folder = RuntimeFolder::open("abc");
  REQUIRE(folder);
  CHECK_FALSE(folder->read_connection());
  REQUIRE(folder->write_connection({"unix:/x/y", "secret", 42, "1.2", 1000.5}));
  CHECK(mode_of(folder->path() / "worker.json") == 0600);
  auto read = folder->read_connection();
  REQUIRE(read);
  CHECK(read->address == "unix:/x/y");
  CHECK(read->token == "secret");
  CHECK(read->pid == 42);
  CHECK(read->version == "1.2");
  CHECK(read->started_at == 1000.5);
  for (const char* text :
       {"", "{", "[]", "{\"address\":1,\"pid\":2}", "{\"address\":\"unix:/x\"}"}) {
    std::ofstream(folder->path() / "worker.json", std::ios::trunc) << text;
    CHECK_FALSE(folder->read_connection());
  }
}

TEST_CASE("the lock lets one thread in at a time, also while folders are removed under it") {
  TemporaryRuntime runtime;
  auto folder = RuntimeFolder::open("abc");
  REQUIRE(folder);
  constexpr int kThreads = 8, kRounds = 200;
  std::atomic<int> inside = 0, worst = 0, done = 0;
  std::latch start(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      start.arrive_and_wait();
      for (int i = 0; i < kRounds; ++i) {
        auto lock = folder->lock();
        if (!lock) continue;
        const int now = ++inside;
        worst = std::max(worst.load(), now);
        --inside;
        if (i % 3 == 0) folder->remove(true);  // the last thing under the lock, as a worker does it
        ++done;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(done.load() == kThreads * kRounds);
  CHECK(worst.load() == 1);
}

TEST_CASE("remove() leaves nothing of a sandbox, and list() names the ones that are there") {
  TemporaryRuntime runtime;
  auto folder = RuntimeFolder::open("abc");
  REQUIRE(folder);
  REQUIRE(folder->write_connection({"unix:/x", "", 1, "", 0}));
  std::ofstream(folder->log()) << "one\n";
  REQUIRE(RuntimeFolder::list().size() == 1);
  CHECK(RuntimeFolder::list()[0].key() == "abc");
  folder->remove(false);
  CHECK(fs::exists(folder->log()));
  CHECK_FALSE(folder->read_connection());
  folder->remove(true);
  CHECK_FALSE(fs::exists(folder->path()));
  CHECK(RuntimeFolder::list().empty());
}

TEST_CASE("log_tail() gives whole last lines") {
  TemporaryRuntime runtime;
  auto folder = RuntimeFolder::open("abc");
  REQUIRE(folder);
  CHECK(folder->log_tail().empty());
  std::ofstream(folder->log()) << "first line\nsecond line\nthird\n";
  CHECK(folder->log_tail(14) == "third\n");
  CHECK(folder->log_tail() == "first line\nsecond line\nthird\n");
}

}  // namespace
}  // namespace gpumcp::sandbox
