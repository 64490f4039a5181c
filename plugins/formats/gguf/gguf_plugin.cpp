// The gguf plugin: reads models from GGUF files and writes them.

#include <cstring>
#include <fstream>

#include <ATen/ATen.h>

#include <arkit/file_tool.h>
#include <arkit/model_source.h>
#include <arkit/plugin.h>

#include "gguf_exporter.h"
#include "gguf_imatrix.h"
#include "gguf_parts.h"
#include "gguf_source.h"
#include "gguf_tool.h"

namespace arkit::gguf {
namespace {

struct Work {
  const std::filesystem::path& file;
  json::Object operator()(const ShowFile& task) const { return show_file(file, task); }
  json::Object operator()(const SetMetadata& task) const { return set_metadata(file, task); }
  json::Object operator()(const SplitFile& task) const { return split_file(file, task); }
  json::Object operator()(const MergeFile& task) const { return merge_file(file, task); }
};

class GgufReader final : public ModelReader, public FileTool, public ImatrixFiles {
 public:
  [[nodiscard]] const ReaderInfo& info() const noexcept override {
    static constexpr ReaderInfo kInfo{"gguf",
                                      "GGUF files of llama.cpp: weights, configuration, tokenizer, chat template"};
    return kInfo;
  }

  [[nodiscard]] Verdict matches(const std::filesystem::path& path, const json::Object* config) const override {
    std::error_code error;
    if (config == nullptr && std::filesystem::is_directory(path, error))
      return first_part_in(path).empty() ? Verdict::no("no folder of the parts of one model") : Verdict::yes();
    if (!std::filesystem::is_regular_file(path, error)) return Verdict::no("not a file");
    char magic[4] = {};
    std::ifstream(path, std::ios::binary).read(magic, sizeof(magic));
    if (std::memcmp(magic, "GGUF", sizeof(magic)) == 0 || path.extension() == ".gguf") return Verdict::yes();
    return Verdict::no("neither the name nor the first bytes are those of a GGUF file");
  }

  [[nodiscard]] std::unique_ptr<ModelSource> open(const std::filesystem::path& path) const override {
    std::error_code error;
    return open_gguf(std::filesystem::is_directory(path, error) ? first_part_in(path) : path);
  }

  [[nodiscard]] json::Object work_on(const std::filesystem::path& file, const FileTask& task) const override {
    return std::visit(Work{file}, task);
  }
};

}  // namespace
}  // namespace arkit::gguf

ARKIT_PLUGIN("arkit.gguf", "0.1.0", "arkit", "Apache-2.0", "https://github.com/arkit/arkit",
             arkit::component<arkit::ModelReader, arkit::gguf::GgufReader>("gguf", "reads GGUF files"),
             arkit::component<arkit::Exporter, arkit::gguf::GgufExporter>("gguf", "writes GGUF files"));
