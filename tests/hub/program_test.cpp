// `arkit` with models of a hub.
#include <csignal>
#include <cstring>

#include <arkit/json.h>

#include "../cli/run_program.h"
#include "hub_testing.h"

namespace arkit {
namespace {
namespace fs = std::filesystem;

using cli_test::Outcome;
using testing::contains;

class HubProgram : public ::testing::Test {
 protected:
  HubProgram() {
    const fs::path model = fs::path(ARKIT_TEST_DATA) / "golden/source-llama-bf16";
    fs::create_directories(server.root() / "models/org");
    fs::copy(model, server.root() / "models/org/tiny", fs::copy_options::recursive);
    server.add("models/org/tiny/pytorch_model.bin", "never fetched");
  }
  [[nodiscard]] Outcome run(const std::vector<std::string>& words, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> environment{"HF_ENDPOINT=" + server.endpoint, "HF_HOME=" + (folder.path() / "hf").string(),
                                         "MODELSCOPE_ENDPOINT=" + server.endpoint,
                                         "MODELSCOPE_CACHE=" + (folder.path() / "ms").string(), "HF_HUB_OFFLINE="};
    environment.insert(environment.end(), more.begin(), more.end());
    return cli_test::run_arkit(words, environment);
  }
  [[nodiscard]] std::string path(const char* name) const { return (folder.path() / name).string(); }
  [[nodiscard]] json::Object record(const char* name) const {
    return json::read_file(folder.path() / name / "arkit-run.json").as_object();
  }

  // Requests for the weights, but for those for their header alone.
  [[nodiscard]] size_t asked_for_weights() const {
    uint64_t length = 0;
    const std::string file = testing::read_all(server.root() / "models/org/tiny/model.safetensors");
    std::memcpy(&length, file.data(), sizeof(length));
    size_t count = 0;
    for (const json::Object& request : server.requests("model.safetensors")) {
      const json::Value& range = request.at("range");
      const std::string text = range.is_string() ? std::string(range.as_string()) : "bytes=0-";
      const std::string last = text.substr(text.find('-') + 1);
      count += last.empty() || std::stoull(last) >= sizeof(length) + length ? 1 : 0;
    }
    return count;
  }

