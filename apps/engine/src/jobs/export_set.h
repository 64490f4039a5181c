#pragma once
// The formats one run writes: chosen and asked at plan time, fed block by block, finished together.

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/engine/jobs.h>
#include <arkit/exporter.h>
#include <arkit/exporter_options.h>
#include <arkit/registry.h>

namespace arkit {
namespace output {
class OutputFolder;
}

struct FormatChoice {
  Exporter* exporter = nullptr;
  std::string name;  // as asked for: "auto_round", "auto_round:auto_awq"; also the variant given to the exporter
  // One format: the output folder itself; several: a subfolder named after the format.
  std::filesystem::path output_dir;
  std::shared_ptr<Exporter> told;  // where the format has options and some were given, what `exporter` points to
};

// Options of formats as words for ExporterOptions::with. Throws ErrorCode::usage for one without '='.
[[nodiscard]] FormatWords format_words(const FormatOptions& options);

// Resolves names, each once, and tells formats the options they have. `from_recipe`: formats that record a recipe file,
// in their variant for it; no name = all of those. Throws ErrorCode::unsupported with the nearest name, ErrorCode::usage
// for an option that none of the formats has.
[[nodiscard]] std::vector<FormatChoice> find_formats(const std::vector<std::string>& names, bool from_recipe,
                                                     const std::filesystem::path& output_dir, const Registry& registry,
                                                     const FormatWords& words = {});

// The same, and asks every exporter about every quantized layer. Throws ErrorCode::unsupported with the exporter's
// reason.
[[nodiscard]] std::vector<FormatChoice> choose_formats(const std::vector<std::string>& names, const QuantPlan& plan,
                                                       bool from_recipe, const std::filesystem::path& output_dir,
                                                       const Registry& registry, const FormatWords& words);

// Asks formats that want to see the model itself (SourceCheck). Throws ErrorCode::unsupported with the exporter's
// reason.
void check_source(const std::vector<FormatChoice>& formats, const QuantPlan& plan, const ModelSource& source);

[[nodiscard]] bool any_wants(const std::vector<FormatChoice>& formats, bool ExporterInfo::*what);
// Does a format ask for the importance of inputs, so that a recipe without samples has to take some?
[[nodiscard]] bool wants_samples(const QuantizeOptions& options, const Registry& registry);

// Why a format cannot have them, and which can: the beginning of a sentence.
[[nodiscard]] std::string no_attention_scales(const std::string& format, const Registry& registry);

// Is this a source tensor that no export takes: a tied head, a RoPE buffer?
[[nodiscard]] bool is_dropped(const QuantPlan& plan, std::string_view tensor);

// Bytes of packed layers plus untouched tensors, per format; known from the plan.
[[nodiscard]] int64_t planned_bytes(const FormatChoice& format, const QuantPlan& plan, const WeightSource& weights);
// With the source's tokenizer and other companions. The texts that a run writes itself (configuration, headers, record,
// card) are not in it.
[[nodiscard]] int64_t planned_folder_bytes(const FormatChoice& format, const QuantPlan& plan,
                                           const ModelSource& source);
// What a dry run tells: the files that the format would write, to the byte, where it knows (FreeMix::file_bytes), else
// planned_folder_bytes.
[[nodiscard]] int64_t foretold_bytes(const FormatChoice& format, const ExportRequest& request);
// A file that the run wrote itself beside what the format wrote counts as well.
void count_file(ExportReport& report, const std::filesystem::path& folder, const std::filesystem::path& name);

// The folder of the run; see OutputFolder for what it throws.
[[nodiscard]] std::unique_ptr<output::OutputFolder> open_output(const std::filesystem::path& output_dir,
                                                                const std::vector<FormatChoice>& formats,
                                                                const ModelSource& source, bool force,
                                                                Reporter& reporter);
// The same, with room for all formats and for `shards` more bytes beside it.
[[nodiscard]] std::unique_ptr<output::OutputFolder> prepare_output(const std::filesystem::path& output_dir,
                                                                   const std::vector<FormatChoice>& formats,
                                                                   const QuantPlan& plan, const ModelSource& source,
                                                                   bool force, Reporter& reporter, int64_t shards = 0);

class ExportSet {
 public:
  // Every format writes into its folder of `output`, whatever `request` says.
  ExportSet(std::vector<FormatChoice> formats, const ExportRequest& request, const output::OutputFolder& output);

  // Does a format ask for it: one of the wants_ of ExporterInfo?
  [[nodiscard]] bool wants(bool ExporterInfo::*what) const { return any_wants(formats_, what); }
  void add_layer(const LayerRecord& layer);
  // Do all formats take this layer in strips?
  [[nodiscard]] bool takes_strips(const LayerPlan& layer) const;
  void add_strip(const LayerRecord& strip, int64_t first_row);
  void add_plain(std::string_view name, const at::Tensor& tensor, bool changed);
  void add_attention(const AttentionRanges& ranges);
  // Finishes every job.
  [[nodiscard]] std::vector<ExportReport> finish(Reporter& reporter);
  [[nodiscard]] const std::vector<FormatChoice>& formats() const { return formats_; }
  // Where the files of format `i` are until the run is complete.
  [[nodiscard]] const std::filesystem::path& staged(size_t i) const { return staged_[i]; }

 private:
  std::vector<FormatChoice> formats_;
  std::vector<std::filesystem::path> staged_;
  std::vector<std::unique_ptr<ExportJob>> jobs_;
};

}  // namespace arkit
