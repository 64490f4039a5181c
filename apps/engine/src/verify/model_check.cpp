#include "verify/model_check.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <arkit/engine/open_source.h>
#include <arkit/error.h>
#include <arkit/family_files.h>
#include <arkit/log.h>
#include <arkit/model_adapter.h>
#include <arkit/sdk/block_hooks.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/sdk/layout.h>
#include <arkit/sdk/text_config.h>
#include <arkit/sdk/tied_embeddings.h>
#include <arkit/str.h>

#include "model_free/checkpoint_source.h"
#include "verify/block_hooks.h"
#include "verify/expected_error.h"
#include "verify/head_logits.h"
#include "verify/target_rules.h"
#include "verify/target_view.h"

namespace arkit {
namespace {

constexpr const char* kAround = "configuration and plain tensors";
constexpr const char* kFirst = "first block against the source";
constexpr const char* kBlocks = "all blocks against the source";
constexpr const char* kLogits = "logits against the source";
constexpr const char* kTie = "tie_word_embeddings";

constexpr int64_t kTokens = 32;
// Of a block's own contribution. The same arithmetic on the same numbers differs by float32's rounding; plain tensors
// that were cast to 16 bits by up to 2^-8, a little more where they meet.
constexpr double kSame = 1e-3;
constexpr double kCast = 1.5e-2;
// A block's products feed each other: what it computes differs by more than its layers' errors added up as independent
// ones, by up to this factor (ADR 0024 has the figures).
constexpr double kBlockFactor = 3.0;
// Errors of different blocks are not quite independent.
constexpr double kChainFactor = 2.0;
// Where a block is beyond what its layers' errors add up to, this often is tried how much more it makes of them.
constexpr uint32_t kTries = 3;
// Inputs with numbers that stand out lose more than normal ones; a static scale that cuts them loses still more.
constexpr double kMostOfInputs = 0.3;
// Unrelated outputs of equal norm differ by sqrt(2), and 2 bits come near: a bound from here on would say nothing, and
// what is computed must only be finite.
constexpr double kMost = 1.3;
constexpr double kNoBound = 1e9;

double bounded(double bound) {
  return bound < kMost ? bound : kNoBound;
}

// Without an exponent, so that figures can be compared by eye.
std::string figure(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.5f", value);
  return text.data();
}

// In float, whose squares end at 1e38, where that is enough.
double length_of(const at::Tensor& x) {
  const double length = x.norm().item<double>();
  return std::isfinite(length) ? length : x.to(at::kDouble).norm().item<double>();
}

double relative(const at::Tensor& got, const at::Tensor& wanted, double size) {
  const double difference = length_of(got - wanted);
  return size > 0.0 ? difference / size : difference;
}

std::string bound_text(double bound) {
  return bound < kNoBound ? "bound " + figure(bound) : "unbounded at so few bits";
}

// The views a model is read through.
struct View {
  std::unique_ptr<ModelSource> tables, source;
};

// A model, and what it is read from.
struct Opened {
  Opened(View views, const ModelAdapter& adapter)
      : view(std::move(views)), model(adapter.open(*view.source, at::kFloat)) {}
  [[nodiscard]] const ModelSource& source() const { return *view.source; }

