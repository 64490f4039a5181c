// A Hugging Face model folder: config.json, safetensors, and the texts that travel with a model.

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/model_source.h>
#include <arkit/str.h>

#include "io/safe_path.h"

namespace arkit {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kMaxConfigBytes = int64_t{16} << 20;
constexpr int64_t kMaxTextBytes = int64_t{64} << 20;  // tokenizer.json of 260,000 tokens: 33 MB

// In the order an export lists them.
constexpr std::array<std::string_view, 15> kCompanions{"generation_config.json",
                                                       "tokenizer.json",
                                                       "tokenizer_config.json",
                                                       "special_tokens_map.json",
                                                       "added_tokens.json",
                                                       "chat_template.jinja",
                                                       "chat_template.json",
                                                       "vocab.json",
                                                       "merges.txt",
                                                       "tokenizer.model",
                                                       "preprocessor_config.json",
                                                       "processor_config.json",
                                                       "image_processor_config.json",
                                                       "video_preprocessor_config.json",
                                                       "feature_extractor_config.json"};

// Licence texts and the Python files of remote-code models; the latter are copied, never run.
bool is_carried_by_pattern(std::string_view name) {
  const std::string upper = [&] {
    std::string out(name);
    std::transform(out.begin(), out.end(), out.begin(),
                   [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
    return out;
  }();
  return upper.starts_with("LICENSE") || upper.starts_with("LICENCE") || upper.starts_with("NOTICE") ||
         upper.starts_with("USE_POLICY") || name.ends_with(".py");
}

std::string read_text(const fs::path& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  if (error) throw_input(str("'", path.string(), "': cannot be read (", error.message(), ")"));
  if (static_cast<int64_t>(size) > kMaxTextBytes)
    throw_input(str("'", path.string(), "': has ", size, " bytes, at most ", kMaxTextBytes, " are accepted"));
  std::ifstream in(path, std::ios::binary);
  std::string text(size, '\0');
  if (!in.read(text.data(), static_cast<std::streamsize>(size))) throw_input(str("'", path.string(), "': read error"));
  return text;
}

class HfFolder final : public ModelSource {
 public:
  explicit HfFolder(fs::path folder) : folder_(std::move(folder)) {
    const fs::path config = io::resolve_inside(folder_, "config.json");
    config_ = json::as_object(json::read_file(config, kMaxConfigBytes), str("'", config.string(), "'"));
    weights_ = open_safetensors(folder_);
  }

  [[nodiscard]] std::string kind() const override { return "safetensors"; }
  [[nodiscard]] const fs::path& path() const override { return folder_; }
  [[nodiscard]] const json::Object& config() const override { return config_; }
  [[nodiscard]] const WeightSource& weights() const override { return *weights_; }

  [[nodiscard]] std::string tokenizer_json() const override {
    if (!io::has_file(folder_, "tokenizer.json")) return {};
    return read_text(io::resolve_inside(folder_, "tokenizer.json"));
  }

  [[nodiscard]] json::Object tokenizer_config() const override {
    json::Object config = object_file("tokenizer_config.json");
    if (json::find(config, "chat_template") != nullptr) return config;
    if (io::has_file(folder_, "chat_template.jinja")) {
      config["chat_template"] = read_text(io::resolve_inside(folder_, "chat_template.jinja"));
    } else {
      const json::Object templates = object_file("chat_template.json");  // how processors stored it
      if (const json::Value* text = json::find(templates, "chat_template")) config["chat_template"] = *text;
    }
    return config;
  }

  [[nodiscard]] std::vector<CompanionFile> companions() const override {
    std::vector<CompanionFile> files;
    const auto add = [&](const std::string& name) { files.push_back({name, io::resolve_inside(folder_, name), {}}); };
    for (const std::string_view name : kCompanions)
      if (io::has_file(folder_, name)) add(std::string(name));
    std::vector<std::string> more;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder_)) {
      std::string name = entry.path().filename().string();
      if (entry.is_regular_file() && is_carried_by_pattern(name)) more.push_back(std::move(name));
    }
    std::sort(more.begin(), more.end());
    for (const std::string& name : more) add(name);
    return files;
  }

 private:
  // A JSON object of the folder; empty when the file is absent.
  [[nodiscard]] json::Object object_file(std::string_view name) const {
    if (!io::has_file(folder_, name)) return {};
    const fs::path path = io::resolve_inside(folder_, name);
    return json::as_object(json::read_file(path, kMaxConfigBytes), str("'", path.string(), "'"));
  }

  fs::path folder_;
  json::Object config_;
  std::unique_ptr<WeightSource> weights_;
};

}  // namespace

std::unique_ptr<ModelSource> open_hf_folder(const fs::path& folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) throw_input(str("'", folder.string(), "': is not a folder"));
  if (!io::has_file(folder, "config.json"))
    throw_input(str("'", folder.string(), "': has no config.json; expected a Hugging Face model folder"));
  return std::make_unique<HfFolder>(folder);
}

}  // namespace arkit
