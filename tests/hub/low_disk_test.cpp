// `arkit quantize --low_disk`: shards come one by one and go again.
#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstring>
#include <map>
#include <thread>

#include <arkit/json.h>

#include "../cli/run_program.h"
#include "../small_disk.h"
#include "hub_testing.h"

namespace arkit {
namespace {
namespace fs = std::filesystem;

using cli_test::Outcome;
using testing::contains;
using testing::read_all;

const std::vector<std::string> kRtn{"--recipe", "rtn", "--group_size", "32"};

std::string shard_name(size_t number) {
  return str("model-0000", number, "-of-00004.safetensors");
}

// models/org/sharded: a small llama in four shards. The second and the third share the attention of block 0, the first
// and the second its MLP.
class LowDiskProgram : public ::testing::Test {
 protected:
  LowDiskProgram() {
    const fs::path model = fs::path(ARKIT_TEST_DATA) / "golden/source-llama-bf16";
    const fs::path folder = server.root() / "models/org/sharded";
    fs::create_directories(folder.parent_path());
    fs::copy(model, folder, fs::copy_options::recursive);
    fs::remove(folder / "model.safetensors");
    cut(read_all(model / "model.safetensors"), folder);
  }

  // Of which config.json does not say whether head and embeddings are one; they lie in the last shard and the first.
  void leave_ties_open() const {
    const fs::path file = server.root() / "models/org/sharded/config.json";
    json::Object config = json::read_file(file).as_object();
    config.erase("tie_word_embeddings");
    testing::write_all(file, json::dump(json::Value(config)));
  }

  void cut(const std::string& whole, const fs::path& folder) {
    uint64_t length = 0;
    std::memcpy(&length, whole.data(), sizeof length);
    const json::Object header = json::parse(whole.substr(8, length), "header").as_object();
    std::map<int64_t, std::pair<std::string, json::Object>> tensors;  // by offset
    for (const auto& member : header)
      if (member.key() != "__metadata__")
        tensors.emplace(member.key() == "lm_head.weight"  // it lies last in files of many shards
                            ? static_cast<int64_t>(whole.size())
                            : member.value().as_object().at("data_offsets").as_array()[0].as_int64(),
                        std::pair(std::string(member.key()), member.value().as_object()));
    const std::vector<size_t> ends{4, 7, 15, tensors.size()};
    json::Object map;
    auto tensor = tensors.begin();
    for (size_t shard = 0, at = 0; shard < ends.size(); ++shard) {
      json::Object own;
      std::string data;
      for (; at < ends[shard]; ++at, ++tensor) {
        auto& [name, entry] = tensor->second;
        json::Array& offsets = entry["data_offsets"].as_array();
        const int64_t begin = offsets[0].as_int64(), end = offsets[1].as_int64();
        offsets[0] = data.size();
        data += whole.substr(8 + length + static_cast<size_t>(begin), static_cast<size_t>(end - begin));
        offsets[1] = data.size();
        own[name] = entry;
        map[name] = shard_name(shard + 1);
      }
      std::string text = json::dump(json::Value(own));
      text.resize((text.size() + 7) / 8 * 8, ' ');
      uint64_t size = text.size();
      std::string bytes(reinterpret_cast<const char*>(&size), sizeof size);
      bytes += text + data;
      testing::write_all(folder / shard_name(shard + 1), bytes);
      headers += static_cast<int64_t>(sizeof size + text.size());
      sizes.push_back(static_cast<int64_t>(bytes.size()));
    }
    testing::write_all(folder / "model.safetensors.index.json",
                       json::dump(json::Value(json::Object{{"metadata", json::Object{}}, {"weight_map", map}})));
  }

  [[nodiscard]] std::vector<std::string> environment(const std::string& home = "hf") const {
    return {"HF_ENDPOINT=" + server.endpoint, "HF_HOME=" + path(home), "HF_HUB_OFFLINE="};
  }
  [[nodiscard]] Outcome quantize(const std::string& out, const std::vector<std::string>& more,
                                 const std::string& home = "hf") const {
    std::vector<std::string> words{"quantize", "org/sharded", "-o", path(out)};
    words.insert(words.end(), kRtn.begin(), kRtn.end());
    words.insert(words.end(), more.begin(), more.end());
    return cli_test::run_arkit(words, environment(home));
  }
  [[nodiscard]] std::string path(const std::string& name) const { return (folder.path() / name).string(); }
  [[nodiscard]] fs::path shards() const { return folder.path() / ".out.shards.arkit-part"; }

