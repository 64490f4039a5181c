// Downloads from a server that has every fault a network can have.
#include <chrono>
#include <future>
#include <set>
#include <thread>

#include <fcntl.h>
#include <sys/file.h>

#include <arkit/log.h>

#include "../small_disk.h"
#include "hub_testing.h"

namespace arkit::hub {
namespace fs = std::filesystem;
namespace {

using testing::contains;
using testing::HubTest;
using testing::read_all;
using testing::refusal;

constexpr const char* kFile = "model.safetensors";

class Transfer : public HubTest {
 protected:
  // Under a final name lies the whole content or nothing.
  void expect_nothing_wrong() const {
    for (const fs::path& path : files()) {
      const std::string name = path.filename().string();
      if (name == kFile || name.size() == 64) {
        EXPECT_EQ(read_all(path), weights) << path;
      }
    }
  }
  [[nodiscard]] std::string fails(ErrorCode code) {
    const std::string message = refusal(code, [&] { (void)fetch(kFile); });
    expect_nothing_wrong();
    EXPECT_TRUE(contains(message, "model 'org/tiny': 'model.safetensors'")) << message;
    return message;
  }
};

TEST_F(Transfer, PutsFilesWhereHuggingfaceHubLooks) {
  const fs::path file = fetch(kFile);
  EXPECT_EQ(read_all(file), weights);
  const fs::path repo_folder = settings.cache / "models--org--tiny";
  EXPECT_EQ(file.parent_path().parent_path(), repo_folder / "snapshots");
  EXPECT_EQ(read_all(repo_folder / "refs/main"), file.parent_path().filename());
  ASSERT_TRUE(fs::is_symlink(file));
  const fs::path target = fs::read_symlink(file);
  EXPECT_EQ(target.parent_path(), "../../blobs");
  EXPECT_EQ(target.filename().string().size(), 64u);
  EXPECT_EQ(fs::read_symlink(fetch("config.json")).filename().string().size(), 40u);
  EXPECT_TRUE(fs::exists(settings.cache / ".locks/models--org--tiny" / (target.filename().string() + ".lock")));
  EXPECT_TRUE(files(".incomplete").empty());
  server.forget_requests();
  EXPECT_EQ(fetch(kFile), file);
  EXPECT_TRUE(server.requests(kFile).empty());  // it is there
}

TEST_F(Transfer, NeverShowsTheTokenToAnotherHost) {
  settings.token = testing::kToken;
  server.set_faults(R"({"private": ["org/tiny"]})");
  EXPECT_EQ(read_all(fetch(kFile)), weights);
  bool elsewhere = false;
  for (const json::Object& request : server.requests()) {
    const bool is_hub = request.at("host") == "hub";
    EXPECT_EQ(request.at("token").as_bool(), is_hub) << json::dump(request);
    elsewhere = elsewhere || !is_hub;
  }
  EXPECT_TRUE(elsewhere);
}

TEST_F(Transfer, CopiesWhereLinksAreNotWanted) {
  settings.symlinks = false;
  const fs::path file = fetch(kFile);
  EXPECT_FALSE(fs::is_symlink(file));
  EXPECT_EQ(read_all(file), weights);
  EXPECT_TRUE(files("blobs").empty());
}

TEST_F(Transfer, TakesABlobThatIsThere) {
  const fs::path file = fetch(kFile);
  fs::remove(file);
  server.forget_requests();
  EXPECT_EQ(read_all(fetch(kFile)), weights);
  EXPECT_TRUE(server.requests(kFile).empty());
}

// What others left cut short under a final name is not taken for whole.
TEST_F(Transfer, ReplacesABlobThatIsTooShort) {
  const fs::path file = fetch(kFile);
  fs::resize_file(fs::canonical(file), 100);
  EXPECT_EQ(read_all(fetch(kFile)), weights);
}

// One run for each offset: it breaks, nothing wrong has a final name, what came is kept; the next goes on there.
TEST_F(Transfer, SurvivesTwoHundredBrokenConnections) {
  settings.tries = 1;
  std::mt19937 random(7);
  for (int i = 0; i < 200; ++i) {
    const auto offset = i < 100 ? static_cast<size_t>(i) : random() % weights.size();
    fs::remove_all(settings.cache / "models--org--tiny/blobs");
    fs::remove_all(settings.cache / "models--org--tiny/snapshots");
    server.set_faults(str(R"({"break": {"model.safetensors": [)", offset, "]}}"));
    EXPECT_TRUE(contains(fails(ErrorCode::resource), "what came is kept"));
    const auto left = files(".incomplete");
    ASSERT_EQ(left.size(), 1u);
    EXPECT_EQ(read_all(left.front()), weights.substr(0, offset));
    server.set_faults("{}");
    server.forget_requests();
    ASSERT_EQ(read_all(fetch(kFile)), weights) << offset;
    const auto asked = server.requests(kFile);
    ASSERT_EQ(asked.size(), 2u);  // the hub, and the host it redirects to
    if (offset > 0) {
      EXPECT_EQ(asked.back().at("range").as_string(), str("bytes=", offset, "-"));
    }
    EXPECT_TRUE(files(".incomplete").empty());
  }
}

TEST_F(Transfer, GoesOnWithinOneRun) {
  server.set_faults(R"({"break": {"model.safetensors": [100, 0, 7, 0, 1000, 1, 1, 1, 1, 1, 1, 1, 1]}})");
  EXPECT_EQ(read_all(fetch(kFile)), weights);
}

TEST_F(Transfer, StartsAgainWhereThereAreNoRanges) {
  server.set_faults(R"({"no_ranges": true, "break": {"model.safetensors": [3000]}})");
  EXPECT_EQ(read_all(fetch(kFile)), weights);
}

TEST_F(Transfer, DoesNotKeepAWrongContent) {
  server.set_faults(R"({"wrong": {"model.safetensors": 1000}})");
  const std::string message = fails(ErrorCode::resource);
  EXPECT_TRUE(contains(message, "does not have the hash it lists")) << message;
  for (const fs::path& left : files(".incomplete")) EXPECT_EQ(fs::file_size(left), 0u);
  server.set_faults(R"({"wrong": {"model.safetensors": 1, "config.json": 1}})");
  EXPECT_EQ(read_all(fetch(kFile)), weights);  // the second time
  EXPECT_EQ(read_all(fetch("config.json")), "{\"model_type\": \"llama\"}");
}

// What an earlier run left is wrong: it is thrown away, and the hub is not blamed.
TEST_F(Transfer, DoesNotTrustWhatIsIncomplete) {
  settings.tries = 1;
  server.set_faults(R"({"break": {"model.safetensors": [2000]}})");
  (void)fails(ErrorCode::resource);
  testing::write_all(files(".incomplete").front(), std::string(2000, 'x'));
  EXPECT_EQ(read_all(fetch(kFile)), weights);
  fs::remove_all(settings.cache);
  server.set_faults(R"({"break": {"model.safetensors": [2000]}})");
  (void)fails(ErrorCode::resource);
  testing::write_all(files(".incomplete").front(), weights + "more");
  EXPECT_EQ(read_all(fetch(kFile)), weights);
}

TEST_F(Transfer, RefusesAFileThatIsNotAsLongAsListed) {
  server.set_faults(R"({"grow": {"model.safetensors": 10}})");
  std::string message = fails(ErrorCode::resource);
  EXPECT_TRUE(contains(message, "sends a file of 5000 bytes where it lists 4990")) << message;
  fs::remove_all(settings.cache);
  server.set_faults(R"({"grow": {"model.safetensors": -10}})");
  message = fails(ErrorCode::resource);
  EXPECT_TRUE(contains(message, "sends a file of 5000 bytes where it lists 5010")) << message;
}

TEST_F(Transfer, WaitsForSlowHosts) {
  server.set_faults(R"({"drip": {"model.safetensors": [500, 0.05]}})");
  EXPECT_EQ(read_all(fetch(kFile)), weights);
}

TEST_F(Transfer, WaitsAsLongAsTheHubAsks) {
  server.set_faults(R"({"status": {"model.safetensors": [429, 1, {"Retry-After": "1"}]}})");
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(read_all(fetch(kFile)), weights);
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::seconds(1));
  EXPECT_TRUE(heard.said("answers 429 and asks to wait 1 s; waiting")) << heard.all;
}

TEST_F(Transfer, DoesNotWaitForever) {
  server.set_faults(R"({"status": {"model.safetensors": [429, 1, {"Retry-After": "86400"}]}})");
  EXPECT_TRUE(contains(fails(ErrorCode::resource), "asks to wait 86400 s"));
  server.set_faults(R"({"status": {"model.safetensors": [429, 100, {}]}})");
  EXPECT_TRUE(contains(fails(ErrorCode::resource), "answers 429 (too many requests) to 6 tries"));
}

TEST_F(Transfer, TriesAgainAfterErrorsOfTheServer) {
  for (const int status : {500, 502, 503, 504, 408}) {
    fs::remove_all(settings.cache);
    server.set_faults(
        str(R"({"status": {"model.safetensors": [)", status, R"(, 3, {}], "/main": [)", status, ", 2, {}]}}"));
    EXPECT_EQ(read_all(fetch(kFile)), weights) << status;
    EXPECT_TRUE(heard.said(str("answers ", status, "; trying again in 1 s"))) << heard.all;
  }
  fs::remove_all(settings.cache);
  server.set_faults(R"({"status": {"model.safetensors": [503, 1000, {}]}})");
  EXPECT_TRUE(contains(fails(ErrorCode::resource), "answers 503 to 6 tries"));
  server.set_faults(R"({"status": {"model.safetensors": [418, 1, {}]}})");
  EXPECT_TRUE(contains(fails(ErrorCode::resource), "answers 418, which is not understood"));
}

TEST_F(Transfer, RefusesRedirectsToNowhere) {
  for (const char* target : {"file:///etc/passwd", "ftp://localhost/x", "http://user:pw@localhost/x", "gopher://x"}) {
    server.set_faults(str(R"({"redirect": ")", target, "\"}"));
    EXPECT_TRUE(contains(fails(ErrorCode::resource), "redirects")) << target;
  }
  server.set_faults(str(R"({"redirect": ")", server.endpoint, R"(/org/tiny/resolve/main/model.safetensors"})"));
  EXPECT_TRUE(contains(fails(ErrorCode::resource), "redirects more than 10 times"));
}

