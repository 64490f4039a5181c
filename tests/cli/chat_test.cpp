// `arkit chat` and the text of `arkit generate`, through pipes and a pseudo-terminal, on a tiny model that writes nonsense.
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <arkit/json.h>
#include <gtest/gtest.h>

#include "run_program.h"
#include "temporary_folder.h"

namespace {

namespace fs = std::filesystem;
namespace json = arkit::json;
using arkit::testing::TemporaryFolder;
using cli_test::contains;
using cli_test::Outcome;
using cli_test::program;
using cli_test::run_arkit;

constexpr const char* kTemplate =
    "{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant:{% endif %}";

class ChatProgram : public testing::Test {
 protected:
  ChatProgram() {
    fs::copy(ARKIT_TEST_DATA "/golden/source-llama-bf16", folder_.path() / "m", fs::copy_options::recursive);
    change("tokenizer_config.json", "chat_template", kTemplate);
    change("config.json", "max_position_embeddings", 1 << 20);
    change("tokenizer_config.json", "model_max_length", 1 << 20);
  }
  void change(const std::string& file, const std::string& key, const json::Value& value) const {
    const fs::path path = folder_.path() / "m" / file;
    json::Value config = json::read_file(path);
    config.as_object()[key] = value;
    std::ofstream(path) << json::dump(config);
  }
  std::string model() const { return (folder_.path() / "m").string(); }

  // With these lines on standard input.
  Outcome chat(const std::string& input, std::vector<std::string> options = {}) const {
    std::ofstream(folder_.path() / "input", std::ios::binary) << input;
    std::vector<std::string> command{"sh",
                                     "-c",
                                     "exec \"$@\" < \"$0\"",
                                     (folder_.path() / "input").string(),
                                     ARKIT_BINARY,
                                     "chat",
                                     model(),
                                     "--max_new_tokens",
                                     "12"};
    command.insert(command.end(), options.begin(), options.end());
    return program(command);
  }
  json::Array turns(const std::string& input, std::vector<std::string> options = {}) const {
    options.emplace_back("--json");
    const Outcome run = chat(input, options);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return run.exit_code == 0 ? json::parse(run.out, "stdout").at("turns").as_array() : json::Array();
  }
  json::Object generated(std::vector<std::string> options) const {
    options.insert(options.begin(), {"generate", model(), "--json"});
    const Outcome run = run_arkit(options);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return json::parse(run.out, "stdout").at("outputs").at(0).as_object();
  }
  static std::string text(const json::Value& turn) { return std::string(turn.at("answer").as_string()); }

  const TemporaryFolder folder_;
};

int64_t number(const json::Value& turn, const char* name) {
  return turn.at(name).to_number<int64_t>();
}

TEST_F(ChatProgram, AnswersLinesThroughPipes) {
  const json::Object one = generated({"--chat", "--prompt", "Hello", "--max_new_tokens", "12"});
  const json::Array both = turns("Hello\nAnd then?\n");
  ASSERT_EQ(both.size(), 2U);
  EXPECT_EQ(text(both[0]), std::string(one.at("text").as_string()));
  EXPECT_EQ(number(both[0], "prompt_tokens"), one.at("prompt_tokens").to_number<int64_t>());
  EXPECT_EQ(number(both[0], "reused_tokens"), 0);
  EXPECT_GE(number(both[1], "reused_tokens"), number(both[0], "prompt_tokens")) << "only what is new is computed";
  EXPECT_GT(number(both[1], "prompt_tokens"), number(both[0], "prompt_tokens") + 8);

  const Outcome plain = chat("Hello\nAnd then?");  // the last line has no end
  EXPECT_EQ(plain.exit_code, 0) << plain.err;
  EXPECT_EQ(plain.out, text(both[0]) + "\n" + text(both[1]) + "\n");
}

TEST_F(ChatProgram, ResetAndSystemChangeTheConversation) {
  const json::Array all =
      turns("Hello\nHello\n/reset\nHello\n/system Be kind.\n/reset\nHello\n/system\n/reset\nHello\n");
  ASSERT_EQ(all.size(), 5U);
  const int64_t first = number(all[0], "prompt_tokens");
  EXPECT_GT(number(all[1], "prompt_tokens"), first);
  EXPECT_EQ(number(all[2], "prompt_tokens"), first);
  EXPECT_EQ(text(all[2]), text(all[0]));
  EXPECT_EQ(number(all[2], "reused_tokens"), first - 1) << "the same beginning is still in the cache";
  EXPECT_GT(number(all[3], "prompt_tokens"), first) << "the system message stays through /reset";
  EXPECT_NE(text(all[3]), text(all[0]));
  EXPECT_EQ(text(all[4]), text(all[0]));
  const json::Array given = turns("Hello\n", {"--system", "Be kind."});
  EXPECT_EQ(text(given.at(0)), text(all[3]));
}

TEST_F(ChatProgram, SeveralLinesAreOneMessageBetweenQuotes) {
  const json::Array all = turns("\"\"\"one\n/reset\ntwo\"\"\"\n /exit\n/exit\nnever\n");
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].at("message").as_string(), "one\n/reset\ntwo");
  EXPECT_EQ(all[1].at("message").as_string(), " /exit");
}