  // Bytes of weights beside the output at this moment.
  [[nodiscard]] int64_t shard_bytes() const {
    int64_t bytes = 0;
    for (size_t i = 1; i <= sizes.size(); ++i) {
      std::error_code error;
      const auto size = fs::file_size(shards() / "new" / shard_name(i), error);
      if (!error) bytes += static_cast<int64_t>(size);
    }
    return bytes;
  }
  // Names in the folder of the outputs, but for that of the cache.
  [[nodiscard]] std::vector<std::string> left() const {
    std::vector<std::string> names;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder.path()))
      if (!entry.path().filename().string().starts_with("hf")) names.push_back(entry.path().filename().string());
    return names;
  }
  [[nodiscard]] size_t cached_shards(const std::string& home = "hf") const {
    size_t count = 0;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(path(home))) {
      const bool large = entry.is_regular_file() && !entry.is_symlink() && entry.file_size() > 50'000;
      count += large || entry.path().extension() == ".safetensors" ? 1 : 0;
    }
    return count;
  }

  // A run that is going on while shards drip.
  [[nodiscard]] pid_t start() const {
    const pid_t child = ::fork();
    if (child != 0) return child;
    const std::vector<std::string> variables = environment();
    const std::string out = path("out");
    ::execlp("env", "env", variables[0].c_str(), variables[1].c_str(), variables[2].c_str(), ARKIT_BINARY, "quantize",
             "org/sharded", "-o", out.c_str(), "--recipe", "rtn", "--group_size", "32", "--low_disk", "-q",
             static_cast<char*>(nullptr));
    ::_exit(127);
  }
  [[nodiscard]] bool wait_for(int64_t bytes) const {
    for (int i = 0; i < 3000 && shard_bytes() < bytes; ++i) ::usleep(10'000);
    return shard_bytes() >= bytes;
  }

  testing::HubServer server;
  testing::TempDir folder;
  std::vector<int64_t> sizes;
  int64_t headers = 0;
};

TEST_F(LowDiskProgram, HasTwoShardsAtMostAndMakesTheSameFiles) {
  std::string drip;
  for (size_t i = 1; i <= 4; ++i) drip += str(i > 1 ? ", " : "", "\"", shard_name(i), "\": [20000, 0.02]");
  server.set_faults("{\"drip\": {" + drip + "}}");
  std::atomic<bool> done = false;
  int64_t most = 0;
  std::thread watch([&] {
    while (!done) most = std::max(most, shard_bytes());
  });
  const Outcome streamed = quantize("out", {"--low_disk"});
  done = true;
  watch.join();
  ASSERT_EQ(streamed.exit_code, 0) << streamed.err;
  EXPECT_GT(most, sizes[0]) << "nothing was seen";
  std::vector<int64_t> sorted = sizes;
  std::sort(sorted.rbegin(), sorted.rend());
  EXPECT_LE(most, sorted[0] + sorted[1] + headers);
  EXPECT_FALSE(contains(streamed.err, "once more")) << streamed.err;
  EXPECT_EQ(left(), std::vector<std::string>{"out"});
  EXPECT_EQ(cached_shards(), 0U);
  for (size_t i = 1; i <= 4; ++i) {  // by ranges for its header, and once as a whole
    const auto asked = server.requests(shard_name(i));
    EXPECT_EQ(std::count_if(asked.begin(), asked.end(), [](const auto& r) { return r.at("host") == "cdn"; }), 2) << i;
  }

  server.set_faults("{}");
  fs::rename(path("out"), path("hf-first"));
  const Outcome whole = quantize("out", {});
  ASSERT_EQ(whole.exit_code, 0) << whole.err;
  size_t compared = 0;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(path("out"))) {
    const fs::path name = entry.path().lexically_relative(path("out"));
    if (name == "arkit-run.json" || name == "README.md" || !entry.is_regular_file()) continue;
    EXPECT_TRUE(read_all(entry.path()) == read_all(folder.path() / "hf-first" / name)) << name;
    ++compared;
  }
  EXPECT_GE(compared, 4U);
  const auto source = [&](const char* name) {
    return json::read_file(folder.path() / name / "arkit-run.json").as_object().at("source").as_object();
  };
  EXPECT_EQ(json::dump(source("hf-first")), json::dump(source("out")));
  EXPECT_EQ(source("out").at("files").as_array().size(), 4U);
}

TEST_F(LowDiskProgram, ComparesWhatMayBeTiedInTwoShards) {
  leave_ties_open();
  const Outcome streamed = quantize("out", {"--low_disk"});
  ASSERT_EQ(streamed.exit_code, 0) << streamed.err;
  EXPECT_TRUE(contains(streamed.err, "is downloaded once more")) << streamed.err;
  ASSERT_EQ(quantize("whole", {}, "hf-whole").exit_code, 0);
  for (const char* name : {"model.safetensors", "config.json"})
    EXPECT_TRUE(read_all(path(str("out/", name))) == read_all(path(str("whole/", name)))) << name;
}