TEST_F(Transfer, SaysThatTheDiskIsFull) {
  fs::create_directories(settings.cache);
  const testing::SmallDisk disk(settings.cache, 65536);
  server.add("models/org/tiny/large.safetensors", testing::random_bytes(100000));
  const std::string message = refusal(ErrorCode::resource, [&] { (void)fetch("large.safetensors"); });
  EXPECT_TRUE(contains(message, "HF_HOME")) << message;
  EXPECT_TRUE(contains(message, disk.mounted() ? "free" : "File too large")) << message;
}

TEST_F(Transfer, GetsManyAtOnceAndStopsThemTogether) {
  const auto hub = open();
  const Snapshot snapshot = hub->snapshot(repo);
  const auto places = hub->fetch_all(snapshot, {"tokenizer.json", kFile, "config.json"});
  ASSERT_EQ(places.size(), 3u);
  EXPECT_EQ(read_all(places[0]), "{}");
  EXPECT_EQ(read_all(places[1]), weights);
  EXPECT_TRUE(heard.said("downloaded 5.03 kB")) << heard.all;
  ASSERT_FALSE(heard.activities.empty());
  EXPECT_EQ(heard.activities.back(), "downloading 3 files 5025/5025 bytes");

  fs::remove_all(settings.cache);
  server.set_faults(R"({"drip": {"model.safetensors": [1, 0.1]}, "status": {"config.json": [418, 1, {}]}})");
  const auto start = std::chrono::steady_clock::now();
  const std::string message = refusal(ErrorCode::resource, [&] {
    (void)hub->fetch_all(snapshot, {kFile, "config.json"});
  });
  EXPECT_TRUE(contains(message, "'config.json'")) << message;
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));  // a drip takes 500
  EXPECT_EQ(files(".incomplete").size(), 2u);
}