TEST_F(ChatProgram, AScriptsMistakesEndIt) {
  for (const auto& [input, says] : std::vector<std::pair<std::string, std::string>>{
           {"/rest\n", "unknown command '/rest'; did you mean '/reset'?"},
           {"\"\"\"never ended\n", "the input ends inside a message"},
           {std::string(2 << 20, 'x') + "\n", "a line has more than 1048576 bytes"}}) {
    const Outcome run = chat(input + "Hello\n");
    EXPECT_NE(run.exit_code, 0);
    EXPECT_EQ(run.out, "");
    EXPECT_TRUE(contains(run.err, says)) << run.err;
  }
  const Outcome full = chat("Hello\nHello\nHello\n", {"--context_tokens", "60"});
  EXPECT_EQ(full.exit_code, 2) << full.err;
  EXPECT_TRUE(contains(full.err, "begin anew with /reset")) << full.err;
}

TEST_F(ChatProgram, NeedsATemplateAndSaneNumbers) {
  change("tokenizer_config.json", "chat_template", nullptr);
  const Outcome bare = chat("Hello\n");
  EXPECT_EQ(bare.exit_code, 4) << bare.err;
  EXPECT_TRUE(contains(bare.err, "the model has no chat template; continue texts with 'arkit generate")) << bare.err;
  change("tokenizer_config.json", "chat_template", kTemplate);
  for (const auto& [option, value] : std::vector<std::pair<std::string, std::string>>{
           {"--min_p", "2"}, {"--stop", ""}, {"--logit_bias", "x"}, {"--context_tokens", "1"}, {"--top_k", "5"}}) {
    const Outcome run = chat("Hello\n", {option, value});
    EXPECT_EQ(run.exit_code, 2) << option << run.err;
    EXPECT_EQ(run.out, "");
  }
}

// Only chat takes them without being asked, and both say so.
TEST_F(ChatProgram, TheModelsDefaultsAreTakenWhereTheyAreWanted) {
  change("generation_config.json", "do_sample", true);
  change("generation_config.json", "temperature", 0.5);
  const std::string said = "the model's defaults: temperature 0.5";
  EXPECT_TRUE(contains(chat("Hello\n").err, said));
  EXPECT_FALSE(contains(chat("Hello\n", {"--no_model_defaults"}).err, said));
  const std::vector<std::string> words{"generate", model(), "--prompt", "Hello", "--max_new_tokens", "3"};
  EXPECT_FALSE(contains(run_arkit(words).err, said));
  std::vector<std::string> asking = words;
  asking.emplace_back("--model_defaults");
  EXPECT_TRUE(contains(run_arkit(asking).err, said));
}

TEST_F(ChatProgram, GenerateEndsBeforeAStopText) {
  const json::Object all = generated({"--prompt", "Hello", "--max_new_tokens", "24"});
  const std::string whole(all.at("text").as_string());
  EXPECT_EQ(all.at("ended_by").as_string(), "max_new_tokens");
  // Some characters in the middle, over whatever tokens.
  size_t begin = whole.size() / 2, end = begin + 5;
  const auto inside = [&](size_t at) { return (static_cast<unsigned char>(whole.at(at)) & 0xC0) == 0x80; };
  while (inside(begin)) ++begin;
  while (inside(end)) ++end;
  const std::string stop = whole.substr(begin, end - begin);
  const json::Object cut =
      generated({"--prompt", "Hello", "--max_new_tokens", "24", "--stop", "unwritten", "--stop", stop});
  EXPECT_EQ(std::string(cut.at("text").as_string()), whole.substr(0, whole.find(stop)));
  EXPECT_EQ(cut.at("ended_by").as_string(), "stop_text");
  EXPECT_LT(cut.at("new_tokens").to_number<int64_t>(), 24);
}

// Of several prompts each ends by itself.
TEST_F(ChatProgram, AStopTextEndsItsOwnPromptAlone) {
  const std::vector<std::string> common{"--prompt", "Hello", "--prompt", "Other words", "--max_new_tokens", "16"};
  const auto outputs = [&](std::vector<std::string> more) {
    std::vector<std::string> words{"generate", model(), "--json"};
    words.insert(words.end(), common.begin(), common.end());
    words.insert(words.end(), more.begin(), more.end());
    const Outcome run = run_arkit(words);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return json::parse(run.out, "stdout").at("outputs").as_array();
  };
  const json::Array plain = outputs({});
  const std::string first(plain.at(0).at("text").as_string()), second(plain.at(1).at("text").as_string());
  std::string stop = first.substr(0, 6);
  while ((static_cast<unsigned char>(first.at(stop.size())) & 0xC0) == 0x80 || contains(second, stop))
    stop += first[stop.size()];
  const json::Array cut = outputs({"--stop", stop});
  EXPECT_EQ(cut.at(0).at("text").as_string(), "");
  EXPECT_EQ(std::string(cut.at(1).at("text").as_string()), second);
}

