// Scores of AutoScheme beside the truth: what each layer loses by each option as predicted, and the divergence measured
// with that layer alone quantized, on another text.
//
//   autoscheme_bench MODEL CALIBRATION.txt TEST.txt OPTION,OPTION,... GROUP_SIZE default|compat [BLOCKS|-] [BUDGETS]
//
// Samples are the first 16 x 256 tokens of the calibration text; the truth is measured on the first 4 x 256 of the test
// text, for layers of the blocks named. Budgets are bits a weight: the best mix for each is measured too. Prints JSON:
// seconds and peak memory of scoring, a row for every layer, a row for every budget.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>

#include <sys/resource.h>

#include <ATen/ATen.h>

#include <arkit/engine/jobs.h>
#include <arkit/engine/tokenizer.h>
#include <arkit/error.h>
#include <arkit/json.h>
#include <arkit/model_adapter.h>
#include <arkit/registry.h>

#include "autoscheme/program.h"
#include "autoscheme/refine_meter.h"
#include "autoscheme/score.h"
#include "quant/scheme_resolver.h"

namespace {

using namespace arkit;
using namespace arkit::auto_scheme;
using Clock = std::chrono::steady_clock;

constexpr int64_t kSeqlen = 256;

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, ',');) out.push_back(part);
  return out;
}

at::Tensor samples(const char* file, const Tokenizer& tokenizer, int64_t count) {
  std::ifstream in(file);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const auto ids = tokenizer.encode(text.substr(0, 200000), false);
  at::Tensor out = at::empty({count, kSeqlen}, at::kLong);
  if (static_cast<int64_t>(ids.size()) < out.numel()) throw_input("too little text");
  for (int64_t i = 0; i < out.numel(); ++i)
    out.mutable_data_ptr<int64_t>()[i] = static_cast<int64_t>(ids[static_cast<size_t>(i)]);
  return out;
}

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

int64_t peak_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss / 1024;
}

double bits_of(const TensorQuant& quant) {
  if (!quant.quantized()) return 16.0;
  return quant.bits + (quant.data_type == "int" ? 16.0 + quant.bits : 8.0) / static_cast<double>(quant.group_size);
}

void print_budget(double average, const std::vector<PoolLayer>& pool, const ScoreTable& table, KlMeter& meter) {
  std::vector<ProgramGroup> groups;
  double weights = 0.0;
  for (size_t i = 0; i < pool.size(); ++i) {
    const auto numel = static_cast<double>(pool[i].plan.out_features * pool[i].plan.in_features);
    weights += numel;
    groups.push_back({.cost = {}, .loss = table.loss[i]});
    for (const LayerQuant& quant : pool[i].quants)
      groups.back().cost.push_back(static_cast<int64_t>(numel * bits_of(quant.weight)));
  }
  const auto best = solve(groups, static_cast<int64_t>(average * weights));
  if (best)
    std::printf("\"%.2f\": {\"predicted\": %.5f, \"kl\": %.5f},\n", average, best->loss,
                meter.measure(best->choice, false));
}

void run(int argc, char** argv) {
  const Registry registry(PluginSearch{.folders = {ARKIT_PLUGIN_BUILD_DIR}});
  const auto source = open_source(argv[1], registry);
  const Tokenizer tokenizer(source->tokenizer()->tokenizer_json(), source->tokenizer()->tokenizer_config());
  const auto model = adapter_for(*source, registry).open(*source, at::kFloat);

  std::vector<SchemeOption> options;
  for (const std::string& name : split(argv[4])) {
    LayerQuant quant = resolve_preset(name, registry).quant;
    if (quant.weight.data_type == "int") quant.weight.group_size = std::atoll(argv[5]);
    options.push_back({name, quant});
  }
  std::vector<PoolLayer> pool;
  for (const LayerPlan& plan : model->linears()) {
    if (plan.block < 0) continue;
    pool.push_back({plan, {}});
    for (const SchemeOption& option : options) pool.back().quants.push_back(option.quant);
  }
  const SchemeFor scheme_for = schemes_of(registry);
  Reporter quiet;
  auto start = Clock::now();
  const ScoreTable table = score_options(*model, samples(argv[2], tokenizer, 16), pool, options,
                                         {.mode = parse_score_mode(argv[6])}, scheme_for, quiet);
  std::printf("{\"seconds\": %.2f, \"peak_mib\": %lld, \"layers\": {\n", seconds_since(start),
              static_cast<long long>(peak_mib()));

  std::set<int64_t> blocks;
  const std::vector<std::string> more(argv + 7, argv + argc);
  if (!more.empty() && more[0] != "-")
    for (const std::string& block : split(more[0])) blocks.insert(std::atoll(block.c_str()));
  std::optional<KlMeter> meter;
  if (!more.empty()) meter.emplace(*model, samples(argv[3], tokenizer, 4), pool, scheme_for, quiet);
  Choice choice(pool.size(), kLeftAlone);
  for (size_t layer = 0; layer < pool.size(); ++layer) {
    std::printf("%s\"%s\": {", layer == 0 ? "" : ",\n", table.layers[layer].c_str());
    for (size_t option = 0; option < options.size(); ++option) {
      std::printf("%s\"%s\": [%.8g", option == 0 ? "" : ", ", options[option].name.c_str(), table.loss[layer][option]);
      if (blocks.contains(pool[layer].plan.block)) {
        choice[layer] = option;
        std::printf(", %.8g", meter->measure(choice, false));
        choice[layer] = kLeftAlone;
      }
      std::printf("]");
    }
    std::printf("}");
    std::fflush(stdout);
  }
  std::printf("},\n\"budgets\": {");
  for (const std::string& bits : more.size() > 1 ? split(more[1]) : std::vector<std::string>{})
    print_budget(std::atof(bits.c_str()), pool, table, *meter);
  std::printf("\"all\": %.1f}}\n", seconds_since(start));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 7) {
    std::fprintf(stderr, "autoscheme_bench MODEL CALIBRATION.txt TEST.txt OPTIONS GROUP_SIZE MODE [BLOCKS]\n");
    return 2;
  }
  try {
    run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