TEST_F(Transfer, StopsWhenTheUserWishes) {
  server.set_faults(R"({"drip": {"model.safetensors": [100, 0.2]}})");
  std::thread user([] {
    std::this_thread::sleep_for(std::chrono::milliseconds(700));
    request_interrupt();
  });
  EXPECT_TRUE(contains(refusal(ErrorCode::interrupted, [&] { (void)fetch(kFile); }), "what was downloaded is kept"));
  user.join();
  clear_interrupt();
  expect_nothing_wrong();
  ASSERT_EQ(files(".incomplete").size(), 1u);
  server.set_faults("{}");
  EXPECT_EQ(read_all(fetch(kFile)), weights);
}

// Two processes that want the same get it once.
TEST_F(Transfer, IsDoneOnceByMany) {
  server.set_faults(R"({"drip": {"model.safetensors": [1000, 0.1]}})");
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      const auto hub = open();
      EXPECT_EQ(read_all(hub->fetch(hub->snapshot(repo), kFile)), weights);
    });
  for (std::thread& thread : threads) thread.join();
  int64_t from_host = 0;
  for (const json::Object& request : server.requests(kFile)) from_host += request.at("host") == "cdn" ? 1 : 0;
  EXPECT_EQ(from_host, 1);
}

TEST_F(Transfer, ReadsPartsOfFiles) {
  const auto hub = open();
  const Snapshot snapshot = hub->snapshot(repo);
  const auto remote = hub->open(snapshot, kFile);
  EXPECT_EQ(remote->size(), 5000);
  server.set_faults(R"({"break": {"model.safetensors": [5, 0, 20]}})");
  std::string part(100, '\0');
  remote->read(1234, 100, part.data());
  EXPECT_EQ(part, weights.substr(1234, 100));
  remote->read(5000, 0, part.data());
  for (const auto& [offset, count] : std::vector<std::pair<int64_t, int64_t>>{{4990, 11}, {-1, 2}, {0, -1}, {5001, 0}})
    EXPECT_TRUE(
        contains(refusal(ErrorCode::input, [&] { remote->read(offset, count, part.data()); }), "are asked for"));
  server.set_faults(R"({"no_ranges": true})");
  EXPECT_TRUE(contains(refusal(ErrorCode::resource, [&] { remote->read(10, 5, part.data()); }), "has no ranges"));
  EXPECT_TRUE(files(kFile).empty());  // nothing was kept
  server.set_faults("{}");
  (void)hub->fetch(snapshot, kFile);
  server.forget_requests();
  const auto local = hub->open(snapshot, kFile);
  local->read(4000, 100, part.data());
  EXPECT_EQ(part, weights.substr(4000, 100));
  EXPECT_TRUE(server.requests(kFile).empty());
  EXPECT_TRUE(contains(refusal(ErrorCode::input, [&] { local->read(4990, 11, part.data()); }), "are asked for"));
}