  View view;
  std::unique_ptr<Model> model;
};

json::Object read_config(const ModelSource& source) {
  const TargetRules* target = target_of(source.kind());
  return target == nullptr ? source.config() : config_as_read(source.config(), *target);
}

bool is_tied(const json::Object& config) {
  return json::get_bool(config_with(config, kTie), kTie, "config.json").value_or(false);
}

// A classifier has no head that families know: of it blocks only are read.
bool has_blocks_only(const ModelSource& source) {
  return stored_head(source).empty() && !is_tied(read_config(source));
}

// Blocks only: as if its head were the embedding.
View view_as_read(const ModelSource& files, const Registry& registry, bool blocks_only) {
  View view;
  view.tables = model_free::view_plain_tables(files, registry, at::kFloat);
  const ModelSource& source = view.tables ? *view.tables : files;
  json::Object config = read_config(source);
  const TargetRules* target = target_of(files.kind());
  const bool dropped =
      target != nullptr && target->drops_tied_head && is_tied(config) && !stored_embedding(source).empty();
  if (blocks_only) config[kTie] = true;
  view.source = view_as(source, std::move(config), blocks_only || dropped ? stored_head(source) : "");
  return view;
}

// The tensors the family asks for, where it is read as `files` says. Throws as layout() and sdk::check_tensors.
void require_tensors(const ModelSource& files, const ModelAdapter& adapter, const Registry& registry) {
  const View view = view_as_read(files, registry, has_blocks_only(files));
  sdk::check_tensors(adapter.layout(*view.source), *view.source);
}

struct BlockFigures {
  double around = 0.0, whole = 0.0;  // of the block's own contribution
  double around_bound = 0.0, whole_bound = 0.0;
};

class Comparison {
 public:
  Comparison(const ModelSource& exported, const ModelSource& source, const ModelAdapter& adapter,
             const Registry& registry, const ExportFacts& facts, const VerifyReport& report)
      : facts_(facts),
        blocks_only_(has_blocks_only(source)),
        source_(view_as_read(source, registry, blocks_only_), adapter),
        export_(view_as_read(exported, registry, blocks_only_), adapter),
        borrowing_(export_.source(), source_.source(), facts),
        decoding_(export_.source(), registry),
        cast_(cast_tensors(export_.source().weights(), source_.source().weights())) {
    for (const LayerFigures& layer : report.layers()) measured_[layer.name] = layer.relative_error;
    for (const LinearSpec& spec : sdk::packed_layers(export_.source())) specs_.emplace(spec.name, &spec);
  }

  void run(bool keep_blocks, Reporter& reporter) {
    const c10::NoGradGuard no_grad;
    Model &original = *source_.model, &other = *export_.model;
    if (original.num_blocks() != other.num_blocks())
      throw_input(str("the export has ", other.num_blocks(), " blocks, the source ", original.num_blocks()));
    const int64_t tokens = std::min({kTokens, original.max_positions(), other.max_positions()});
    const at::Tensor ids = at::arange(tokens, at::kLong).mul(37).remainder(original.vocab_size()).unsqueeze(0);
    const at::Tensor positions = spread_positions(tokens, std::min(original.max_positions(), other.max_positions()));
    original.load_rest();
    other.load_rest();
    at::Tensor hidden = original.embed(ids), chain = other.embed(ids);
    carried_ = length_of(chain - hidden);
    const ForwardContext wanted = original.context(1, tokens, {}, positions, {});
    const ForwardContext read = other.context(1, tokens, {}, positions, {});
    for (int64_t block = 0; block < original.num_blocks(); ++block) {
      throw_if_interrupted();
      std::tie(hidden, chain) = one_block(block, hidden, chain, wanted, read);
      if (!keep_blocks) {
        original.release_block(block);
        other.release_block(block);
      }
      reporter.progress({"comparing blocks", block + 1, original.num_blocks(), "blocks"});
      if (!stopped_.empty()) break;
    }
    if (!blocks_only_ && stopped_.empty()) compare_logits(hidden, chain);
    original.release_rest();
    other.release_rest();
  }

