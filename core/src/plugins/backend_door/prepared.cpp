#include "plugins/backend_door/prepared.h"

#include <algorithm>
#include <array>
#include <deque>
#include <exception>
#include <new>
#include <utility>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "plugins/backend_door/description.h"
#include "plugins/backend_door/host_table.h"
#include "plugins/backend_door/weights.h"

namespace arkit::backend_door {
namespace {

// Matrices of `rows` rows as the door has them.
class Matrices {
 public:
  explicit Matrices(size_t most) {
    shapes_.reserve(most);
    tensors_.reserve(most);
    pointers_.reserve(most);
  }
  void add(int64_t rows, int64_t columns, ArkitType type, void* host, ArkitBuffer* buffer, uint64_t offset) {
    const std::array<int64_t, 2>& shape = shapes_.emplace_back(std::array<int64_t, 2>{rows, columns});
    pointers_.push_back(
        &tensors_.emplace_back(ArkitTensor{sizeof(ArkitTensor), shape.data(), 2, type, host, buffer, offset}));
  }
  [[nodiscard]] std::span<const ArkitTensor* const> all() const { return pointers_; }

 private:
  std::vector<std::array<int64_t, 2>> shapes_;
  std::vector<ArkitTensor> tensors_;
  std::vector<const ArkitTensor*> pointers_;
};

constexpr uint64_t kAlignment = 256;  // of each output within the memory of all

ArkitHeld* hold_blob(void* blob) {
  try {
    return hold(*static_cast<const at::Tensor*>(blob));
  } catch (const std::bad_alloc&) {
    return nullptr;  // to be copied
  }
}

// Takes what a backend saves; an exception stays here until the backend has handed on that there was one.
struct Sink {
  const PreparedUnit::Write& write;
  std::exception_ptr error = nullptr;