// Another process downloads a file; nobody waits for it who no longer wants it.
TEST_F(Transfer, AWaitForALockEndsWhenItIsNoLongerWanted) {
  server.add("models/org/tiny/other.safetensors", testing::random_bytes(4000, 2));
  const fs::path other = fetch("other.safetensors");
  const fs::path blob = fs::canonical(other);
  const fs::path lock = settings.cache / ".locks/models--org--tiny" / (blob.filename().string() + ".lock");
  ASSERT_TRUE(fs::exists(lock));
  fs::remove(other);
  fs::remove(blob);
  const int held = ::open(lock.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_EQ(::flock(held, LOCK_EX), 0);
  const auto ends = [&](std::future<void>& download) {
    const bool ended = download.wait_for(std::chrono::seconds(30)) == std::future_status::ready;
    if (!ended) ::flock(held, LOCK_UN);  // else the test would never end
    return ended;
  };
  // The other file of the same download turns out to be damaged.
  server.set_faults(R"({"wrong": {"model.safetensors": 1000}})");
  const auto hub = open();
  const Snapshot snapshot = hub->snapshot(repo);
  auto both = std::async(std::launch::async, [&] {
    EXPECT_TRUE(contains(refusal(ErrorCode::resource,
                                 [&] {
                                   (void)hub->fetch_all(snapshot, {"other.safetensors", kFile});
                                 }),
                         "does not have the hash"));
  });
  EXPECT_TRUE(ends(both));
  both.wait();
  // The user wants to stop.
  server.set_faults("{}");
  ASSERT_EQ(::flock(held, LOCK_EX), 0);
  auto one = std::async(std::launch::async, [&] {
    (void)refusal(ErrorCode::interrupted, [&] { (void)hub->fetch(snapshot, "other.safetensors"); });
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  request_interrupt();
  EXPECT_TRUE(ends(one));
  one.wait();
  clear_interrupt();
  ::close(held);
}

}  // namespace
}  // namespace arkit::hub
