#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <numeric>

#include <unistd.h>

#include <ATen/ATen.h>

#include <arkit/engine/open_source.h>
#include <arkit/engine/session.h>
#include <arkit/error.h>
#include <arkit/model_adapter.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/str.h>

#include "jobs/bench_parts.h"
#include "util/seconds.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int64_t kTogether = 16;  // texts of the row "batch"
constexpr int64_t kHeadBits = 8;   // as sessions have it by themselves
constexpr double kBitsOfScale = 16;

// Of a token's way through a model: what is multiplied, and what is read for it.
struct Weights {
  double products = 0, bytes = 0;
  int64_t vocab = 0, positions = 0;
};

Weights weights_of(const ModelSource& source, const Registry& registry) {
  const ModelLayout layout = adapter_for(source, registry).layout(source);
  Weights weights{.vocab = layout.tokens.vocab_size, .positions = layout.tokens.max_positions};
  std::map<std::string, double> bits;
  for (const LinearSpec& spec : sdk::packed_layers(source)) {
    const TensorQuant& quant = spec.quant.weight;
    bits[spec.name] = quant.bits + (quant.group_size > 0 ? kBitsOfScale / static_cast<double>(quant.group_size) : 0.0);
  }
  const bool packed = !bits.empty();
  const auto add = [&](const LayerPlan& layer, double otherwise) {
    const double products = static_cast<double>(layer.out_features) * static_cast<double>(layer.in_features);
    const auto found = bits.find(layer.name);
    weights.products += products;
    weights.bytes += products * (found == bits.end() ? otherwise : found->second) / 8.0;
  };
  for (const BlockLayout& block : layout.blocks)
    for (const LayerPlan& layer : block.layers) add(layer, 16.0);
  for (const LayerPlan& layer : layout.outside)
    if (layer.role == LayerRole::head) add(layer, packed ? static_cast<double>(kHeadBits) : 16.0);
  return weights;
}

