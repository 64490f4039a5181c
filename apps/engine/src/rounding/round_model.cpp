#include "rounding/round_model.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <arkit/error.h>
#include <arkit/log.h>
#include <arkit/scheme.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/sdk/layer_rules.h>
#include <arkit/str.h>

#include "quant/scheme_traits.h"
#include "rounding/global_scales.h"
#include "rounding/round_units.h"
#include "rounding/rtn_mode.h"
#include "rounding/strip_rounding.h"
#include "rounding/usable_numbers.h"
#include "util/finite.h"
#include "util/seconds.h"

namespace arkit {
namespace {

constexpr int64_t kBaseBytes = int64_t{64} << 20;  // what may be open beside the two largest tensors
constexpr size_t kOpenUnits = 3;                   // a thread, at most: small ones would only wait for the writer
constexpr int64_t kCopyStrip = int64_t{1} << 21;   // elements of a copied tensor checked at a time

using Clock = std::chrono::steady_clock;

// A unit that was started and is not written yet.
struct OpenUnit {
  const RoundUnit* unit = nullptr;
  std::unique_ptr<StripRounding> rounding;  // of a layer
  std::unique_ptr<Linear> read;             // of a layer that is read in strips: all but its weight
  at::Tensor copy;                          // of a tensor to copy
  at::Tensor bias;                          // of a layer that has one
  int64_t strips = 0, left = 0;             // all, not done
};

// The layers of the block whose units are under way; several blocks may be open at once.
struct OpenBlock {
  std::map<std::string_view, const Linear*> linears;
  std::map<std::string_view, at::Tensor> global_scales;
  int64_t left = 0;  // layers not written
};

struct Job {
  enum class Kind { start, strip, write } kind;
  size_t unit = 0;
  int64_t strip = 0;
};

class ModelRounding {
 public:
  ModelRounding(const RoundingRun& run, RoundingSink& sink)
      : run_(run),
        sink_(sink),
        plain_by_default_(traits_of(run.plan.global, schemes_of(run.registry)).plain_by_default),
        packed_(names_of(sdk::packed_layers(run.source))),
        plan_(
            round_plan(run.plan, run.model, run.source.weights(), run.model_free, sink.wants_dequantized(),
                       [this](const LayerPlan& layer, const TensorInfo& tensor) { return strips_of(layer, tensor); })),
        budget_(2 * plan_.largest_bytes + kBaseBytes) {
    for (const RoundUnit& unit : plan_.units)
      if (unit.layer != nullptr) {
        if (unit.strips == LayerStrips::none) ++layers_of_block_[unit.layer->block];
        if (unit.layer->block >= 0) ++layers_of_decoder_block_[decoder_block(*unit.layer)];
        layers_.emplace(unit.layer->name, unit.layer);
      }
    left_of_decoder_block_ = layers_of_decoder_block_;
  }

  void work() {
    std::unique_lock lock(mutex_);
    while (!failure_ && written_ < plan_.units.size()) {
      const std::optional<Job> job = next();
      if (!job) {
        changed_.wait(lock);
        continue;
      }
      lock.unlock();
      std::exception_ptr failure;
      try {
        throw_if_interrupted();
        perform(*job);
      } catch (...) {
        failure = std::current_exception();
      }
      lock.lock();
      if (failure && !failure_) failure_ = failure;
      done(*job);
      changed_.notify_all();
    }
  }