TEST_F(LowDiskProgram, RecordsTheShardsOfTheBlocksThatAreRead) {
  ASSERT_EQ(quantize("out", {"--low_disk", "--num_hidden_layers", "1"}).exit_code, 0);
  EXPECT_EQ(server.requests(shard_name(1)).size(), 4U);  // two from the hub, two from its second host
  ASSERT_EQ(quantize("whole", {"--num_hidden_layers", "1"}).exit_code, 0);
  const auto source = [&](const char* name) {
    return json::dump(json::read_file(folder.path() / name / "arkit-run.json").as_object().at("source"));
  };
  EXPECT_EQ(source("out"), source("whole"));
}

TEST_F(LowDiskProgram, TakesWhatLooksWholeWithoutANetwork) {
  ASSERT_EQ(quantize("first", {}).exit_code, 0);
  for (const fs::directory_entry& entry : fs::directory_iterator(path("hf/hub/models--org--sharded/trees")))
    fs::remove(entry);  // as huggingface_hub of old left it
  server.set_faults(R"({"private": ["org/sharded"]})");
  const Outcome outcome = quantize("out", {"--low_disk"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_TRUE(contains(outcome.err, "what the cache has of it is used")) << outcome.err;
  EXPECT_TRUE(contains(outcome.err, "is in the cache as a whole; nothing is downloaded")) << outcome.err;
}

TEST_F(LowDiskProgram, PlansWithoutDownloadingAShard) {
  const Outcome planned = quantize("out", {"--low_disk", "--dry_run"});
  EXPECT_EQ(planned.exit_code, 0) << planned.err;
  EXPECT_EQ(left(), std::vector<std::string>());
  for (size_t i = 1; i <= 4; ++i)
    for (const auto& request : server.requests(shard_name(i)))
      EXPECT_TRUE(contains(std::string(request.at("range").as_string()), "bytes=0-")) << i;
}

TEST_F(LowDiskProgram, GoesOnWhereConnectionsBreak) {
  // The first answer is for the header.
  server.set_faults("{\"break\": {\"" + shard_name(2) + "\": [100000, 30000, 5, 0, 50000]}}");
  const Outcome outcome = quantize("out", {"--low_disk"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_GE(server.requests(shard_name(2)).size(), 5U);
  EXPECT_EQ(cli_test::run_arkit({"verify", path("out"), "--against", "org/sharded"}, environment()).exit_code, 0);
}

TEST_F(LowDiskProgram, RefusesAWrongContentAndKeepsNothing) {
  server.set_faults("{\"wrong\": {\"" + shard_name(3) + "\": 99}}");
  const Outcome outcome = quantize("out", {"--low_disk"});
  EXPECT_EQ(outcome.exit_code, 5);
  EXPECT_TRUE(contains(outcome.err, "'" + shard_name(3) + "': the hub sends a content that does not have the hash"))
      << outcome.err;
  EXPECT_EQ(left(), std::vector<std::string>());
  EXPECT_EQ(cached_shards(), 0U);
}

class LowDiskKilled : public LowDiskProgram, public ::testing::WithParamInterface<const char*> {};

TEST_P(LowDiskKilled, LeavesNothingUnderItsNameAndTheNextRunClearsTheRest) {
  server.set_faults("{\"drip\": {\"" + shard_name(2) + "\": [1000, 0.05]}}");
  const pid_t child = start();
  ASSERT_TRUE(wait_for(sizes[0] + headers + 5000));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_FALSE(fs::exists(path("out")));
  EXPECT_TRUE(fs::exists(shards()));
  EXPECT_EQ(cached_shards(), 0U);
  server.set_faults("{}");
  const Outcome again = quantize("out", {GetParam()});
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_TRUE(contains(again.err, "the shards it left there are removed")) << again.err;
  EXPECT_EQ(left(), std::vector<std::string>{"out"});
}

INSTANTIATE_TEST_SUITE_P(NextRun, LowDiskKilled, ::testing::Values("--low_disk", "--model_free"));

TEST_F(LowDiskProgram, KeepsShardsOnTheDiskOfTheOutput) {
  fs::create_directories(path("out"));
  const testing::SmallDisk disk(path("out"), 64 << 20);
  if (!disk.mounted()) GTEST_SKIP() << "no small disk may be mounted here";
  server.set_faults("{\"drip\": {\"" + shard_name(2) + "\": [2000, 0.02]}}");
  const pid_t child = start();
  const fs::path inside = folder.path() / "out/.shards.arkit-part";
  bool seen = false;
  for (int i = 0; i < 1000 && !seen; ++i, ::usleep(10'000)) seen = fs::exists(inside / "new" / shard_name(2));
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(seen);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_FALSE(fs::exists(inside));
  EXPECT_TRUE(fs::exists(folder.path() / "out/model.safetensors"));
  EXPECT_FALSE(fs::exists(shards()));
}

TEST_F(LowDiskProgram, GoesAtOnceWhenInterrupted) {
  server.set_faults("{\"drip\": {\"" + shard_name(2) + "\": [2000, 0.1]}}");
  const pid_t child = start();
  ASSERT_TRUE(wait_for(sizes[0] + headers + 1000));
  // Another run into the same folder keeps away.
  const Outcome other = quantize("out", {"--low_disk"});
  EXPECT_EQ(other.exit_code, 5);
  EXPECT_TRUE(contains(other.err, "another run is writing into this folder")) << other.err;
  ::kill(child, SIGINT);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 130) << status;
  EXPECT_EQ(left(), std::vector<std::string>());
}

TEST_F(LowDiskProgram, SaysWhenThereIsNoRoom) {
  fs::create_directories(path("hf-small"));
  const testing::SmallDisk disk(path("hf-small"), 700 << 10);
  if (!disk.mounted()) GTEST_SKIP() << "no small disk may be mounted here";
  testing::write_all(path("hf-small/ballast"), std::string(400 << 10, 'x'));
  const Outcome outcome = quantize("hf-small/out", {"--low_disk"});
  EXPECT_EQ(outcome.exit_code, 5) << outcome.err;
  EXPECT_TRUE(contains(outcome.err, " free")) << outcome.err;
  EXPECT_EQ(std::distance(fs::directory_iterator(path("hf-small")), fs::directory_iterator()), 1);
}

TEST_F(LowDiskProgram, IsForRunsThatReadAModelOnce) {
  for (const std::vector<std::string>& more :
       std::vector<std::vector<std::string>>{{"--low_disk", "--iters", "5"},
                                             {"--low_disk", "--enable_opt_rtn"},
                                             {"--low_disk", "--scheme", "FP8_STATIC"},
                                             {"--low_disk", "--disable_model_free"},
                                             {"--low_disk", "--options", "W4A16,W8A16", "--avg_bits", "5"}}) {
    const Outcome outcome = quantize("out", more);
    EXPECT_EQ(outcome.exit_code, 2) << more[1] << ": " << outcome.err;
    EXPECT_TRUE(contains(outcome.err, "low_disk goes through a model once")) << outcome.err;
    EXPECT_EQ(left(), std::vector<std::string>()) << more[1];
  }
  for (size_t i = 1; i <= 4; ++i) EXPECT_LE(server.requests(shard_name(i)).size(), 4U);  // headers at most
  server.add("models/org/single/model.gguf", testing::random_bytes(5000));
  const Outcome single =
      cli_test::run_arkit({"quantize", "org/single", "-o", path("out"), "--model_free", "--low_disk"}, environment());
  EXPECT_EQ(single.exit_code, 4) << single.err;
  EXPECT_TRUE(contains(single.err, "is one file ('model.gguf')")) << single.err;
  EXPECT_TRUE(server.requests("model.gguf").empty());
}

TEST_F(LowDiskProgram, LeavesAloneWhatIsThere) {
  const std::string local = (fs::path(ARKIT_TEST_DATA) / "golden/source-llama-bf16").string();
  Outcome outcome = cli_test::run_arkit(
      {"quantize", local, "-o", path("local"), "--recipe", "rtn", "--group_size", "32", "--low_disk"}, environment());
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_TRUE(contains(outcome.err, "lies on this disk; nothing is downloaded or deleted")) << outcome.err;

  ASSERT_EQ(cli_test::run_arkit({"inspect", "org/sharded"}, environment()).exit_code, 0);
  const size_t cached = cached_shards();
  EXPECT_EQ(cached, 8U);  // links and contents
  server.forget_requests();
  outcome = quantize("whole", {"--low_disk"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_TRUE(contains(outcome.err, "is in the cache as a whole")) << outcome.err;
  EXPECT_TRUE(server.requests().empty());
  EXPECT_EQ(cached_shards(), cached);

  // One shard is missing: it alone is downloaded, and goes again.
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(path("hf")))
    if (entry.path().filename() == shard_name(2)) {
      fs::remove(fs::canonical(entry.path()));
      fs::remove(entry.path());
      break;
    }
  outcome = quantize("out", {"--low_disk"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_TRUE(server.requests(shard_name(1)).empty());
  EXPECT_EQ(cached_shards(), cached - 2);
  EXPECT_TRUE(read_all(path("out/model.safetensors")) == read_all(path("whole/model.safetensors")));
  const json::Array files =
      json::read_file(folder.path() / "out/arkit-run.json").as_object().at("source").as_object().at("files").as_array();
  ASSERT_EQ(files.size(), 4U);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(files[i].as_object().at("name").as_string(), shard_name(i + 1));
    EXPECT_EQ(files[i].as_object().at("sha256").as_string().size(), 64U);
  }
}

}  // namespace
}  // namespace arkit
