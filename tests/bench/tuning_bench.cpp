// Tunes the first blocks of a Hugging Face model on random token ids and prints where the time goes.
//   tuning_bench MODEL [blocks=2] [iters=52] [bits=4] [group_size=64] [nsamples=60] [seqlen=512] [batch_size=8] [sym=1]
// One line a block: seconds per iteration (median of wall time over the run is up to the caller: run it beside what it
// is compared with). Not part of the test run.
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <map>
#include <string>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <arkit/error.h>
#include <arkit/inference_backend.h>
#include <arkit/json.h>
#include <arkit/registry.h>

#include "tuning/gemm.h"
#include "tuning/process_block.h"

namespace {

using namespace arkit;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

int64_t peak_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss / 1024;
}

struct Settings {
  std::map<std::string, int64_t> values{{"blocks", 2},    {"iters", 52},   {"bits", 4},       {"group_size", 64},
                                        {"nsamples", 60}, {"seqlen", 512}, {"batch_size", 8}, {"sym", 1},
                                        {"threads", 0},   {"bf16", 0}};
  int64_t operator[](const char* name) const { return values.at(name); }
  void parse(const std::string& text) {
    const size_t equal = text.find('=');
    if (equal == std::string::npos || !values.contains(text.substr(0, equal)))
      throw_usage("unknown setting '" + text + "'");
    values[text.substr(0, equal)] = std::stoll(text.substr(equal + 1));
  }
};

QuantPlan plan_for(const Model& model, const Settings& settings) {
  QuantPlan plan;
  plan.global.weight = {.data_type = "int",
                        .bits = static_cast<int>(settings["bits"]),
                        .group_size = settings["group_size"],
                        .sym = settings["sym"] != 0};
  plan.layers = model.linears();
  for (LayerPlan& layer : plan.layers)
    if (layer.block >= 0) layer.quant = plan.global;
  return plan;
}

void print_block(int64_t block, const BlockResult& result, double wall, double cpu) {
  const TuneTimes& t = result.times;
  const auto n = static_cast<double>(std::max<size_t>(1, result.losses.size()));
  std::printf(
      "block %ld: %.4f s/iter (cpu %.4f) | quantize %.4f forward %.4f loss %.4f backward %.4f (scheme %.4f) update "
      "%.4f | "
      "block total %.2f s | loss %.6g -> %.6g at %ld\n",
      block, t.total / n, cpu / n, t.quantize / n, t.forward / n, t.loss / n, t.backward / n, t.scheme_backward / n,
      t.update / n, wall, result.losses.empty() ? -1.0 : result.losses.front(), result.best_loss, result.best_iter);
}

int run(int argc, char** argv) {
  if (argc < 2) throw_usage("usage: tuning_bench MODEL [name=value ...]");
  Settings settings;
  for (int i = 2; i < argc; ++i) settings.parse(argv[i]);
  if (settings["threads"] > 0) at::set_num_threads(static_cast<int>(settings["threads"]));
  const double start = now();
  const Registry registry({.named = {}, .folders = {ARKIT_PLUGIN_BUILD_DIR}});
  const auto source = open_hf_folder(argv[1]);
  const auto type = json::get_string(source->config(), "model_type", "config.json").value_or("llama");
  const at::ScalarType dtype = settings["bf16"] != 0 ? at::kBFloat16 : at::kFloat;
  std::unique_ptr<Model> model;
  for (const std::string& name : registry.names(Kind::model))
    if (registry.model(name).matches(source->config())) model = registry.model(name).open(*source, dtype);
  if (!model) throw_unsupported("no adapter for " + type);

  BlockIo io;
  {
    at::manual_seed(1);
    const at::NoGradGuard no_grad;
    model->load_rest();
    io.full = model->embed(at::randint(0, model->vocab_size(), {settings["nsamples"], settings["seqlen"]}, at::kLong))
                  .contiguous();
    model->release_rest();
  }
  const QuantPlan plan = plan_for(*model, settings);
  ProcessOptions options;
  options.tune = {.iters = settings["iters"], .batch_size = settings["batch_size"]};
  options.loss_mask = at::ones({settings["nsamples"], settings["seqlen"]}, at::kByte);
  options.loss_mask.select(1, settings["seqlen"] - 1).zero_();
  Reporter reporter;
  PythonRandom random(42);
  BlockProcessor processor(*model, plan, schemes_of(registry), options, reporter, random);
  std::printf("%s, %d threads, %s, products by %s\n", host_info().cpu_name.c_str(), at::get_num_threads(),
              dtype == at::kFloat ? "float32" : "bfloat16",
              std::string(gemm_library_name(gemm_library_for(dtype))).c_str());
  for (int64_t block = 0; block < settings["blocks"]; ++block) {
    const double begin = now(), cpu = cpu_seconds();
    const BlockResult result = processor.process(block, 1, io, block + 1 < settings["blocks"]);
    print_block(block, result, now() - begin, cpu_seconds() - cpu);
    model->release_block(block);
  }
  std::printf("whole run %.2f s, peak %ld MiB\n", now() - start, peak_mib());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tuning_bench: %s\n", error.what());
    return 1;
  }
}
