// Options of `arkit bench`.
#include <arkit/engine/bench.h>

namespace arkit {
namespace {

using enum OptionType;

constexpr std::string_view kRun = "Run";

constexpr OptionOf<BenchOptions> kBench[] = {
    option_at<&BenchOptions::only>({.name = "only",
                                    .type = list,
                                    .group = kRun,
                                    .unit = "ROW",
                                    .help = "measure these rows: kernels, load, prefill, decode, batch",
                                    .absent = "all, those of a model where one is named"}),
    option_at<&BenchOptions::threads>({.name = "threads",
                                       .type = integer,
                                       .group = kRun,
                                       .unit = "N",
                                       .help = "threads; 0 = with one, and then with all"}),
    option_at<&BenchOptions::seconds>({.name = "seconds",
                                       .type = number,
                                       .group = kRun,
                                       .unit = "X",
                                       .help = "measure each row for so long at least"}),
    option_at<&BenchOptions::prompt_tokens>({.name = "prompt_tokens",
                                             .type = integer,
                                             .group = kRun,
                                             .unit = "N",
                                             .help = "length of the prompt of prefill"}),
    option_at<&BenchOptions::new_tokens>({.name = "new_tokens",
                                          .type = integer,
                                          .group = kRun,
                                          .unit = "N",
                                          .help = "tokens of decode, and of each text of batch"}),
    option_at<&BenchOptions::dtype>(
        {.name = "dtype", .group = kRun, .unit = "T", .help = "compute type", .choices = "auto float32 bfloat16"}),
    option_at<&BenchOptions::backend>({.name = "backend",
                                       .group = kRun,
                                       .unit = "B",
                                       .help = "backend to measure ('arkit list backends')",
                                       .absent = "the best for each layer"}),
    option_at<&BenchOptions::device>({.name = "device",
                                      .group = kRun,
                                      .unit = "D",
                                      .help = "measure packed layers on this device: cpu, cuda, cuda:1",
                                      .absent = "the best one for each layer",
                                      .aliases = "device_map devices"}),
    option_at<&BenchOptions::svg>({.name = "svg",
                                   .type = path,
                                   .group = kRun,
                                   .unit = "FILE",
                                   .help = "draw the rows of the model over what this machine could do",
                                   .place = true}),
};

}  // namespace

template <>
std::span<const OptionOf<BenchOptions>> option_table() {
  return kBench;
}

}  // namespace arkit