  testing::HubServer server;
  testing::TempDir folder;
};

TEST_F(HubProgram, FindsMistakesBeforeWeightsAreFetched) {
  server.add("models/org/strange/config.json", R"({"model_type": "nobodys", "tie_word_embeddings": false})");
  fs::copy(server.root() / "models/org/tiny/model.safetensors", server.root() / "models/org/strange/model.safetensors");
  folder.write("full/mine.txt", "x");
  folder.write("broken.jsonl", "{\"text\": \n");
  folder.write("short.jsonl", "{\"text\": \"a\"}\n");
  fs::create_directories(folder.path() / "tmp");
  const std::string group = "--group_size=32", out = "--output_dir=" + path("out");
  struct Mistake {
    std::vector<std::string> words;
    int exit_code;
    std::string says;
  };
  const std::vector<std::string> tuned{"org/tiny", group, out, "--iters=1", "--nsamples=2", "--seqlen=16"};
  const auto with = [&](std::vector<std::string> words, const std::vector<std::string>& more) {
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  const std::vector<Mistake> mistakes{
      {{"org/tiny", group, "--recipe=rtn", "-o", path("full")}, 3, "is not empty"},
      {{"org/tiny", group, "--recipe=rtn", "--options=W4A16,W8A16", "--avg_bits=5", "-o", path("full")},
       3,
       "is not empty"},
      {with(tuned, {"--dataset=org/absent"}), 3, "org/absent"},
      {with(tuned, {"--dataset=" + path("broken.jsonl")}), 3, "broken.jsonl"},
      {with(tuned, {"--dataset=" + path("short.jsonl")}), 3, "short.jsonl"},
      {with(tuned, {"--runtime=nobodys"}), 4, "nobodys"},
      {with(tuned, {"--rotation=nobodys"}), 2, "nobodys"},
      {with(tuned, {"--format=auto_awq", "--bits=3"}), 4, "auto_awq"},
      {{"org/tiny", "--group_size=31", "--recipe=rtn", "--on_indivisible=error", out}, 4, "31"},
      {{"org/tiny", "--recipe=rtn", "--options=W4A16,W8A16", "--avg_bits=50", group, out}, 2, "50"},
      {{"org/strange", group, "--iters=1", out}, 4, "unknown model family 'nobodys'"},
  };
  for (const Mistake& mistake : mistakes) {
    std::vector<std::string> words{"quantize"};
    words.insert(words.end(), mistake.words.begin(), mistake.words.end());
    const Outcome outcome = run(words, {"TMPDIR=" + path("tmp")});
    EXPECT_EQ(outcome.exit_code, mistake.exit_code) << mistake.says << ": " << outcome.err;
    EXPECT_TRUE(contains(outcome.err, mistake.says)) << outcome.err;
    EXPECT_FALSE(contains(outcome.err, "arkit-outline")) << outcome.err;
    EXPECT_FALSE(server.requests("model.safetensors").empty()) << mistake.says;
    EXPECT_EQ(asked_for_weights(), 0u) << mistake.says << ": " << outcome.err;
    server.forget_requests();
    fs::remove_all(folder.path() / "hf");
  }
  EXPECT_TRUE(fs::is_empty(folder.path() / "tmp"));
  EXPECT_FALSE(fs::exists(folder.path() / "out"));
}

TEST_F(HubProgram, PlansWithoutWeights) {
  const std::vector<std::string> words{"quantize", "org/tiny", "--dry-run", "--json", "--group_size", "32"};
  const Outcome before = run(words);
  ASSERT_EQ(before.exit_code, 0) << before.err;
  EXPECT_EQ(asked_for_weights(), 0u);
  ASSERT_EQ(run({"inspect", "org/tiny"}).exit_code, 0);
  EXPECT_GT(asked_for_weights(), 0u);
  const Outcome after = run(words);
  EXPECT_EQ(before.out, after.out);

  // A hub that gives no ranges gives whole files.
  fs::remove_all(folder.path() / "hf");
  server.set_faults(R"({"no_ranges": true})");
  const Outcome whole = run(words);
  EXPECT_EQ(whole.exit_code, 0) << whole.err;
  EXPECT_EQ(whole.out, after.out);
}

// Which is not decided by the holes of an outline.
TEST_F(HubProgram, AsksForValuesWhereAPlanNeedsThem) {
  const fs::path model = fs::path(ARKIT_TEST_DATA) / "golden/auto_round-W4A16";
  fs::copy(model, server.root() / "models/org/packed", fs::copy_options::recursive);
  const Outcome refused = run({"quantize", "org/packed", "--recipe", "rtn", "-o", path("out")});
  EXPECT_EQ(refused.exit_code, 4);
  EXPECT_TRUE(contains(refused.err, "'org/packed' is already quantized")) << refused.err;
  const Outcome made = run({"quantize", "org/packed", "--model_free", "--group_size", "32", "-o", path("out")});
  EXPECT_EQ(made.exit_code, 0) << made.err;
}

TEST_F(HubProgram, DraftsAFamilyFromItsConfigurationAlone) {
  const Outcome drafted = run({"models", "new", "org/tiny", "--revision", "main"});
  EXPECT_EQ(drafted.exit_code, 0) << drafted.err;
  EXPECT_TRUE(contains(drafted.out, "model_types = [\"llama\"]")) << drafted.out;
  EXPECT_EQ(server.requests("config.json").size(), 1u);
  EXPECT_TRUE(server.requests("model.safetensors").empty());
  EXPECT_TRUE(server.requests("tokenizer.json").empty());
  EXPECT_EQ(run({"models", "new", "org/absent"}).exit_code, 3);
}

// That no path is called so is said where nobody knows the name, and to nobody else.
TEST_F(HubProgram, TellsOfPathsOnlyWhereTheNameMayBeOne) {
  const std::string word = "; no path here is called '";
  EXPECT_TRUE(contains(run({"inspect", "org/absent"}).err, word));
  EXPECT_TRUE(contains(run({"inspect", "org/absent"}, {"HF_HUB_OFFLINE=1"}).err, word));
  EXPECT_TRUE(contains(run({"inspect", "org/tiny"}, {"HF_ENDPOINT=http://localhost:1"}).err, word));
  const auto silent = [&](const Outcome& outcome) {
    EXPECT_NE(outcome.exit_code, 0);
    EXPECT_FALSE(contains(outcome.err, word)) << outcome.err;
  };
  silent(run({"inspect", "org/tiny", "--revision", "v9"}));
  server.set_faults(R"({"gated": ["org/tiny"]})");
  silent(run({"inspect", "org/tiny"}));
  server.set_faults(R"({"wrong": {"model.safetensors": 100}})");
  silent(run({"inspect", "org/tiny"}));
  silent(run({"inspect", "org/tiny"}, {"HF_HUB_OFFLINE=1"}));
}

TEST_F(HubProgram, QuantizesWhatTheHubHas) {
  const Outcome made = run({"quantize", "org/tiny", "--recipe", "rtn", "--group_size", "32", "-o", path("out")});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  EXPECT_TRUE(contains(made.err, "downloading model 'org/tiny' at ")) << made.err;
  const json::Object origin = record("out").at("source").at("hub").as_object();
  EXPECT_EQ(origin.at("service"), "hf");
  EXPECT_EQ(origin.at("id"), "org/tiny");
  EXPECT_EQ(origin.at("revision"), "main");
  EXPECT_EQ(origin.at("commit").as_string().size(), 40u);
  EXPECT_TRUE(contains(testing::read_all(folder.path() / "out/README.md"), "base_model: org/tiny\n"))
      << testing::read_all(folder.path() / "out/README.md");
  EXPECT_TRUE(server.requests("pytorch_model.bin").empty());

  // The branch moves on; the run is repeated at the commit it had.
  server.add("models/org/tiny/config.json", "{}");
  fs::remove(folder.path() / "hf/hub/models--org--tiny/refs/main");
  const Outcome again = run({"reproduce", path("out"), "-o", path("again"), "--json"});
  EXPECT_EQ(again.exit_code, 0) << again.err << again.out;
  EXPECT_TRUE(contains(again.out, "\"equal\": true")) << again.out;
  const Outcome verified =
      run({"verify", path("out"), "--against", "org/tiny@" + std::string(origin.at("commit").as_string())});
  EXPECT_EQ(verified.exit_code, 0) << verified.err << verified.out;
}

// Of a content that is there nobody looks at more than its size, until the run hashes what it has read.
TEST_F(HubProgram, NamesAWeightFileThatWasDamagedInTheCache) {
  fs::copy(fs::path(ARKIT_TEST_DATA) / "golden/auto_round-W4A16", server.root() / "models/org/packed");
  const std::vector<std::string> rounds{"quantize", "org/tiny",  "--recipe",     "rtn",
                                        "-o",       path("out"), "--group_size", "32"};
  const std::vector<std::string> converts{"convert", "org/packed", "--format", "auto_gptq", "-o", path("out")};
  fs::path blob;
  for (const std::vector<std::string>& words : {converts, rounds}) {
    ASSERT_EQ(run({"inspect", words[1]}).exit_code, 0);
    for (const fs::directory_entry& entry :
         fs::recursive_directory_iterator(folder.path() / "hf/hub" / ("models--org--" + words[1].substr(4))))
      if (entry.path().filename() == "model.safetensors") blob = fs::canonical(entry.path());
    std::string content = testing::read_all(blob);
    content.back() ^= 1;
    testing::write_all(blob, content);
    const Outcome made = run(words);
    EXPECT_EQ(made.exit_code, 3) << made.err;
    EXPECT_TRUE(contains(made.err, "model.safetensors': was damaged in the cache")) << made.err;
    EXPECT_TRUE(contains(made.err, "remove '" + blob.string() + "' and run")) << made.err;
    EXPECT_FALSE(fs::exists(folder.path() / "out"));
  }
  fs::remove(blob);
  EXPECT_EQ(run(rounds).exit_code, 0);
}

// The record says where the original is from, and the cache need not have it any more.
TEST_F(HubProgram, VerifiesAgainstTheCommitOfTheRecord) {
  ASSERT_EQ(run({"quantize", "org/tiny", "--recipe", "rtn", "--group_size", "32", "-o", path("out")}).exit_code, 0);
  fs::remove_all(folder.path() / "hf");
  const Outcome verified = run({"verify", path("out"), "--json"});
  EXPECT_EQ(verified.exit_code, 0) << verified.err;
  EXPECT_TRUE(contains(verified.out, "\"layers against the source\"")) << verified.out;
  EXPECT_TRUE(contains(verified.out, "models--org--tiny/snapshots")) << verified.out;
  fs::remove_all(folder.path() / "hf");
  const Outcome offline = run({"verify", path("out"), "--json"}, {"HF_HUB_OFFLINE=1"});
  EXPECT_EQ(offline.exit_code, 0) << offline.err;
  EXPECT_TRUE(contains(offline.out, "HF_HUB_OFFLINE forbids downloading it; unset it")) << offline.out;
  EXPECT_TRUE(contains(offline.out, "; pass --against MODEL")) << offline.out;
}

TEST_F(HubProgram, RepeatsARunWithTheDataSetItHad) {
  const auto texts = [](int first) {
    std::string lines;
    for (int document = first; document < first + 8; ++document) {
      std::string text;
      for (int word = 0; word < 200; ++word) text += str(word == 0 ? "" : " ", "word", (document * 31 + word * 7) % 97);
      lines += str("{\"text\": \"", text, "\"}\n");
    }
    return lines;
  };
  server.add("datasets/org/texts/train.jsonl", texts(0));
  const Outcome made = run({"quantize", "org/tiny", "--iters", "1", "--nsamples", "2", "--seqlen", "16", "--group_size",
                            "32", "--dataset", "org/texts", "-o", path("out")});
  ASSERT_EQ(made.exit_code, 0) << made.err;

  // Nobody asks again where the branch stands.
  fs::remove(folder.path() / "hf/hub/datasets--org--texts/refs/main");
  const auto asked = [&] { return server.requests("datasets/org/texts/revision/main").size(); };
  const size_t before = asked();
  ASSERT_GT(before, 0u);
  const Outcome again = run({"reproduce", path("out"), "-o", path("again"), "--json"});
  EXPECT_EQ(asked(), before);
  EXPECT_EQ(again.exit_code, 0) << again.err << again.out;
  EXPECT_TRUE(contains(again.out, "\"equal\": true")) << again.out;
  const auto commit = [&](const char* name) {
    return record(name).at("calibration").at("entries").at(0).at("commit").as_string();
  };
  EXPECT_EQ(commit("again"), commit("out"));
}

TEST_F(HubProgram, TakesRevisionsAndHubs) {
  EXPECT_EQ(run({"inspect", "org/tiny", "--revision", "main"}).exit_code, 0);
  Outcome outcome = run({"inspect", "org/tiny", "--revision", "v9"});
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_TRUE(contains(outcome.err, "model 'org/tiny': has no revision 'v9'")) << outcome.err;
  outcome = run({"inspect", "org/tiny@main", "--revision", "v9"});
  EXPECT_EQ(outcome.exit_code, 2);
  outcome = run({"inspect", folder.path().string(), "--revision", "v9"});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_TRUE(contains(outcome.err, "is a path here")) << outcome.err;
  EXPECT_FALSE(fs::exists(folder.path() / "ms"));
  for (const char* hub : {"modelscope", "model_scope"})
    EXPECT_EQ(run({"inspect", "org/tiny", "--hub", hub}).exit_code, 0) << hub;
  EXPECT_TRUE(fs::exists(folder.path() / "ms/models/org--tiny/snapshots/master/config.json"));
  server.forget_requests();
  EXPECT_EQ(run({"inspect", "org/tiny"}, {"AR_USE_MODELSCOPE=1"}).exit_code, 0);
  EXPECT_TRUE(server.requests().empty());  // it is there
}

TEST_F(HubProgram, SaysInOneSentenceWhatItCannotHave) {
  Outcome outcome = run({"generate", "org/absent", "--prompt", "x"});
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_TRUE(contains(outcome.err, "model 'org/absent': is not at " + server.endpoint)) << outcome.err;
  outcome = run({"inspect", "org/tiny"}, {"HF_HUB_OFFLINE=1"});
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_TRUE(contains(outcome.err, "HF_HUB_OFFLINE forbids downloading it")) << outcome.err;
  outcome = run({"inspect", "no-such-folder"});
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_TRUE(contains(outcome.err, "no such file or folder")) << outcome.err;
  EXPECT_TRUE(server.requests("no-such-folder").empty());
  fs::remove(server.root() / "models/org/tiny/model.safetensors");
  outcome = run({"inspect", "org/tiny"});
  EXPECT_EQ(outcome.exit_code, 4);
  EXPECT_TRUE(contains(outcome.err, "only as pickle")) << outcome.err;
}

TEST_F(HubProgram, LeavesNothingHalfWhenItIsKilled) {
  server.set_faults(R"({"drip": {"model.safetensors": [1000, 0.05]}})");
  const std::string endpoint = "HF_ENDPOINT=" + server.endpoint, home = "HF_HOME=" + path("hf");
  const pid_t child = ::fork();
  if (child == 0) {
    ::execlp("env", "env", endpoint.c_str(), home.c_str(), "HF_HUB_OFFLINE=", ARKIT_BINARY, "inspect", "org/tiny", "-q",
             static_cast<char*>(nullptr));
    ::_exit(127);
  }
  const fs::path blobs = folder.path() / "hf/hub/models--org--tiny/blobs";
  std::error_code error;
  const auto begun = [&] {
    for (fs::directory_iterator it(blobs, error), end; !error && it != end; it.increment(error))
      if (it->path().extension() == ".incomplete" && fs::file_size(it->path(), error) > 20'000)
        return true;  // no text is as long
    return false;
  };
  for (int i = 0; i < 600 && !begun(); ++i) ::usleep(50'000);
  ASSERT_TRUE(begun());
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  size_t incomplete = 0;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder.path() / "hf"))
    incomplete += entry.path().extension() == ".incomplete" ? 1 : 0;
  EXPECT_EQ(incomplete, 1u);
  server.set_faults("{}");
  server.forget_requests();
  const Outcome again = run({"inspect", "org/tiny"});
  EXPECT_EQ(again.exit_code, 0) << again.err;
  const auto asked = server.requests("model.safetensors");
  ASSERT_FALSE(asked.empty());
  EXPECT_TRUE(asked.back().at("range").is_string());  // it went on where it was
}

}  // namespace
}  // namespace arkit