  void report(VerifyReport& report) const {
    Check around(kAround);
    size_t worst = 0;
    for (size_t block = 0; block < blocks_.size(); ++block) {
      const BlockFigures& figures = blocks_[block];
      if (figures.around - figures.around_bound > blocks_[worst].around - blocks_[worst].around_bound) worst = block;
      if (!(figures.around <= figures.around_bound))
        around.fail(str("block ", block, " with the source's weights differs by ", figure(figures.around),
                        " of its contribution, bound ", figure(figures.around_bound)));
    }
    if (!(logits_around_ <= logits_around_bound_))
      around.fail(str("the head with the source's weights gives logits that differ by ", figure(logits_around_),
                      " of their norm, bound ", figure(logits_around_bound_)));
    const std::string reader = reader_name();
    report.add(around.result(str("read as ", reader, " reads them, with the source's weights in the quantized layers: ",
                                 "blocks differ by at most ", figure(blocks_.empty() ? 0.0 : blocks_[worst].around),
                                 blocks_only_ ? std::string() : str(", logits by ", figure(logits_around_)))));
    if (blocks_.empty() && !stopped_.empty()) {
      report.add_skipped(kFirst, stopped_);
    } else {
      report.add(whole_blocks(kFirst, 0, std::min<size_t>(1, blocks_.size())));
      report.add(whole_blocks(kBlocks, 0, blocks_.size()));
    }
    if (!stopped_.empty()) {
      report.add_skipped(kLogits, stopped_);
      return;
    }
    if (blocks_only_) {
      report.add_skipped(kLogits, "the source has no head that its model family knows");
      return;
    }
    Check logits(kLogits);
    const std::string said = str("logits differ by ", figure(logits_), " of their norm, ", bound_text(logits_bound_));
    if (!(logits_ <= logits_bound_)) logits.fail(said);
    report.add(logits.result(said));
  }

 private:
  // Half of them next to each other, half as far apart as the model goes: scalings of RoPE show far out.
  static at::Tensor spread_positions(int64_t tokens, int64_t most) {
    at::Tensor positions = at::arange(tokens, at::kLong);
    const int64_t near = tokens / 2, far = tokens - near;
    constexpr int64_t kFurthest = 131072;
    const int64_t last = std::min(most, kFurthest) - 1;
    if (last > tokens)
      for (int64_t i = 0; i < far; ++i) positions[near + i] = near + (last - near) * (i + 1) / far;
    return positions.unsqueeze(0);
  }

  std::pair<at::Tensor, at::Tensor> one_block(int64_t block, const at::Tensor& hidden, const at::Tensor& chain,
                                              const ForwardContext& wanted_context, const ForwardContext& read) {
    Model &original = *source_.model, &other = *export_.model;
    original.load_block(block);
    other.load_block(block);
    std::vector<const Linear*> layers;
    for (Linear* layer : original.block_linears(block)) layers.push_back(layer);
    borrowing_.lend(layers);
    sdk::PlainHook plain;
    const at::Tensor wanted = original.run_block(block, hidden, wanted_context, plain);
    const double size = length_of(wanted - hidden);
    if (!std::isfinite(size)) {
      stopped_ = str("block ", block, " of the source itself computes numbers that are not finite in float32: its ",
                     "weights are too large");
      return {hidden, chain};
    }
    BlockFigures figures;
    figures.around = relative(other.run_block(block, hidden, read, borrowing_), wanted, size);
    figures.around_bound = bound_around(block);
    decoding_.keep(layers);
    const at::Tensor got = other.run_block(block, hidden, read, decoding_);
    figures.whole = relative(got, wanted, size);
    figures.whole_bound = bounded(figures.around_bound + kBlockFactor * layers_error(layers));
    if (figures.whole > figures.whole_bound && size > 0.0)
      figures.whole_bound = std::max(
          figures.whole_bound,
          bounded(figures.around_bound + kBlockFactor * tried(block, hidden, wanted, wanted_context, layers) / size));
    at::Tensor next = other.run_block(block, chain, read, decoding_);
    carry(chain - hidden, next - got, std::min(kMost, figures.whole_bound) * size);
    blocks_.push_back(figures);
    for (const Linear* layer : layers) decoding_.release(layer->name);
    return {wanted, std::move(next)};
  }

