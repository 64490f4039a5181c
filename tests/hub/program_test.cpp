// `arkit` with models of a hub.
#include <csignal>

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

  testing::HubServer server;
  testing::TempDir folder;
};

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
