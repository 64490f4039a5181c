#include "io/companion_files.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <arkit/error.h>
#include <arkit/file_start.h>
#include <arkit/json.h>
#include <arkit/str.h>

#include "io/safe_path.h"
#include "io/weight_names.h"

namespace arkit::io {
namespace fs = std::filesystem;
namespace {

constexpr size_t kMostFiles = 10000;
constexpr int kDeepest = 8;
constexpr uintmax_t kLargestPointer = 1024;  // bytes of a Git LFS pointer, at most

constexpr std::array<std::string_view, 15> kFirst{"generation_config.json",
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

// An export has its own: configuration, card, record, and whatever says how the source was quantized.
constexpr std::array<std::string_view, 8> kReplaced{
    "config.json",          "README.md",         "arkit-run.json", "quantization_config.json",
    "quantize_config.json", "quant_config.json", "recipe.yaml",    "hf_quant_config.json"};

// Version control, caches and editors; a run that is writing here.
bool is_hidden(std::string_view name) {
  return name.starts_with('.') || name == "__pycache__" || name.ends_with(".part") || name.ends_with(".pyc");
}

// Of an adapter at the side of a model. A loader that finds its configuration loads the adapter's base model instead.
bool is_adapter_name(std::string_view name) {
  return name == "adapter_config.json" || name.starts_with("adapter_model.");
}

using PathSet = std::set<std::string, std::less<>>;

// "./2_Dense/" -> "2_Dense"; empty for the folder of the model itself.
std::string module_path(std::string_view named, const fs::path& folder) {
  const fs::path path = fs::path(named).lexically_normal();
  if (path.is_absolute() || (!path.empty() && *path.begin() == ".."))
    throw_input(str("'", (folder / "modules.json").string(), "': names the module '", printable(named),
                    "'; only folders inside the model's own are accepted"));
  std::string text = path.string();
  if (text.ends_with('/')) text.pop_back();
  return text == "." ? std::string() : text;
}

// Modules of a pipeline (sentence-transformers) are part of the model with all they hold; "modules.json" names them.
PathSet pipeline_modules(const fs::path& folder) {
  PathSet modules;
  if (!has_entry(folder, "modules.json")) return modules;
  const json::Value list = json::read_file(resolve_file(folder, "modules.json"));
  if (!list.is_array()) return modules;
  for (const json::Value& item : list.get_array()) {
    const json::Value* path = item.is_object() ? json::find(item.get_object(), "path") : nullptr;
    if (path == nullptr || !path->is_string()) continue;
    if (std::string named = module_path(path->get_string(), folder); !named.empty()) modules.insert(std::move(named));
  }
  return modules;
}

void refuse_pointer(const fs::path& file) {
  std::error_code error;
  if (const auto size = fs::file_size(file, error); error || size > kLargestPointer) return;
  std::string start(64, '\0');
  std::ifstream in(file, std::ios::binary);
  in.read(start.data(), static_cast<std::streamsize>(start.size()));
  start.resize(static_cast<size_t>(in.gcount()));
  refuse_lfs_pointer(start, str("'", file.string(), "'"));
}

// In the folder of a module: what the pipeline loads of it. Pickles where it has nothing else; arkit does not open
// them.
bool is_module_weight(const fs::path& folder, std::string_view name) {
  return name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json") ||
         (name == "pytorch_model.bin" && !has_entry(folder, "model.safetensors"));
}

// Copies as the makers of a model saved it are no models of their own, whatever they are stored as.
bool holds_safetensors(const fs::path& folder) {
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    if (it->path().extension() == ".safetensors") return folder.filename() != "original";
  return false;
}

class Collector {
 public:
  explicit Collector(const fs::path& folder) : modules_(pipeline_modules(folder)) {}

  [[nodiscard]] LeftOut take_left_out() { return std::move(left_out_); }

  // Files of `folder`, named "<prefix><name>". False = it holds weights, and nothing of it travels.
  bool collect(const fs::path& folder, const std::string& prefix, bool with_weights,
               std::vector<CompanionFile>& files) {
    if (!is_new(folder, prefix)) return true;
    const bool top = prefix.empty();
    std::vector<fs::path> entries;
    std::error_code error;
    for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
      entries.push_back(it->path());
    if (error) throw_input(str("'", folder.string(), "': cannot be read (", error.message(), ")"));
    std::sort(entries.begin(), entries.end());
    for (const fs::path& entry : entries) {
      const std::string name = entry.filename().string();
      if (is_hidden(name) || (top && is_replaced(name))) continue;
      const fs::file_status status = fs::status(entry, error);  // of what a link leads to
      if (fs::is_directory(status)) {
        const std::string path = prefix + name;
        std::vector<CompanionFile> inner;
        if (collect(entry, path + "/", with_weights || modules_.contains(path), inner))
          files.insert(files.end(), std::make_move_iterator(inner.begin()), std::make_move_iterator(inner.end()));
        else
          (holds_safetensors(entry) ? left_out_.models : left_out_.formats).push_back(path + "/");
        continue;
      }
      if (top && is_adapter_name(name)) {
        left_out_.adapter.push_back(name);
        continue;
      }
      if (is_weight_name(name)) {
        if (!top && !with_weights) return false;
        if (!with_weights || !is_module_weight(folder, name)) {
          left_out_.files.push_back(prefix + name);
          continue;
        }
      }
      const fs::path file = resolve_file(folder, name);
      refuse_pointer(file);
      files.push_back({prefix + name, file, {}});
      if (files.size() > kMostFiles)
        throw_input(str("'", folder.string(), "': more than ", kMostFiles,
                        " files beside the weights; is this the folder of a model?"));
    }
    return true;
  }

 private:
  static bool is_replaced(std::string_view name) {
    return std::find(kReplaced.begin(), kReplaced.end(), name) != kReplaced.end();
  }

  // A link may lead back to a folder that was seen, or to one that holds the model.
  bool is_new(const fs::path& folder, const std::string& prefix) {
    const fs::path real = fs::canonical(folder);
    if (root_.empty()) root_ = real;
    const auto [in_root, in_real] = std::mismatch(root_.begin(), root_.end(), real.begin(), real.end());
    if (in_real == real.end() && in_root != root_.end()) return false;
    if (std::count(prefix.begin(), prefix.end(), '/') > kDeepest)
      throw_input(str("'", folder.string(), "': more than ", kDeepest, " folders deep in the folder of a model"));
    return visited_.insert(real).second;
  }

  PathSet modules_;
  LeftOut left_out_;
  fs::path root_;
  std::set<fs::path> visited_;
};

}  // namespace

std::span<const std::string_view> well_known_texts() {
  return kFirst;
}

std::vector<CompanionFile> companion_files(const fs::path& folder) {
  std::vector<CompanionFile> files;
  Collector(folder).collect(folder, "", false, files);
  const auto rank = [](const CompanionFile& file) {
    return std::find(kFirst.begin(), kFirst.end(), file.name) - kFirst.begin();
  };
  std::stable_sort(files.begin(), files.end(), [&](const auto& a, const auto& b) { return rank(a) < rank(b); });
  return files;
}

LeftOut left_out_files(const fs::path& folder) {
  std::vector<CompanionFile> files;
  Collector collector(folder);
  collector.collect(folder, "", false, files);
  return collector.take_left_out();
}

}  // namespace arkit::io