  // What errors as large as the layers' make of the block, which is much more than they are where attention is sharp.
  double tried(int64_t block, const at::Tensor& hidden, const at::Tensor& wanted, const ForwardContext& context,
               const std::vector<const Linear*>& layers) const {
    std::map<std::string, double, std::less<>> errors;
    for (const Linear* layer : layers) errors[layer->name] = layer_error(layer->name);
    double worst = 0.0;
    for (uint32_t seed = 0; seed < kTries; ++seed) {
      DisturbedHook disturbed(errors, std::sqrt(decoding_.attention_error() / 2.0), seed);
      worst = std::max(worst, length_of(source_.model->run_block(block, hidden, context, disturbed) - wanted));
    }
    return worst;
  }

  // `before` the block the chain was off by this, which became `after` it; what the block adds is as large as `own`.
  void carry(const at::Tensor& before, const at::Tensor& after, double own) {
    const double off = length_of(before);
    carried_ = std::hypot(off > 0.0 ? carried_ * length_of(after) / off : 0.0, own);
  }

  void compare_logits(const at::Tensor& hidden, const at::Tensor& chain) {
    Model &original = *source_.model, &other = *export_.model;
    sdk::PlainHook plain;
    // Only a quantized head needs the source's in its place.
    std::vector<const Linear*> heads;
    const std::string head_name = stored_head(export_.source());
    if (specs_.contains(head_name) || facts_.quantized.contains(head_name)) heads.push_back(&original.head());
    borrowing_.lend(heads);
    const bool whole = !heads.empty();
    const at::Tensor wanted = head_logits(original, hidden, plain, whole);
    const double size = length_of(wanted);
    if (!std::isfinite(size)) {
      stopped_ =
          "the head of the source itself computes logits that are not finite in float32: its weights are too large";
      return;
    }
    const at::Tensor around = head_logits(other, hidden, borrowing_, whole);
    logits_around_ = relative(around, wanted, size);
    const at::Tensor got = head_logits(other, chain, decoding_, whole);
    logits_ = relative(got, wanted, size);
    logits_around_bound_ = bound_around(-1);
    const auto head = specs_.find(head_name);
    const double of_head = head == specs_.end() ? 0.0 : error_of(*head->second);
    const at::Tensor straight = whole ? head_logits(other, hidden, decoding_, whole) : around;
    carry(chain - hidden, got - straight, of_head * size);
    logits_bound_ = bounded(logits_around_bound_ + (size > 0.0 ? kChainFactor * carried_ / size : 0.0));
  }

  // What casts of plain tensors may change: of those a block has, or of the ones outside (-1).
  double bound_around(int64_t block) const {
    if (block < 0) return cast_.empty() ? kSame : kCast;
    const std::string prefix = export_.model->block_name(block) + ".";
    const auto first = cast_.lower_bound(prefix);
    return first != cast_.end() && first->starts_with(prefix) ? kCast : kSame;
  }

  static std::set<std::string> cast_tensors(const WeightSource& exported, const WeightSource& source) {
    std::set<std::string> cast;
    for (const TensorInfo& info : exported.tensors()) {
      const TensorInfo* original = source.find(info.name);
      if (original != nullptr && at::isFloatingType(info.dtype) && info.dtype != original->dtype)
        cast.insert(info.name);
    }
    return cast;
  }

  double error_of(const LinearSpec& spec) const {
    const auto found = measured_.find(spec.name);
    const double weight =
        std::max(expected_error(spec.quant.weight, spec.in_features), found == measured_.end() ? 0.0 : found->second);
    const double inputs = std::max(expected_error(spec.quant.act, spec.in_features),
                                   std::min(kMostOfInputs, decoding_.input_error(spec.name)));
    return std::hypot(weight, inputs);
  }

  double layer_error(const std::string& layer) const {
    if (const auto spec = specs_.find(layer); spec != specs_.end()) return error_of(*spec->second);
    const auto found = measured_.find(layer);
    return found == measured_.end() ? 0.0 : found->second;
  }