  void rethrow_failure() const {
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  static std::set<std::string, std::less<>> names_of(std::span<const LinearSpec> layers) {
    std::set<std::string, std::less<>> names;
    for (const LinearSpec& layer : layers) names.insert(layer.name);
    return names;
  }

  // What frees memory goes first, what takes more of it last. Needs mutex_.
  std::optional<Job> next() {
    if (!writing_ && !open_.empty() && open_.front().left == 0) {
      writing_ = true;
      const RoundUnit& unit = plan_.units[written_];
      in_use_ += unit.writing_bytes - unit.rounding_bytes;
      return Job{Job::Kind::write, written_};
    }
    if (!strips_.empty()) {
      const Job job = strips_.front();
      strips_.pop_front();
      return job;
    }
    if (starting_ || started_ == plan_.units.size()) return std::nullopt;
    const RoundUnit& unit = plan_.units[started_];
    const bool enough = open_.size() >= most_open_;
    if (in_use_ > 0 && (enough || in_use_ + unit.rounding_bytes > budget_)) return std::nullopt;
    if (!open_.empty() && spans_too_many(unit)) return std::nullopt;
    starting_ = true;
    in_use_ += unit.rounding_bytes;
    return Job{Job::Kind::start, started_};
  }

  // Needs mutex_.
  [[nodiscard]] bool spans_too_many(const RoundUnit& next) const {
    if (run_.most_files == 0) return false;
    int64_t first = next.first_file, last = next.last_file;
    for (const OpenUnit& open : open_) {
      first = std::min(first, open.unit->first_file);
      last = std::max(last, open.unit->last_file);
    }
    return last - first >= run_.most_files;
  }

  void perform(const Job& job) {
    switch (job.kind) {
      case Job::Kind::start:
        start(plan_.units[job.unit]);
        break;
      case Job::Kind::strip:
        round(at(job.unit), job.strip);
        break;
      case Job::Kind::write:
        write(at(job.unit));
        break;
    }
  }

  // Needs mutex_.
  void done(const Job& job) {
    switch (job.kind) {
      case Job::Kind::start:
        starting_ = false;
        if (failure_) break;
        open_.push_back(std::move(fresh_));
        for (int64_t i = 0; i < open_.back().strips; ++i) strips_.push_back({Job::Kind::strip, started_, i});
        ++started_;
        break;
      case Job::Kind::strip:
        --at_locked(job.unit).left;
        break;
      case Job::Kind::write:
        writing_ = false;
        in_use_ -= plan_.units[job.unit].writing_bytes;
        open_.pop_front();
        ++written_;
        break;
    }
  }

  OpenUnit& at_locked(size_t unit) { return open_[unit - written_]; }
  OpenUnit& at(size_t unit) {
    const std::lock_guard lock(mutex_);
    return at_locked(unit);  // a deque keeps its elements where they are
  }

  // One at a time: fresh_ belongs to the thread that starts.
  void start(const RoundUnit& unit) {
    sink_.coming_to(unit.begin, unit.begin + (unit.tensor == nullptr ? 0 : unit.tensor->stored_bytes));
    fresh_ = OpenUnit{.unit = &unit, .rounding = nullptr, .read = nullptr, .copy = {}, .bias = {}};
    if (unit.layer == nullptr) {
      if (!sink_.takes(unit.tensor->name)) {
        // neither looked at nor copied
      } else if (run_.source.weights().decodes_rows(unit.tensor->name)) {
        fresh_.strips = (unit.tensor->shape.front() + rows_of_strip(*unit.tensor) - 1) / rows_of_strip(*unit.tensor);
      } else {
        fresh_.copy = run_.source.weights().load(unit.tensor->name);
        fresh_.strips = (fresh_.copy.numel() + kCopyStrip - 1) / kCopyStrip;
      }
    } else {
      start_layer(unit);
    }
    fresh_.left = fresh_.strips;
  }

  // Does the file have the numbers themselves? Then rows of them cost nothing.
  static bool is_plain(const TensorInfo& tensor) {
    return tensor.stored_bytes == tensor.numel() * static_cast<int64_t>(c10::elementSize(tensor.dtype));
  }

  // A layer expanded from codes or to a wider type would be the largest thing in memory, and take the time of its pages.
  [[nodiscard]] LayerStrips strips_of(const LayerPlan& layer, const TensorInfo& tensor) const {
    const WeightSource& weights = run_.source.weights();
    const Scheme& scheme = run_.registry.scheme_for(layer.quant.weight.data_type);
    const bool as_planned = tensor.shape == std::vector<int64_t>{layer.out_features, layer.in_features};
    if (layer.kind != LayerKind::linear || !as_planned || packed_.contains(layer.name) ||
        (!weights.decodes_rows(tensor.name) && !is_plain(tensor)) ||
        StripRounding::is_whole(layer, scheme, rtn_mode(layer, plain_by_default_, run_.disable_opt_rtn)) ||
        scheme.global_scale(at::ones({1, layer.in_features}), layer.quant.weight).defined())  // of any weight
      return LayerStrips::none;
    const bool has_bias = weights.find(str(layer.name, ".bias")) != nullptr;
    const bool written = layer.block < 0 && !has_bias && !sink_.wants_dequantized() && !sink_.wants_source() &&
                         sink_.takes_strips(layer);
    return written ? LayerStrips::read_and_written : LayerStrips::read;
  }

  void start_layer(const RoundUnit& unit) {
    const LayerPlan& layer = *unit.layer;
    const WeightSource& weights = run_.source.weights();
    const OpenBlock* block = unit.strips == LayerStrips::none ? &open_block(layer.block) : nullptr;
    if (block == nullptr) {
      fresh_.read = std::make_unique<Linear>();
      fresh_.read->name = layer.name;
      fresh_.read->out_features = layer.out_features;
      fresh_.read->in_features = layer.in_features;
    } else {
      ARKIT_CHECK(block->linears.contains(layer.name), str("layer '", layer.name, "' is not in its block"));
    }
    StripRounding::Task task{.linear = block == nullptr ? *fresh_.read : *block->linears.at(layer.name),
                             .plan = layer,
                             .scheme = run_.registry.scheme_for(layer.quant.weight.data_type),
                             .mode = rtn_mode(layer, plain_by_default_, run_.disable_opt_rtn)};
    if (block == nullptr)
      task.read_from(weights, unit.tensor->name, run_.compute_dtype);
    else if (const auto scale = block->global_scales.find(layer.name); scale != block->global_scales.end())
      task.global_scale = scale->second;
    if (unit.strips == LayerStrips::read_and_written)
      task.take = [this, &layer](const QuantizedWeight& part, int64_t first_row) {
        const std::lock_guard lock(sink_mutex_);
        sink_.write_strip({.plan = layer, .quantized = part}, first_row);
      };
    if (run_.importance && task.mode == RtnMode::searched) task.importance = run_.importance(layer.name);
    if (sink_.wants_dequantized()) task.dequantized = run_.model_dtype;
    const std::string bias = str(layer.name, ".bias");
    if (weights.find(bias) != nullptr) fresh_.bias = weights.load(bias);
    fresh_.rounding = std::make_unique<StripRounding>(std::move(task));
    fresh_.strips = fresh_.rounding->strips();
    if (layer.block < 0) return;
    const std::lock_guard lock(model_mutex_);
    begin_of_decoder_block_.emplace(decoder_block(layer), Clock::now());
  }

  static int64_t rows_of_strip(const TensorInfo& tensor) {
    return std::max<int64_t>(1, kCopyStrip / std::max<int64_t>(1, tensor.numel() / tensor.shape.front()));
  }

  OpenBlock& open_block(int64_t index) {
    const std::lock_guard lock(model_mutex_);
    OpenBlock& block = blocks_[index];
    if (block.left > 0) return block;
    block.left = layers_of_block_.at(index);
    std::vector<Linear*> linears;
    if (index >= 0) {
      run_.model.load_block(index);
      linears = run_.model.block_linears(index);
    } else {
      run_.model.load_rest();
      linears.push_back(&run_.model.head());
    }
    std::vector<GlobalScaleMember> members;
    for (const Linear* linear : linears) {
      block.linears.emplace(linear->name, linear);
      const auto layer = layers_.find(linear->name);
      if (layer == layers_.end()) continue;
      ARKIT_CHECK(linear->weight.defined(), str("layer '", linear->name, "' is packed already"));
      const std::string& data_type = layer->second->quant.weight.data_type;
      members.push_back({layer->second, &run_.registry.scheme_for(data_type), linear->weight, {}});
    }
    share_global_scales(members);
    for (const GlobalScaleMember& member : members)
      if (member.scale.defined()) block.global_scales.emplace(member.plan->name, member.scale);
    return block;
  }

  void round(OpenUnit& open, int64_t strip) {
    if (open.rounding != nullptr) {
      open.rounding->round(strip);
      return;
    }
    const std::string& name = open.unit->tensor->name;
    if (!open.copy.defined()) {
      const int64_t rows = rows_of_strip(*open.unit->tensor), first_row = strip * rows;
      const int64_t left = open.unit->tensor->shape.front() - first_row;
      io::check_finite(run_.source.weights().load_rows(name, first_row, std::min(rows, left)), name, first_row);
      return;
    }
    const int64_t first = strip * kCopyStrip;
    const int64_t count = std::min(kCopyStrip, open.copy.numel() - first);
    if (!io::is_finite(open.copy.view(-1).narrow(0, first, count))) io::check_finite(open.copy, name);
    run_.source.weights().release(name);  // its pages come back when it is written, piece by piece
  }

  void write(OpenUnit& open) {
    const std::string tensor = open.unit->tensor == nullptr ? std::string() : open.unit->tensor->name;
    const std::lock_guard lock(sink_mutex_);
    if (open.rounding == nullptr) {
      // One that is read by rows the exports copy from the source themselves, as every tensor that nobody hands them.
      if (open.copy.defined()) sink_.write_tensor(tensor, open.copy);
      open.copy.reset();
      run_.source.weights().release(tensor);
      return;
    }
    const LayerPlan& layer = open.rounding->plan();
    const StripRounding& rounding = *open.rounding;
    require_something_left(
        layer, rounding.relative_error(), [&] { return rounding.largest_weight(); }, run_.reporter);
    if (!tensor.empty()) run_.source.weights().release(tensor);  // pages that the codes have replaced
    if (open.unit->strips == LayerStrips::read_and_written) {
      sink_.end_layer(layer, rounding.relative_error());
    } else {
      LayerRecord record{.plan = layer, .quantized = rounding.quantized()};
      record.bias = open.bias;
      record.dequantized = rounding.dequantized();
      if (sink_.wants_source()) record.source = rounding.weight().to(run_.model_dtype);
      sink_.write_layer(std::move(record), rounding.relative_error());
    }
    open.rounding.reset();
    const std::lock_guard model_lock(model_mutex_);
    if (layer.block >= 0) count_layer(layer);
    if (open.unit->strips == LayerStrips::none) close_layer(layer);
  }

  // Needs model_mutex_.
  void close_layer(const LayerPlan& layer) {
    OpenBlock& block = blocks_.at(layer.block);
    if (--block.left > 0) return;
    blocks_.erase(layer.block);
    if (layer.block < 0)
      run_.model.release_rest();
    else
      run_.model.release_block(layer.block);
  }

  // People count decoder blocks, wherever a model without a family cuts them. Needs model_mutex_.
  void count_layer(const LayerPlan& layer) {
    const std::string name = decoder_block(layer);
    if (--left_of_decoder_block_.at(name) > 0) return;
    const double seconds = seconds_since(begin_of_decoder_block_.at(name));
    const std::optional<model_free::BlockPlace> place = model_free::block_place(layer.name);
    sink_.block_done(run_.model_free && place ? place->index : layer.block,
                     static_cast<int64_t>(layers_of_decoder_block_.size()), seconds);
  }

  // "model.layers.3" of "model.layers.3.mlp.experts.7.up_proj".
  [[nodiscard]] std::string decoder_block(const LayerPlan& layer) const {
    const auto place = run_.model_free ? model_free::block_place(layer.name) : std::nullopt;
    return place ? str(place->list, ".", place->index) : run_.model.block_name(layer.block);
  }

  const RoundingRun& run_;
  RoundingSink& sink_;
  const bool plain_by_default_;
  const std::set<std::string, std::less<>> packed_;
  const RoundPlan plan_;
  const int64_t budget_;
  const size_t most_open_ = kOpenUnits * static_cast<size_t>(at::get_num_threads());
  std::map<int64_t, int64_t> layers_of_block_;
  std::map<std::string, int64_t> layers_of_decoder_block_;
  std::map<std::string_view, const LayerPlan*> layers_;  // to quantize

  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::deque<OpenUnit> open_;  // units written_ .. started_ - 1
  std::deque<Job> strips_;
  OpenUnit fresh_;
  size_t started_ = 0, written_ = 0;
  int64_t in_use_ = 0;
  bool starting_ = false, writing_ = false;
  std::exception_ptr failure_;

  std::mutex sink_mutex_;   // what is written comes one at a time
  std::mutex model_mutex_;  // guards the model and what follows
  std::map<std::string, int64_t> left_of_decoder_block_;
  std::map<std::string, Clock::time_point> begin_of_decoder_block_;
  std::map<int64_t, OpenBlock> blocks_;
};

}  // namespace

void round_model(const RoundingRun& run, RoundingSink& sink) {
  ModelRounding rounding(run, sink);
  // One parallel region for all of it: inside, the parallel loops of schemes and exporters run on their own thread.
  at::parallel_for(0, at::get_num_threads(), 1, [&](int64_t, int64_t) { rounding.work(); });
  rounding.rethrow_failure();
}

}  // namespace arkit
