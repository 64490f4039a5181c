// Files that are none: pipes, devices, folders, names the file system refuses. Nothing hangs, nothing is raw.
#include <gtest/gtest.h>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <utility>

#include <arkit/input_file.h>

#include "options_testing.h"
#include "run_program.h"

namespace options_test {
namespace {

namespace fs = std::filesystem;
using arkit::ErrorCode;
using arkit::testing::contains;
using arkit::testing::refusal;
using arkit::testing::TemporaryFolder;
using arkit::testing::tiny_model;
using cli_test::Outcome;

// The program with a limit: 124 = it hung.
Outcome arkit_within_limit(const Words& words) {
  return cli_test::program(Words{"timeout", "60", ARKIT_BINARY} + words);
}

TEST(InputFiles, AreReadWholeOrRefusedWithAReason) {
  const TemporaryFolder folder;
  const fs::path file = write_text(folder.path() / "a.txt", "hello");
  EXPECT_EQ(arkit::read_input_file(file, 5), "hello");
  EXPECT_TRUE(contains(refusal(ErrorCode::input, [&] { (void)arkit::read_input_file(file, 4); }), "5 bytes"));
  EXPECT_TRUE(contains(refusal(ErrorCode::input, [&] { (void)arkit::read_input_file(folder.path(), 4); }), "folder"));
  EXPECT_TRUE(contains(refusal(ErrorCode::input, [] { (void)arkit::read_input_file("/dev/zero", 4); }), "device"));
  EXPECT_TRUE(contains(refusal(ErrorCode::input, [] { (void)arkit::read_input_file("/no/such", 4, "--x: "); }),
                       "--x: '/no/such': no such file"));
  EXPECT_TRUE(contains(refusal(ErrorCode::input, [] { (void)arkit::read_input_file(std::string(5000, 'a'), 4); }),
                       "cannot be read"));
}

TEST(InputFiles, PipesDoNotHang) {
  const TemporaryFolder folder;
  const std::string model = tiny_model("source-llama-bf16"), pipe = (folder.path() / "pipe").string();
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const std::string typed = pipe + ".jsonl";
  ASSERT_EQ(::mkfifo(typed.c_str(), 0600), 0);
  for (const Words& words :
       {Words{"quantize", model, "--config", pipe}, Words{"quantize", model, "--layer_config", pipe, "--recipe", "rtn"},
        Words{"quantize", model, "--recipe_file", pipe}, Words{"quantize", model, "--dataset", typed},
        Words{"eval", "ppl", model, "--text", pipe}, Words{"eval", "ppl", model, "--ids", pipe},
        Words{"eval", "lambada", model, "--file", typed}, Words{"tokenize", model, "--text_file", pipe},
        Words{"diff", model, model, "--text", pipe}, Words{"forward", model, "--input_ids", pipe, "-o", "x"},
        Words{"quantize", model, "--recipe", "rtn", "--runtime", pipe, "--dry_run"}, Words{"inspect", pipe}}) {
    const Outcome run = arkit_within_limit(words);
    EXPECT_TRUE(run.exit_code == 3 || run.exit_code == 4)
        << ::testing::PrintToString(words) << run.exit_code << run.err;
  }
}

// A name that leads to something is no misspelt name of a data set, a model or a rule file.
TEST(InputFiles, WhatIsNoFileIsCalledWhatItIs) {
  const TemporaryFolder folder;
  const std::string model = tiny_model("source-llama-bf16"), pipe = (folder.path() / "pipe").string();
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const std::string inner = (folder.path() / "folder").string(), sealed = (folder.path() / "socket").string();
  fs::create_directory(inner);
  const int listener = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  ASSERT_LT(sealed.size(), sizeof(address.sun_path));
  sealed.copy(address.sun_path, sealed.size());
  ASSERT_EQ(::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  const Words tuned = {"quantize", model, "--iters", "1", "--nsamples", "1", "--seqlen", "4", "--dataset"};
  for (const auto& [path, kind] : {std::pair{pipe, "a pipe (FIFO)"}, std::pair{inner, "a folder"},
                                   std::pair{sealed, "a socket"}, std::pair{std::string("/dev/zero"), "a device"}})
    for (const Words& words :
         {tuned + Words{path}, Words{"quantize", model, "--config", path},
          Words{"tokenize", model, "--text_file", path}, Words{"quantize", model, "--recipe_file", path},
          Words{"eval", "ppl", model, "--text", path},
          Words{"quantize", model, "--recipe", "rtn", "--layer_config", path}}) {
      const Outcome run = arkit_within_limit(words);
      EXPECT_EQ(run.exit_code, 3) << ::testing::PrintToString(words) << run.err;
      EXPECT_TRUE(contains(run.err, kind)) << ::testing::PrintToString(words) << run.err;
      EXPECT_TRUE(contains(run.err, path)) << run.err;
    }
  for (const std::string& path : {pipe, sealed})
    for (const Words& words : {Words{"inspect", path}, Words{"eval", "ppl", model, "--ids", path},
                               Words{"forward", model, "--input_ids", path, "-o", pipe + ".out"}}) {
      const Outcome run = arkit_within_limit(words);
      EXPECT_EQ(run.exit_code, 3) << ::testing::PrintToString(words) << run.err;
      EXPECT_TRUE(contains(run.err, path == pipe ? "a pipe (FIFO)" : "a socket")) << run.err;
    }
  ::close(listener);
}

TEST(InputFiles, TroubleWithPathsIsPutIntoWords) {
  const std::string model = tiny_model("source-llama-bf16"), endless(5000, 'a');
  for (const Words& words :
       {Words{"quantize", model, "--recipe", "rtn", "--layer_config", endless},
        Words{"quantize", model, "--recipe", "rtn", "--output_dir", endless}, Words{"quantize", "--model", endless},
        Words{"quantize", model, "--config", endless}, Words{"verify", endless}, Words{"inspect", endless},
        Words{"convert", endless, "--format", "fake"}, Words{"plugin", "new", "scheme", "nf4", endless},
        Words{"quantize", model, "--recipe", "rtn", "--runtime", endless + ".toml"},
        Words{"tokenize", endless, "--text_file", "x"}, Words{"plugin", "inspect", endless},
        Words{"list", "schemes", "--plugin", endless}}) {
    const Outcome run = arkit_within_limit(words);
    EXPECT_TRUE(run.exit_code >= 2 && run.exit_code <= 7) << run.exit_code << run.err.substr(0, 300);
    EXPECT_FALSE(contains(run.err, "filesystem error")) << run.err.substr(0, 300);
    EXPECT_FALSE(contains(run.err, "bug in arkit")) << run.err.substr(0, 300);
  }
}

TEST(Tokenize, NeedsATokenizerAndNothingElse) {
  const TemporaryFolder folder;
  const fs::path text = write_text(folder.path() / "t.txt", "hello world");
  const fs::path model = folder.path() / "m";
  fs::create_directory(model);
  for (const char* name : {"tokenizer.json", "tokenizer_config.json"})
    fs::copy(fs::path(tiny_model("source-llama-bf16")) / name, model / name);
  const std::string whole =
      arkit::json::dump(arkit::tokenize(tiny_model("source-llama-bf16"), text, arkit::testing::registry()).at("ids"));
  EXPECT_EQ(arkit::json::dump(arkit::tokenize(model.string(), text, arkit::testing::registry()).at("ids")), whole);
  fs::remove(model / "tokenizer_config.json");
  EXPECT_NO_THROW((void)arkit::tokenize(model.string(), text, arkit::testing::registry()));
}

TEST(Calibration, ATemplateThatFailsIsSaidWithFileAndItem) {
  const TemporaryFolder folder;
  fs::copy(tiny_model("source-llama-bf16"), folder.path() / "m", fs::copy_options::recursive);
  arkit::json::Value config = arkit::json::read_file(folder.path() / "m/tokenizer_config.json");
  config.as_object()["chat_template"] =
      "{% for m in messages %}{% if m.content == 'bad' %}{{ raise_exception('no such role') }}{% endif %}{{ m.content "
      "}}"
      "{% endfor %}";
  write_text(folder.path() / "m/tokenizer_config.json", arkit::json::dump(config));
  const fs::path data = write_text(folder.path() / "chats.jsonl",
                                   "{\"messages\": [{\"role\": \"user\", \"content\": \"good\"}]}\n"
                                   "{\"messages\": [{\"role\": \"user\", \"content\": \"bad\"}]}\n");
  arkit::testing::Recorder recorder;
  arkit::QuantizeOptions options =
      options_of("quantize", {(folder.path() / "m").string(), "--iters", "1", "--nsamples", "2", "--seqlen", "4",
                              "--dataset", data.string() + ":apply_chat_template"});
  options.output_dir = folder.path() / "out";
  const std::string message =
      refusal(ErrorCode::input, [&] { (void)arkit::quantize(options, arkit::testing::registry(), recorder); });
  EXPECT_TRUE(contains(message, "chats.jsonl': item 2: ")) << message;
  EXPECT_TRUE(contains(message, "no such role")) << message;
}

}  // namespace
}  // namespace options_test