  double layers_error(const std::vector<const Linear*>& layers) const {
    double squares = 0.0;
    for (const Linear* layer : layers) squares += std::pow(layer_error(layer->name), 2.0);
    return std::sqrt(squares + decoding_.attention_error());
  }

  CheckResult whole_blocks(const char* name, size_t first, size_t end) const {
    Check check(name);
    size_t worst = first;
    for (size_t block = first; block < end; ++block) {
      const BlockFigures& figures = blocks_[block];
      if (figures.whole * blocks_[worst].whole_bound > blocks_[worst].whole * figures.whole_bound) worst = block;
      if (!(figures.whole <= figures.whole_bound))
        check.fail(str("block ", block, " differs by ", figure(figures.whole), " of its contribution, ",
                       bound_text(figures.whole_bound)));
    }
    if (first == end) return check.result("there are none");
    return check.result(str(end - first == 1 ? "it differs by " : "the worst differs by ", figure(blocks_[worst].whole),
                            " of its contribution, ", bound_text(blocks_[worst].whole_bound)));
  }

  std::string reader_name() const {
    const TargetRules* target = target_of(export_.source().kind());
    return target == nullptr ? "transformers" : target->title;
  }

  const ExportFacts& facts_;
  bool blocks_only_;
  Opened source_, export_;
  SourceWeightsHook borrowing_;
  DecodedHook decoding_;
  std::set<std::string> cast_;                           // plain tensors of another type than in the source
  std::map<std::string, double, std::less<>> measured_;  // by layer
  std::map<std::string_view, const LinearSpec*> specs_;
  std::vector<BlockFigures> blocks_;
  double carried_ = 0.0;  // how far off the chain of blocks may be, as a length
  std::string stopped_;   // why no further block says anything
  double logits_ = 0.0, logits_around_ = 0.0, logits_bound_ = 0.0, logits_around_bound_ = 0.0;
};

// A source that its family cannot compute says nothing about the export: `why` it cannot, or empty.
std::string why_not_computed(const ModelSource& source, const Registry& registry, const ModelAdapter*& adapter) {
  try {
    adapter = &adapter_for(source, registry);
    require_tensors(source, *adapter, registry);
    return {};
  } catch (const Error& error) {
    if (error.code() == ErrorCode::interrupted) throw;
    return error.what();
  }
}

}  // namespace

CheckResult check_complete(const ModelSource& exported, const Registry& registry) {
  constexpr const char* kName = "tensors the model needs";
  Check check(kName);
  const ModelAdapter* adapter = nullptr;
  try {
    adapter = &adapter_for(exported, registry);
  } catch (const Error& error) {
    return {.name = kName, .skipped = true, .detail = error.what()};
  }
  try {
    require_tensors(exported, *adapter, registry);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::interrupted) throw;
    check.fail(error.what());
  }
  std::string family(adapter->info().name);
  if (const auto* files = dynamic_cast<const FamilyFiles*>(adapter))
    if (const std::optional<FamilyFile> file = files->family_of(exported.config())) family = file->name;
  return check.result(str("all that family '", printable(family), "' asks for"));
}

void check_model(const ModelSource& exported, const ModelSource& source, const Registry& registry,
                 const ExportFacts& facts, bool keep_blocks, Reporter& reporter, VerifyReport& report) {
  const ModelAdapter* adapter = nullptr;
  if (const std::string why = why_not_computed(source, registry, adapter); !why.empty()) {
    report.add_skipped(kFirst, why);
    return;
  }
  try {
    Comparison comparison(exported, source, *adapter, registry, facts, report);
    comparison.run(keep_blocks, reporter);
    comparison.report(report);
  } catch (const std::exception& error) {
    if (const auto* ours = dynamic_cast<const Error*>(&error);
        ours != nullptr && ours->code() == ErrorCode::interrupted)
      throw;
    Check check(kAround);
    check.fail(error.what());
    report.add(check.result(""));
  }
}

}  // namespace arkit
