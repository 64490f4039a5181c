// A Hugging Face model folder: config.json, safetensors, and the texts that travel with a model.

#include <algorithm>
#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/file_start.h>
#include <arkit/model_source.h>
#include <arkit/str.h>

#include "io/companion_files.h"
#include "io/safe_path.h"

namespace arkit {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kMaxConfigBytes = int64_t{16} << 20;
constexpr int64_t kMaxTextBytes = int64_t{64} << 20;  // tokenizer.json of 260,000 tokens: 33 MB

std::string read_text(const fs::path& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  if (error) throw_input(str("'", path.string(), "': cannot be read (", error.message(), ")"));
  if (static_cast<int64_t>(size) > kMaxTextBytes)
    throw_input(str("'", path.string(), "': has ", size, " bytes, at most ", kMaxTextBytes, " are accepted"));
  std::ifstream in(path, std::ios::binary);
  std::string text(size, '\0');
  if (!in.read(text.data(), static_cast<std::streamsize>(size))) throw_input(str("'", path.string(), "': read error"));
  refuse_lfs_pointer(text, str("'", path.string(), "'"));
  return text;
}

constexpr std::string_view kTemplateFile = "chat_template.jinja", kTemplateFolder = "additional_chat_templates",
                           kOldTemplateFile = "chat_template.json";

std::string read_template(const fs::path& folder, std::string_view name) {
  return std::string(without_byte_order_mark(read_text(io::resolve_file(folder, name))));
}

class HfFolder final : public ModelSource, private TokenizerTexts {
 public:
  explicit HfFolder(fs::path folder) : folder_(std::move(folder)) {
    const fs::path config = io::resolve_file(folder_, "config.json");
    config_ = json::as_object(json::read_file(config, kMaxConfigBytes), str("'", config.string(), "'"));
    weights_ = open_safetensors(folder_);
    for (const std::string_view name : {std::string_view("tokenizer.json"), std::string_view("tokenizer_config.json"),
                                        kTemplateFile, kTemplateFolder, kOldTemplateFile})
      has_tokenizer_ = has_tokenizer_ || io::has_entry(folder_, name);
  }

  [[nodiscard]] std::string kind() const override { return "safetensors"; }
  [[nodiscard]] const fs::path& path() const override { return folder_; }
  [[nodiscard]] const json::Object& config() const override { return config_; }
  [[nodiscard]] const WeightSource& weights() const override { return *weights_; }

  [[nodiscard]] std::vector<CompanionFile> companions() const override { return io::companion_files(folder_); }
  [[nodiscard]] const TokenizerTexts* tokenizer() const override { return has_tokenizer_ ? this : nullptr; }

 private:
  [[nodiscard]] std::string tokenizer_json() const override {
    if (!io::has_entry(folder_, "tokenizer.json")) return {};
    return read_text(io::resolve_file(folder_, "tokenizer.json"));
  }

  // As transformers does: templates in files of their own take the place of the one in tokenizer_config.json;
  // chat_template.json, where processors kept it, is asked last.
  [[nodiscard]] json::Object tokenizer_config() const override {
    json::Object config = object_file("tokenizer_config.json");
    const bool has_default = io::has_entry(folder_, kTemplateFile);
    const json::Array named = additional_templates();
    if (!named.empty()) {
      json::Array all;
      if (has_default)
        all.emplace_back(json::Object{{"name", "default"}, {"template", read_template(folder_, kTemplateFile)}});
      all.insert(all.end(), named.begin(), named.end());
      config["chat_template"] = std::move(all);
    } else if (has_default) {
      config["chat_template"] = read_template(folder_, kTemplateFile);
    } else if (json::find(config, "chat_template") == nullptr) {
      const json::Object templates = object_file(kOldTemplateFile);
      if (const json::Value* text = json::find(templates, "chat_template")) config["chat_template"] = *text;
    }
    return config;
  }

  // {"name": "rag", "template": ...} of every file in the folder for them.
  [[nodiscard]] json::Array additional_templates() const {
    constexpr std::string_view kEnding = ".jinja";
    const fs::path folder = folder_ / kTemplateFolder;
    std::vector<std::string> names;
    std::error_code error;
    for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
      if (it->path().extension() == kEnding) names.push_back(it->path().filename().string());
    std::sort(names.begin(), names.end());
    json::Array templates;
    for (const std::string& name : names)
      templates.emplace_back(json::Object{{"name", name.substr(0, name.size() - kEnding.size())},
                                          {"template", read_template(folder, name)}});
    return templates;
  }

  // A JSON object of the folder; empty when the file is absent.
  [[nodiscard]] json::Object object_file(std::string_view name) const {
    if (!io::has_entry(folder_, name)) return {};
    const fs::path path = io::resolve_file(folder_, name);
    return json::as_object(json::read_file(path, kMaxConfigBytes), str("'", path.string(), "'"));
  }

  fs::path folder_;
  json::Object config_;
  std::unique_ptr<WeightSource> weights_;
  bool has_tokenizer_ = false;
};

}  // namespace

std::unique_ptr<ModelSource> open_hf_folder(const fs::path& folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) throw_input(str("'", folder.string(), "': is not a folder"));
  if (!io::has_entry(folder, "config.json") && io::has_entry(folder, "adapter_config.json"))
    throw_input(str("'", folder.string(),
                    "': holds an adapter (adapter_config.json) and no model; merge it into its base "
                    "model first (in Python, with peft: merge_and_unload(), then save_pretrained)"));
  if (!io::has_entry(folder, "config.json"))
    throw_input(str("'", folder.string(), "': has no config.json; expected a Hugging Face model folder"));
  return std::make_unique<HfFolder>(folder);
}

}  // namespace arkit
