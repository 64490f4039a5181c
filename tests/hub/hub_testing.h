#pragma once
// A hub that runs beside the test (hub_server.py) and a cache of its own.

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <random>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <arkit/error.h>
#include <arkit/json.h>
#include <arkit/log.h>
#include <arkit/str.h>

#include "hub/hub.h"
#include "hub/settings.h"
#include "io/io_testing.h"
#include "process_environment.h"

namespace arkit::testing {

namespace fs = std::filesystem;

constexpr const char* kToken = "hf_test_token";  // that the server knows

inline std::string read_all(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

inline void write_all(const fs::path& path, const std::string& content) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << content;
}

// The same for the same seed.
inline std::string random_bytes(size_t count, unsigned seed = 1) {
  std::mt19937 random(seed);
  std::string bytes(count, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random() & 255);
  return bytes;
}

class HubServer {
 public:
  // With `tls` (certificate and key) it speaks HTTPS.
  explicit HubServer(const std::vector<std::string>& tls = {}) {
    int in[2], out[2];
    if (::pipe(in) != 0 || ::pipe(out) != 0) std::abort();
    child_ = ::fork();
    if (child_ == 0) {
      ::dup2(in[0], STDIN_FILENO);
      ::dup2(out[1], STDOUT_FILENO);
      for (const int end : {in[0], in[1], out[0], out[1]}) ::close(end);
      std::vector<std::string> words{"python3", ARKIT_HUB_SERVER, root_.path().string()};
      if (!tls.empty()) words.insert(words.end(), {"--tls", tls[0], tls[1]});
      std::vector<char*> arguments;
      for (std::string& word : words) arguments.push_back(word.data());
      arguments.push_back(nullptr);
      ::execvp(arguments[0], arguments.data());
      ::_exit(127);
    }
    ::close(in[0]);
    ::close(out[1]);
    stop_ = in[1];
    std::FILE* ports = ::fdopen(out[0], "r");
    if (std::fscanf(ports, "%d %d", &port, &cdn_port) != 2) port = 0;
    std::fclose(ports);
    endpoint = str(tls.empty() ? "http" : "https", "://localhost:", port);
  }
  ~HubServer() {
    ::close(stop_);
    ::waitpid(child_, nullptr, 0);
  }
  HubServer(const HubServer&) = delete;
  HubServer& operator=(const HubServer&) = delete;

  // "models/org/tiny/config.json"
  void add(const std::string& file, const std::string& content) const { root_.write(file, content); }
  void set_faults(const std::string& text) const { fs::rename(root_.write("new", text), root_.path() / "faults.json"); }
  void forget_requests() const { fs::remove(root_.path() / "requests.log"); }
  // Those whose path ends so.
  [[nodiscard]] std::vector<json::Object> requests(const std::string& end = {}) const {
    std::vector<json::Object> all;
    std::ifstream in(root_.path() / "requests.log");
    for (std::string line; std::getline(in, line);) {
      const json::Object request = json::parse(line, "request").as_object();
      if (std::string_view(request.at("path").as_string()).ends_with(end)) all.push_back(request);
    }
    return all;
  }
  [[nodiscard]] const fs::path& root() const { return root_.path(); }

  int port = 0, cdn_port = 0;
  std::string endpoint;

 private:
  TempDir root_;
  pid_t child_ = -1;
  int stop_ = -1;
};

// Keeps what is said.
class Heard final : public Reporter {
 public:
  void step(std::string_view what) override { keep(what); }
  void info(std::string_view message) override { keep(message); }
  void warn(std::string_view message) override { keep(str("warning: ", message)); }
  void progress(const Progress& progress) override {
    const std::lock_guard lock(mutex_);
    activities.push_back(str(progress.what, " ", progress.done, "/", progress.total, " ", progress.unit));
  }
  [[nodiscard]] bool said(const std::string& part) const { return all.find(part) != std::string::npos; }

  std::string all;
  std::vector<std::string> activities;

 private:
  void keep(std::string_view text) {
    const std::lock_guard lock(mutex_);
    all += std::string(text) + "\n";
  }
  std::mutex mutex_;
};

template <typename Call>
std::string refusal(ErrorCode code, const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(code)) << error.what();
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// A server with models/org/tiny, and settings that do not wait.
class HubTest : public ::testing::Test {
 protected:
  HubTest() {
    settings.endpoint = server.endpoint;
    settings.cache = cache.path() / "hub";
    settings.first_wait = 0.001;
    server.add("models/org/tiny/config.json", "{\"model_type\": \"llama\"}");
    server.add("models/org/tiny/tokenizer.json", "{}");
    server.add("models/org/tiny/model.safetensors", weights);
  }
  [[nodiscard]] std::unique_ptr<hub::Hub> open() { return hub::open_hub(settings, heard); }
  // Of the file of org/tiny.
  fs::path fetch(const std::string& path) {
    const auto hub = open();
    return hub->fetch(hub->snapshot(repo), path);
  }
  // Files of the cache whose name ends so.
  [[nodiscard]] std::vector<fs::path> files(const std::string& end = {}) const {
    std::vector<fs::path> found;
    if (!fs::exists(settings.cache)) return found;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(settings.cache))
      if (!entry.is_directory() && entry.path().string().ends_with(end)) found.push_back(entry.path());
    return found;
  }

  HubServer server;
  TempDir cache;
  Heard heard;
  hub::Settings settings;
  const hub::Repo repo{hub::RepoKind::model, "org/tiny", "main"};
  const std::string weights = random_bytes(5000);
};

// The same for code that finds hub and cache in the environment.
class NamedHubTest : public HubTest {
 protected:
  NamedHubTest() {
    environment.set("HF_ENDPOINT", server.endpoint);
    environment.set("HF_HUB_CACHE", settings.cache.string());
    environment.unset("HF_HUB_OFFLINE");
  }

  Environment environment;
};

}  // namespace arkit::testing
