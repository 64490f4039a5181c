#include "transform/folded_source.h"

#include <map>
#include <string>
#include <utility>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/str.h>

namespace arkit {
namespace {

// What happens to one tensor, step after step.
struct Step {
  enum class Kind { norm, rows, columns } kind;
  const ChannelFold* fold;
  at::ScalarType dtype;  // of the result
};

class FoldedWeights final : public WeightSource {
 public:
  FoldedWeights(const WeightSource& original, std::vector<TransformRecord> records)
      : original_(original), records_(std::move(records)) {
    for (const TransformRecord& record : records_)
      for (const ChannelFold& fold : record.folds) add(record, fold);
    std::vector<TensorInfo> tensors(original.tensors().begin(), original.tensors().end());
    for (TensorInfo& info : tensors)
      if (const auto steps = steps_.find(info.name); steps != steps_.end()) info.dtype = steps->second.back().dtype;
    set_tensors(std::move(tensors));
  }

  at::Tensor load(std::string_view name) const override {
    at::Tensor tensor = original_.load(name);
    const auto steps = steps_.find(name);
    if (steps == steps_.end()) return tensor;
    for (const Step& step : steps->second) tensor = done(step, tensor);
    original_.release(name);
    return tensor;
  }

  void release(std::string_view name) const noexcept override {
    if (!steps_.contains(name)) original_.release(name);
  }

 private:
  void add(const TransformRecord& record, const ChannelFold& fold) {
    const ScalePlace& place = fold.place;
    if (place.from_norm) {
      add_step(place.from, 0, place.channels, {Step::Kind::norm, &fold, record.norms});
    } else {
      add_step(place.from + ".weight", 0, place.channels, {Step::Kind::rows, &fold, record.weights});
      const std::string bias = place.from + ".bias";
      if (const TensorInfo* info = original_.find(bias))
        add_step(bias, 0, place.channels, {Step::Kind::rows, &fold, info->dtype});
    }
    for (const std::string& layer : place.into)
      add_step(layer + ".weight", 1, place.channels * place.repeats, {Step::Kind::columns, &fold, record.weights});
  }

  void add_step(const std::string& name, size_t dim, int64_t channels, Step step) {
    const TensorInfo* info = original_.find(name);
    if (info == nullptr || info->shape.size() <= dim || info->shape[dim] != channels)
      throw_input(str("the record of the run has ", channels, " scales for '", printable(name),
                      "', which the source has not, or with another shape; give the model the export was made from"));
    steps_[name].push_back(step);
  }

  at::Tensor done(const Step& step, const at::Tensor& tensor) const {
    const ChannelFold& fold = *step.fold;
    switch (step.kind) {
      case Step::Kind::norm:
        return fold_norm(tensor, fold.scales, step.dtype).weight;
      case Step::Kind::rows:
        return fold_rows(tensor.to(step.dtype), fold.scales);
      case Step::Kind::columns:
        return fold_columns(tensor.to(step.dtype), fold.place, columns_of(step));
    }
    ARKIT_CHECK(false, "a step of no kind");
  }

  // What a norm's rounding left for the columns comes from the norm as it was before.
  at::Tensor columns_of(const Step& step) const {
    const ScalePlace& place = step.fold->place;
    if (!place.from_norm) return step.fold->scales;
    at::Tensor norm = original_.load(place.from);
    for (const Step& before : steps_.at(place.from)) {
      if (before.fold == step.fold) return fold_norm(norm, step.fold->scales, before.dtype).columns;
      norm = done(before, norm);
    }
    ARKIT_CHECK(false, "a norm without its own step");
  }

  const WeightSource& original_;
  const std::vector<TransformRecord> records_;
  std::map<std::string, std::vector<Step>, std::less<>> steps_;
};

class FoldedSource final : public sdk::ForwardingSource {
 public:
  FoldedSource(std::unique_ptr<ModelSource> original, std::vector<TransformRecord> records)
      : ForwardingSource(std::move(original)), weights_(inner().weights(), std::move(records)) {}

  const WeightSource& weights() const override { return weights_; }

 private:
  FoldedWeights weights_;
};

}  // namespace

std::unique_ptr<ModelSource> fold_source(std::unique_ptr<ModelSource> source, std::vector<TransformRecord> records) {
  return std::make_unique<FoldedSource>(std::move(source), std::move(records));
}

}  // namespace arkit