  static ArkitStatus take(void* self, const void* bytes, size_t count) noexcept {
    auto& sink = *static_cast<Sink*>(self);
    try {
      sink.write({static_cast<const std::byte*>(bytes), count});
      return ARKIT_OK;
    } catch (...) {
      sink.error = std::current_exception();
      return ARKIT_STOPPED;
    }
  }
};

uint64_t aligned(uint64_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

Unit::Unit(std::shared_ptr<const Calls> calls, const OpenDevice& device, const ArkitUnit& unit,
           std::span<const LayerWeights> layers, std::span<const ArkitTensor* const> norms,
           at::ScalarType compute_dtype, const at::Tensor& blob)
    : calls_(std::move(calls)) {
  std::deque<WeightsDescription> described;
  std::vector<const ArkitWeights*> weights;
  for (const LayerWeights& layer : layers) weights.push_back(&described.emplace_back(layer).weights());
  const bool exact = std::any_of(layers.begin(), layers.end(), [](const LayerWeights& layer) { return layer.exact; });
  const ArkitPrepare request = {.struct_size = sizeof(ArkitPrepare),
                                .unit = &unit,
                                .device = device.shown,
                                .weights = weights.data(),
                                .compute_type = type_of(compute_dtype),
                                .padding = 0,
                                .blob = blob.defined() ? blob.const_data_ptr() : nullptr,
                                .blob_size = blob.defined() ? blob.nbytes() : 0,
                                .blob_self = const_cast<at::Tensor*>(&blob),
                                .hold_blob = blob.defined() ? hold_blob : nullptr,
                                .norms = norms.data(),
                                .flags = exact ? ARKIT_PREPARE_EXACT : 0U};
  info_.struct_size = sizeof(info_);
  const ArkitBackend& table = calls_->table();
  Words words;
  const ArkitStatus status = calls_->status_of(
      "prepare()", words, [&](ArkitText* why) { return table.prepare(table.self, &request, &prepared_, &info_, why); });
  if (status != ARKIT_OK) {
    for (const WeightsDescription& one : described)
      if (one.error()) std::rethrow_exception(one.error());
    calls_->fail("prepare()", status, words);
  }
  if (prepared_ == nullptr) calls_->refuse("gave nothing back from prepare()");
  if (!at::isFloatingType(scalar_type(info_.x_type)) || !at::isFloatingType(scalar_type(info_.y_type))) {
    table.release(table.self, prepared_);  // no destructor runs
    calls_->refuse(
        str("runs a layer on type ", info_.x_type, " to type ", info_.y_type, ", which are not both real numbers"));
  }
}

Unit::~Unit() {
  const plugins::Running running(calls_->origin(), "release()");
  calls_->table().release(calls_->table().self, prepared_);
}

void Unit::save(const PreparedUnit::Write& write) const {
  const ArkitBackend& table = calls_->table();
  if (table.save == nullptr) calls_->refuse("has no function save()");
  Sink sink{write};
  const ArkitSink shown{sizeof(ArkitSink), &sink, Sink::take};
  Words words;
  const ArkitStatus status = calls_->status_of(
      "save()", words, [&](ArkitText* why) { return table.save(table.self, prepared_, &shown, why); });
  if (sink.error) std::rethrow_exception(sink.error);
  if (status != ARKIT_OK) calls_->fail("save()", status, words);
}

namespace {

std::vector<const LinearSpec*> specs_of(std::span<const LayerWeights> layers) {
  ARKIT_CHECK(!layers.empty(), "nothing is to be prepared");
  std::vector<const LinearSpec*> specs;
  for (const LayerWeights& layer : layers) {
    ARKIT_CHECK(layer.spec.in_features == layers.front().spec.in_features,
                "layers that run together have different inputs");
    specs.push_back(&layer.spec);
  }
  return specs;
}

}  // namespace

PreparedLinears::PreparedLinears(std::shared_ptr<const Calls> calls, std::shared_ptr<const OpenDevice> device,
                                 std::span<const LayerWeights> layers, at::ScalarType compute_dtype,
                                 const at::Tensor& blob)
    : device_(std::move(device)),
      unit_(std::move(calls), *device_, UnitDescription(specs_of(layers)).unit(), layers, {}, compute_dtype, blob),
      x_type_(scalar_type(unit_.info().x_type)),
      y_type_(scalar_type(unit_.info().y_type)),
      in_features_(layers.front().spec.in_features) {
  for (const LayerWeights& layer : layers) out_features_.push_back(layer.spec.out_features);
}

std::vector<at::Tensor> PreparedLinears::forward_all(const at::Tensor& x) const {
  ARKIT_CHECK(x.dim() >= 1 && x.size(-1) == in_features_, "the input of a packed layer has a wrong shape");
  const at::Tensor input = x.to(x_type_).contiguous();
  std::vector<int64_t> sizes = x.sizes().vec();
  std::vector<at::Tensor> y;
  y.reserve(out_features_.size());
  for (const int64_t out : out_features_) {
    sizes.back() = out;
    y.push_back(at::empty(sizes, input.options().dtype(y_type_)));
  }
  const int64_t rows = x.numel() / in_features_;
  if (rows > 0 && device_->description.host_memory)
    run_here(input, y, rows);
  else if (rows > 0)
    run_there(input, y, rows);
  for (at::Tensor& one : y) one = one.to(x.scalar_type());
  return y;
}

void PreparedLinears::run(const ArkitTensor& x, std::span<const ArkitTensor* const> y, ArkitStream* stream) const {
  const ArkitBackend& table = unit_.calls().table();
  unit_.calls().call("run()", [&](ArkitText* why) {
    return table.run(table.self, unit_.prepared(), &x, y.data(), y.size(), stream, why);
  });
}

void PreparedLinears::run_here(const at::Tensor& x, std::span<const at::Tensor> y, int64_t rows) const {
  Matrices inputs(1), outputs(y.size());
  inputs.add(rows, in_features_, unit_.info().x_type, const_cast<void*>(x.const_data_ptr()), nullptr, 0);
  for (size_t i = 0; i < y.size(); ++i)
    outputs.add(rows, out_features_[i], unit_.info().y_type, y[i].mutable_data_ptr(), nullptr, 0);
  run(*inputs.all().front(), outputs.all(), nullptr);
}

// A lane whose run failed is not used again.
void PreparedLinears::run_there(const at::Tensor& x, std::span<const at::Tensor> y, int64_t rows) const {
  std::unique_ptr<Lane> lane = device_->lanes->take();
  uint64_t bytes = 0;
  for (const at::Tensor& one : y) bytes += aligned(one.nbytes());
  ArkitBuffer *from = lane->input(x.nbytes()), *to = lane->output(bytes);
  Matrices inputs(1), outputs(y.size());
  inputs.add(rows, in_features_, unit_.info().x_type, nullptr, from, 0);
  uint64_t offset = 0;
  for (size_t i = 0; i < y.size(); ++i) {
    outputs.add(rows, out_features_[i], unit_.info().y_type, nullptr, to, offset);
    offset += aligned(y[i].nbytes());
  }
  const Calls& calls = unit_.calls();
  const ArkitBackend& table = calls.table();
  calls.call("copy_in()", [&](ArkitText* why) {
    return table.copy_in(table.self, from, 0, x.const_data_ptr(), x.nbytes(), lane->stream(), why);
  });
  run(*inputs.all().front(), outputs.all(), lane->stream());
  for (size_t i = 0; i < y.size(); ++i)
    calls.call("copy_out()", [&](ArkitText* why) {
      return table.copy_out(table.self, y[i].mutable_data_ptr(), to, outputs.all()[i]->offset, y[i].nbytes(),
                            lane->stream(), why);
    });
  lane->synchronize();
  device_->lanes->give_back(std::move(lane));
}

PreparedBlock::PreparedBlock(std::shared_ptr<const Calls> calls, const OpenDevice& device, const BlockWeights& block,
                             at::ScalarType compute_dtype, const at::Tensor& blob) {
  std::array<ArkitTensor, ARKIT_NORM_COUNT> norms;
  std::array<const ArkitTensor*, ARKIT_NORM_COUNT> pointers{};
  std::array<at::Tensor, ARKIT_NORM_COUNT> factors;
  const auto names = norm_names(block.spec.layout->norms);
  for (size_t i = 0; i < norms.size(); ++i)
    if (!names[i]->empty()) {
      factors[i] = block.norm(*names[i]).contiguous();
      norms[i] = describe(factors[i]);
      pointers[i] = &norms[i];
    }
  const UnitDescription unit(block.spec);
  unit_ = std::make_unique<Unit>(std::move(calls), device, unit.unit(), block.layers, pointers, compute_dtype, blob);
  x_type_ = scalar_type(unit_->info().x_type);
}

void PreparedBlock::run(const BlockStep& step) const {
  const at::Tensor x = step.hidden.to(x_type_);  // itself where it can be
  std::vector<ArkitSpan> spans;
  std::vector<const ArkitSpan*> pointers;
  spans.reserve(step.spans.size());
  for (const BlockStep::Span& span : step.spans)
    pointers.push_back(&spans.emplace_back(ArkitSpan{sizeof(ArkitSpan), span.past, span.count, span.pages}));
  const ArkitTensor hidden = describe(x), keys = describe(step.keys), values = describe(step.values);
  ArkitTensor cos{}, sin{};
  if (step.cos.defined()) {
    cos = describe(step.cos);
    sin = describe(step.sin);
  }
  const ArkitBlockRun run = {.struct_size = sizeof(ArkitBlockRun),
                             .x = &hidden,
                             .cos = step.cos.defined() ? &cos : nullptr,
                             .sin = step.cos.defined() ? &sin : nullptr,
                             .keys = &keys,
                             .values = &values,
                             .spans = pointers.data(),
                             .span_count = pointers.size()};
  const ArkitBackend& table = unit_->calls().table();
  unit_->calls().call("run_block()", [&](ArkitText* why) {
    return table.run_block(table.self, unit_->prepared(), &run, nullptr, why);
  });
  if (!x.is_same(step.hidden)) step.hidden.copy_(x);
}

}  // namespace arkit::backend_door
