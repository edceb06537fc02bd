#include "gpu_runtime/artifacts.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/gpu_runtime/support.h"

using namespace gpumcp::gpu_runtime;
namespace fs = std::filesystem;
using namespace std::chrono_literals;

namespace {

// A store on a clock that the test moves.
struct Fixture {
  TemporaryFolder folder;
  std::shared_ptr<std::atomic<std::int64_t>> seconds =
      std::make_shared<std::atomic<std::int64_t>>(1'000'000);

  ArtifactStoreOptions options() const {
    ArtifactStoreOptions options;
    options.ttl = 100s;
    options.max_bytes = 1000;
    options.spill_folder = folder / "spill";
    options.clock = [now = seconds] { return ArtifactTime(std::chrono::seconds(now->load())); };
    return options;
  }
};

Artifact artifact_of(std::string bytes, std::string name = "x") {
  Artifact artifact;
  artifact.bytes = std::move(bytes);
  artifact.shape = {1, 2};
  artifact.dtype = "float32";
  artifact.name = std::move(name);
  return artifact;
}

}  // namespace

TEST_CASE("an artifact comes back by id and by URI, with 128 random bits in its name") {
  const Fixture f;
  ArtifactStore store(f.options());
  const ArtifactInfo info = store.put(artifact_of(std::string("a\0b", 3)));
  CHECK(info.uri == "gpumcp://artifacts/" + info.id);
  CHECK(info.id.size() == 32);
  CHECK(info.nbytes == 3);
  CHECK(store.get(info.uri)->bytes == std::string("a\0b", 3));
  CHECK(store.get(info.id)->shape == std::vector<std::int64_t>{1, 2});
  std::set<std::string> ids;
  for (int i = 0; i < 1000; ++i) ids.insert(store.put(artifact_of("")).id);
  CHECK(ids.size() == 1000);
}

TEST_CASE("a TTL runs from the last read, and the message says what it is") {
  const Fixture f;
  ArtifactStore store(f.options());
  const std::string uri = store.put(artifact_of("abc")).uri;
  *f.seconds += 99;
  CHECK(store.get(uri)->bytes == "abc");
  *f.seconds += 99;
  CHECK(store.get(uri)->bytes == "abc");
  *f.seconds += 100;
  const std::string message = message_of(ErrorCode::not_found, [&] { store.get(uri); });
  CHECK(contains(message, uri));
  CHECK(contains(message, "unknown or expired"));
  CHECK(contains(message, "100 s"));
  CHECK(store.stats().expired == 1);
  CHECK(store.stats().nbytes == 0);
  CHECK(store.list().empty());
}

TEST_CASE("the oldest leave when the bytes or the number run out, and held ones stay readable") {
  const Fixture f;
  ArtifactStoreOptions options = f.options();
  options.max_count = 3;
  ArtifactStore store(options);
  const auto first = store.put(artifact_of(std::string(400, 'a'), "first"));
  const auto second = store.put(artifact_of(std::string(400, 'b'), "second"));
  const auto held = store.get(first.id);
  const auto third = store.put(artifact_of(std::string(400, 'c'), "third"));
  message_of(ErrorCode::not_found, [&] { store.get(first.id); });
  CHECK(held->bytes.size() == 400);
  CHECK(store.list().front().name == "third");
  CHECK(store.stats().nbytes == 800);
  store.put(artifact_of("1"));
  store.put(artifact_of("2"));
  message_of(ErrorCode::not_found, [&] { store.get(second.id); });
  CHECK(store.get(third.id)->bytes.size() == 400);
  CHECK(store.stats().evicted == 2);
  CHECK(contains(message_of(ErrorCode::invalid_argument,
                            [&] { store.put(artifact_of(std::string(1001, 'x'))); }),
                 "1001 bytes"));
}

TEST_CASE("what is no id makes no path") {
  const Fixture f;
  ArtifactStore store(f.options());
  const std::string digits(32, 'a');
  CHECK(ArtifactStore::id_of("gpumcp://artifacts/" + digits) == digits);
  for (const std::string& id :
       {std::string(), std::string("../../etc/passwd"), std::string(31, 'a'), std::string(33, 'a'),
        std::string(32, 'A'), std::string(32, '/'), std::string(32, '.'),
        "gpumcp://artifacts/" + digits + "/", "http://artifacts/" + digits,
        "gpumcp://artifacts/gpumcp://artifacts/" + digits, std::string(32, '\0'),
        digits.substr(1) + "\n"}) {
    CAPTURE(id);
    message_of(ErrorCode::invalid_argument, [&] { store.get(id); });
    message_of(ErrorCode::invalid_argument, [&] { store.drop(id); });
  }
}

TEST_CASE("list() tells owners apart, and drop() forgets") {
  const Fixture f;
  ArtifactStore store(f.options());
  Artifact mine = artifact_of("abc", "mine");
  mine.owner = "session-1";
  mine.made_by = "session-2";
  const auto info = store.put(mine);
  store.put(artifact_of("def", "theirs"));
  CHECK(store.list().size() == 2);
  REQUIRE(store.list("session-1").size() == 1);
  CHECK(store.list("session-1")[0].name == "mine");
  CHECK(store.list_made_by("session-1").empty());
  REQUIRE(store.list_made_by("session-2").size() == 1);
  CHECK(store.list_made_by("session-2")[0].id == info.id);
  CHECK(store.drop(info.uri));
  CHECK_FALSE(store.drop(info.uri));
  message_of(ErrorCode::not_found, [&] { store.get(info.id); });
}

