// Options of the commands that work on an export.
#include <arkit/engine/option_table.h>

namespace arkit {
namespace {

using enum OptionType;

constexpr std::string_view kOutput = "Output";
constexpr std::string_view kRun = "Run";

constexpr OptionOf<VerifyOptions> kVerify[] = {
    option_at<&VerifyOptions::against>({.name = "against",
                                        .group = kRun,
                                        .unit = "SRC",
                                        .help = "source model to compare with",
                                        .absent = "from arkit-run.json"}),
};

constexpr OptionOf<ConvertOptions> kConvert[] = {
    option_at<&ConvertOptions::formats>({.name = "format",
                                         .type = list,
                                         .group = kOutput,
                                         .unit = "F[,F2]",
                                         .help = "formats to write ('arkit list formats')",
                                         .aliases = "formats"}),
    option_at<&ConvertOptions::output_dir>({.name = "output_dir",
                                            .type = path,
                                            .group = kOutput,
                                            .unit = "DIR",
                                            .help = "where to write; several formats get a subfolder each",
                                            .absent = "<export>-<format>",
                                            .aliases = "o"}),
    option_at<&ConvertOptions::allow_rounding>(
        {.name = "allow_rounding",
         .type = flag,
         .group = kOutput,
         .help = "scales and offsets the format cannot hold exactly are rounded to float16, by at most 0.05 %; codes "
                 "and zero points never change"}),
    option_at<&ConvertOptions::dtype>(
        {.name = "dtype",
         .group = kOutput,
         .unit = "T",
         .help = "type of the numbers of a model of which nothing is packed; auto = as they are stored, and what is "
                 "stored in codes in the type the model came in",
         .choices = "auto float32 float16 bfloat16"}),
    option_at<&ConvertOptions::max_shard_bytes>(
        {.name = "max_shard_size",
         .type = bytes,
         .group = kOutput,
         .unit = "SIZE",
         .help = "largest weight file: 5GB, 200MB, 64KB or bytes (1GB = 1000^3)"}),
    option_at<&ConvertOptions::force>(
        {.name = "force",
         .type = flag,
         .group = kOutput,
         .help = "replace the export in the output folder, all of it and nothing else, when the new one is complete"}),
    option_at<&ConvertOptions::dry_run>({.name = "dry_run",
                                         .type = flag,
                                         .group = kRun,
                                         .help = "try every layer and print the plan and its size; write nothing"}),
};

constexpr OptionOf<ReproduceOptions> kReproduce[] = {
    option_at<&ReproduceOptions::model>({.name = "model",
                                         .group = kRun,
                                         .unit = "MODEL",
                                         .help = "where the source model lies now",
                                         .absent = "from arkit-run.json"}),
    option_at<&ReproduceOptions::output_dir>({.name = "output_dir",
                                              .type = path,
                                              .group = kOutput,
                                              .unit = "DIR",
                                              .help = "where to write; several formats get a subfolder each",
                                              .absent = "<export>-again",
                                              .aliases = "o"}),
    option_at<&ReproduceOptions::force>(
        {.name = "force",
         .type = flag,
         .group = kOutput,
         .help = "replace the export in the output folder, all of it and nothing else, when the new one is complete"}),
    option_at<&ReproduceOptions::allow_changed>(
        {.name = "allow_changed",
         .type = flag,
         .group = kRun,
         .help = "run although versions, plugins, the model or its data are not as recorded"}),
    option_at<&ReproduceOptions::dry_run>(
        {.name = "dry_run", .type = flag, .group = kRun, .help = "only say what is not as recorded"}),
};

}  // namespace

template <>
std::span<const OptionOf<ReproduceOptions>> option_table() {
  return kReproduce;
}
template <>
std::span<const OptionOf<VerifyOptions>> option_table() {
  return kVerify;
}
template <>
std::span<const OptionOf<ConvertOptions>> option_table() {
  return kConvert;
}

}  // namespace arkit