double resident_bytes() {
  std::ifstream status("/proc/self/statm");
  int64_t all = 0, resident = 0;
  status >> all >> resident;
  return static_cast<double>(resident) * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

double file_bytes(const std::string& model) {
  std::error_code failed;
  if (fs::is_regular_file(model, failed)) return static_cast<double>(fs::file_size(model, failed));
  double bytes = 0;
  for (fs::directory_iterator it(model, failed), end; !failed && it != end; it.increment(failed))
    if (it->path().extension() == ".safetensors") bytes += static_cast<double>(it->file_size(failed));
  return bytes;
}

// A folder that is gone afterwards.
class Scratch {
 public:
  Scratch() {
    std::string name = (fs::temp_directory_path() / "arkit-bench-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw_resource(str("'", name, "': cannot be made"));
    path_ = name;
  }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  [[nodiscard]] const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

class ModelBench {
 public:
  ModelBench(const BenchOptions& options, const MachinePeaks& peaks, const Registry& registry)
      : options_(options), peaks_(peaks), registry_(registry) {
    const auto source = open_source(options.model, registry);
    weights_ = weights_of(*source, registry);
    prompt_ = std::clamp<int64_t>(options.prompt_tokens, 1, weights_.positions - 1);
    new_tokens_ = std::clamp<int64_t>(options.new_tokens, 2, weights_.positions - 1);
  }

  std::vector<BenchRow> rows(const std::vector<std::string>& wanted) {
    const auto is = [&](std::string_view group) {
      return std::find(wanted.begin(), wanted.end(), group) != wanted.end();
    };
    if (is("load")) load();
    if (!is("prefill") && !is("decode") && !is("batch")) return rows_;
    const std::unique_ptr<Session> session = opened({});
    (void)written(*session, 1, 8, 2);  // what is made once
    if (is("prefill")) prefill(*session);
    const double alone = is("decode") || is("batch") ? decode(*session, is("decode")) : 0.0;
    if (is("batch")) batch(*session, alone);
    return rows_;
  }

 private:
  std::unique_ptr<Session> opened(const fs::path& cache) const {
    return std::make_unique<Session>(
        SessionOptions{.model = options_.model,
                       .backend = options_.backend,
                       .device = options_.device,
                       .prepared_cache = cache.string(),
                       .dtype = options_.dtype,
                       .head_bits = kHeadBits,
                       .cache_tokens = std::max(prompt_ + 64, kTogether * (new_tokens_ + 72))},
        registry_);
  }

  void add(std::string group, std::string what, double value, std::string unit, std::optional<double> roofline = {},
           std::string bound_by = {}) {
    rows_.push_back(
        {std::move(group), std::move(what), peaks_.threads, value, std::move(unit), roofline, std::move(bound_by)});
  }

  void load() {
    const Scratch cache;
    for (const char* what : {"load, the first start", "load, from the cache of prepared layers"}) {
      const double before = resident_bytes();
      const auto start = Clock::now();
      const auto session = opened(cache.path());
      add("load", what, seconds_since(start), "s");
      if (rows_.size() % 2 == 0)
        add("load", "memory that it takes, beside the size of the files",
            (resident_bytes() - before) / file_bytes(options_.model), "x");
    }
  }

  [[nodiscard]] std::vector<int64_t> prompt(int64_t length) {
    std::vector<int64_t> ids(static_cast<size_t>(length));
    for (int64_t& id : ids)
      id = static_cast<int64_t>(next_ = next_ * 6364136223846793005ULL + 1442695040888963407ULL) >> 33 & 0x7FFFFFFF;
    for (int64_t& id : ids) id %= weights_.vocab;
    return ids;
  }

  struct Written {
    double first = 0, others = 0;  // seconds of the step that reads the prompts, and of all others
    int64_t tokens = 0;            // that the others made
  };
  Written written(Session& session, int64_t texts, int64_t length, int64_t most) {
    Written made;
    for (int64_t i = 0; i < texts; ++i) (void)session.add({.prompt = prompt(length), .max_new_tokens = most});
    auto start = Clock::now();
    (void)session.step();
    made.first = seconds_since(start);
    start = Clock::now();
    while (session.unfinished() > 0) {
      throw_if_interrupted();
      made.tokens += static_cast<int64_t>(session.step().size());
    }
    made.others = seconds_since(start);
    return made;
  }

  // The best of what fits in the time: others only disturb.
  template <typename Rate>
  double best(const Rate& rate) const {
    double found = 0;
    const auto start = Clock::now();
    for (int i = 0; i < 2 || seconds_since(start) < options_.seconds; ++i) found = std::max(found, rate());
    return found;
  }

  void prefill(Session& session) {
    const double rate = best([&] { return static_cast<double>(prompt_) / written(session, 1, prompt_, 1).first; });
    add("prefill", str("prefill of ", prompt_, " tokens"), rate, "tokens/s", peaks_.dot / (2.0 * weights_.products),
        "dot");
  }

  double decode(Session& session, bool wanted) {
    const double rate = best([&] {
      const Written made = written(session, 1, 8, new_tokens_);
      return static_cast<double>(made.tokens) / made.others;
    });
    if (wanted)
      add("decode", str("decode of ", new_tokens_, " tokens"), rate, "tokens/s", peaks_.bandwidth / weights_.bytes,
          "bandwidth");
    return rate;
  }

  void batch(Session& session, double alone) {
    const double rate = best([&] {
      const Written made = written(session, kTogether, 8, new_tokens_);
      return static_cast<double>(made.tokens) / made.others;
    });
    const double reading = kTogether * peaks_.bandwidth / weights_.bytes,
                 counting = peaks_.dot / (2.0 * weights_.products);
    add("batch", str("decode of ", kTogether, " texts side by side"), rate, "tokens/s", std::min(reading, counting),
        reading < counting ? "bandwidth" : "dot");
    add("batch", str("the same beside one text"), rate / alone, "x");
  }

  const BenchOptions& options_;
  const MachinePeaks& peaks_;
  const Registry& registry_;
  Weights weights_;
  int64_t prompt_ = 0, new_tokens_ = 0;
  uint64_t next_ = 1;
  std::vector<BenchRow> rows_;
};

}  // namespace

std::vector<BenchRow> bench_model(const BenchOptions& options, const MachinePeaks& peaks,
                                  const std::vector<std::string>& wanted, const Registry& registry) {
  return ModelBench(options, peaks, registry).rows(wanted);
}

}  // namespace arkit