// The program on a terminal of its own.
class Terminal {
 public:
  explicit Terminal(const std::vector<std::string>& command) {
    child_ = ::forkpty(&master_, nullptr, nullptr, nullptr);
    if (child_ != 0) return;
    std::vector<char*> argv;
    for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    ::execvp(argv[0], argv.data());
    ::_exit(127);
  }
  ~Terminal() {
    if (child_ > 0) {
      ::kill(child_, SIGKILL);
      ::waitpid(child_, nullptr, 0);
    }
    ::close(master_);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  void type(const std::string& keys) const {
    ASSERT_EQ(::write(master_, keys.data(), keys.size()), ssize_t(keys.size()));
  }
  // Reads until `part` was shown behind what earlier calls have seen; false after a minute or at the end.
  bool shows(const std::string& part) {
    while (true) {
      if (const size_t at = shown_.find(part, seen_); at != std::string::npos) {
        seen_ = at + part.size();
        return true;
      }
      if (!more(60'000)) return false;
    }
  }
  // A program that ended; everything it wrote is in shown().
  int exit_code() {
    while (more(60'000)) continue;
    int status = 0;
    if (::waitpid(child_, &status, 0) == child_) child_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  void kill(int number) const { ::kill(child_, number); }
  const std::string& shown() const { return shown_; }
  size_t seen() const { return seen_; }
  bool more(int milliseconds) {
    pollfd wait{master_, POLLIN, 0};
    if (::poll(&wait, 1, milliseconds) <= 0) return false;
    char bytes[4096];
    const ssize_t count = ::read(master_, bytes, sizeof(bytes));
    if (count <= 0) return false;
    shown_.append(bytes, static_cast<size_t>(count));
    return true;
  }

 private:
  int master_ = -1;
  pid_t child_ = -1;
  std::string shown_;
  size_t seen_ = 0;
};

// An answer that would take minutes: Ctrl-C ends it, the conversation goes on, and only what is new is computed.
TEST_F(ChatProgram, CtrlCStopsTheAnswerAndNotTheProgram) {
  Terminal terminal({ARKIT_BINARY, "chat", model(), "--max_new_tokens", "400000", "--context_tokens", "500000",
                     "--logit_bias", "2:-100"});
  ASSERT_TRUE(terminal.shows("\n> ")) << terminal.shown();
  terminal.type("Hello\n");
  ASSERT_TRUE(terminal.shows("Hello\r\n")) << "the terminal's echo";
  while (terminal.shown().size() < terminal.seen() + 40) ASSERT_TRUE(terminal.more(60'000));
  terminal.type("\x03");
  ASSERT_TRUE(terminal.shows("\n> ")) << terminal.shown();
  terminal.type("/nonsense\n");
  EXPECT_TRUE(terminal.shows("unknown command '/nonsense'")) << "a person's mistake ends nothing";
  ASSERT_TRUE(terminal.shows("> "));
  terminal.type("Again\n");
  ASSERT_TRUE(terminal.shows("Again\r\n"));
  while (terminal.shown().size() < terminal.seen() + 40) ASSERT_TRUE(terminal.more(60'000));
  terminal.type("\x03");
  ASSERT_TRUE(terminal.shows("\n> ")) << terminal.shown();
  terminal.type("/exit\n");
  EXPECT_EQ(terminal.exit_code(), 0) << terminal.shown();
}

TEST_F(ChatProgram, CtrlCTwiceAtThePromptLeaves) {
  Terminal terminal({ARKIT_BINARY, "chat", model(), "--max_new_tokens", "3"});
  ASSERT_TRUE(terminal.shows("\n> ")) << terminal.shown();
  terminal.type("\x03");
  ASSERT_TRUE(terminal.shows("once more")) << terminal.shown();
  ASSERT_TRUE(terminal.shows("> "));
  terminal.type("Hello\n");
  ASSERT_TRUE(terminal.shows("\n> ")) << "the first one is forgotten";
  terminal.type("\x03");
  ASSERT_TRUE(terminal.shows("once more"));
  ASSERT_TRUE(terminal.shows("> "));
  terminal.type("\x03");
  EXPECT_EQ(terminal.exit_code(), 0);
}

TEST_F(ChatProgram, TheEndOfInputLeavesAndSigtermEnds) {
  Terminal one({ARKIT_BINARY, "chat", model()});
  ASSERT_TRUE(one.shows("\n> "));
  one.type("\x04");
  EXPECT_EQ(one.exit_code(), 0);
  Terminal two({ARKIT_BINARY, "chat", model()});
  ASSERT_TRUE(two.shows("\n> "));
  two.kill(SIGTERM);
  EXPECT_EQ(two.exit_code(), 130) << two.shown();
}

// What a model writes moves no cursor; a pipe gets it as it is.
TEST_F(ChatProgram, ATerminalGetsNoControlCharacters) {
  Terminal terminal({ARKIT_BINARY, "generate", model(), "--prompt", "Hello", "--max_new_tokens", "200", "-q"});
  EXPECT_EQ(terminal.exit_code(), 0);
  for (const char c : terminal.shown())
    EXPECT_TRUE(static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\r' || c == '\t');
  EXPECT_GT(terminal.shown().size(), 200U);
}

}  // namespace