TEST_CASE("spilled artifacts are found by the next store, until they expire") {
  const Fixture f;
  std::string early, late;
  {
    ArtifactStore store(f.options());
    early = store.put(artifact_of(std::string("e\0arly", 6), "early")).id;
    *f.seconds += 50;
    late = store.put(artifact_of("late", "late")).id;
    CHECK(store.spill() == 2);
  }
  struct stat status{};
  REQUIRE(::stat((f.folder / "spill").c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0700);
  REQUIRE(::stat((f.folder / ("spill/" + late + ".artifact")).c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);

  *f.seconds += 40;
  ArtifactStore next(f.options());
  const auto artifact = next.get(early);
  CHECK(artifact->bytes == std::string("e\0arly", 6));
  CHECK(artifact->name == "early");
  CHECK(artifact->shape == std::vector<std::int64_t>{1, 2});
  CHECK(artifact->uri == ArtifactStore::uri_of(early));
  *f.seconds += 60;  // late's time on disk is over; early was read 60 s ago
  CHECK(next.get(early)->bytes.size() == 6);
  message_of(ErrorCode::not_found, [&] { next.get(late); });
  CHECK_FALSE(fs::exists(f.folder / ("spill/" + late + ".artifact")));
}

TEST_CASE(
    "expired spill files are removed when a store starts, and a dropped artifact leaves the disk") {
  const Fixture f;
  ArtifactStore store(f.options());
  const std::string kept = store.put(artifact_of("a")).id;
  store.spill();
  CHECK(store.drop(kept));
  CHECK(fs::is_empty(f.folder / "spill"));
  store.put(artifact_of("b"));
  store.spill();
  f.folder.write("spill/garbage.artifact", "GPUMCPA1 but not really");
  *f.seconds += 101;
  const ArtifactStore next(f.options());
  CHECK(fs::is_empty(f.folder / "spill"));
}

TEST_CASE("a caller's list has what an earlier store spilled, newest first and each once") {
  const Fixture f;
  auto made_by = [](std::string who, std::string bytes) {
    Artifact artifact = artifact_of(std::move(bytes), "old");
    artifact.made_by = std::move(who);
    return artifact;
  };
  std::string before;
  {
    ArtifactStore store(f.options());
    before = store.put(made_by("me", "abc")).uri;
    store.put(made_by("another", "x"));
    store.spill();
  }
  ArtifactStore store(f.options());
  REQUIRE(store.list_made_by("me").size() == 1);
  CHECK(store.list_made_by("me")[0].uri == before);
  CHECK(store.list_made_by("me")[0].name == "old");
  CHECK(store.list_made_by("me")[0].nbytes == 3);
  CHECK(store.list_made_by("me")[0].shape == std::vector<std::int64_t>{1, 2});
  ++*f.seconds;
  const std::string after = store.put(made_by("me", "new")).uri;
  store.get(before);  // in memory and on the disk now
  const auto both = store.list_made_by("me");
  REQUIRE(both.size() == 2);
  CHECK(both[0].uri == after);
  CHECK(both[1].uri == before);
  CHECK(store.drop(before));
  CHECK(store.list_made_by("me").size() == 1);
}

TEST_CASE("broken spill files count as absent") {
  const Fixture f;
  ArtifactStore store(f.options());
  const std::string id = store.put(artifact_of(std::string(100, 'a'))).id;
  store.spill();
  const fs::path file = f.folder / ("spill/" + id + ".artifact");
  std::string whole;
  {
    std::ifstream in(file, std::ios::binary);
    whole.assign(std::istreambuf_iterator<char>(in), {});
  }
  const std::string other = std::string(32, 'b');
  ArtifactStore next(f.options());
  for (const std::string& bytes :
       {std::string(), whole.substr(0, 8), whole.substr(0, 40), std::string(300, 'x'),
        std::string("GPUMCPA1\xff\xff\xff\xff", 12), whole}) {
    f.folder.write("spill/" + other + ".artifact",
                   bytes);  // `whole` says that it is another artifact
    message_of(ErrorCode::not_found, [&] { next.get(other); });
  }
  fs::remove(f.folder / ("spill/" + other + ".artifact"));
  fs::create_symlink(file, f.folder / ("spill/" + other + ".artifact"));
  message_of(ErrorCode::not_found, [&] { next.get(other); });
  CHECK(next.get(id)->bytes.size() == 100);
}

TEST_CASE("a spill folder that others can read is refused") {
  const Fixture f;
  fs::create_directory(f.folder / "spill");
  fs::permissions(f.folder / "spill", fs::perms(0755));
  ArtifactStore store(f.options());
  store.put(artifact_of("a"));
  CHECK(contains(message_of(ErrorCode::internal, [&] { store.spill(); }), "0700"));
}

TEST_CASE("threads share a store") {
  const Fixture f;
  ArtifactStore store(f.options());
  std::atomic<int> seen{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 200; ++i) {
          const std::string id = store.put(artifact_of("12345")).id;
          try {
            seen += store.get(id)->bytes == "12345";
          } catch (const Error&) {  // evicted by the others meanwhile
          }
          store.list();
        }
      });
    }
  }
  CHECK(seen > 0);
  CHECK(store.stats().put == 800);
  CHECK(store.stats().nbytes <= 1000);
}
