// Components that are found and loaded, and throw or lie when they are used: one kind of exception a function.
#include <cstdlib>
#include <limits>
#include <new>
#include <stdexcept>
#include <vector>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/model_source.h>
#include <arkit/plugin.h>
#include <arkit/scheme.h>

namespace {

// 4-bit codes around one scale a row. What the others derive from; throws from presets() when a test says so.
class RowScheme : public arkit::Scheme {
 public:
  const arkit::SchemeInfo& info() const noexcept override {
    static constexpr std::string_view kTypes[] = {"row"};
    static constexpr arkit::SchemeInfo kInfo{"row", "one scale a row", kTypes};
    return kInfo;
  }
  std::span<const arkit::Preset> presets() const override {
    if (std::getenv("ARKIT_TEST_PRESETS_THROW") != nullptr) throw 7;
    return {};
  }
  arkit::Verdict supports(const arkit::LayerPlan&) const override { return arkit::Verdict::yes(); }
  double bits_per_weight(const arkit::LayerPlan&) const override { return 4; }
  bool searches(const arkit::TensorQuant&) const override { return false; }
  arkit::WeightTuning begin_tuning(const at::Tensor&, const arkit::TensorQuant&,
                                   const arkit::TuningSetup&) const override {
    arkit::throw_input("begin_tuning wants another weight");
  }
  void fake_quant_weight(const at::Tensor&, arkit::WeightTuning&, const arkit::TensorQuant&,
                         at::Tensor&) const override {
    throw arkit::Error(arkit::ErrorCode::interrupted, "interrupted");
  }
  void fake_quant_weight_backward(const at::Tensor&, const arkit::WeightTuning&, const arkit::TensorQuant&,
                                  const at::Tensor&, arkit::WeightGradient&) const override {}
  at::Tensor fake_quant_act(const at::Tensor& x, const arkit::TensorQuant&, const at::Tensor&) const override {
    return x;
  }
  arkit::QuantizedWeight quantize_tuned(const at::Tensor& weight, arkit::WeightTuning&,
                                        const arkit::TensorQuant& quant) const override {
    return quantize_rtn(weight, quant, arkit::RtnMode::plain, {}, 0, {});
  }
  arkit::QuantizedWeight quantize_rtn(const at::Tensor& weight, const arkit::TensorQuant&, arkit::RtnMode,
                                      const at::Tensor&, int64_t, const at::Tensor&) const override {
    arkit::QuantizedWeight out;
    out.scale = (weight.to(at::kFloat).abs().amax(1, true) / 7).clamp_min(1e-6F);
    out.codes = (weight.to(at::kFloat) / out.scale).round().add(8).clamp(0, 15).to(at::kByte);
    return out;
  }
  at::Tensor dequantize(const arkit::QuantizedWeight& weight, const arkit::TensorQuant&,
                        at::ScalarType dtype) const override {
    return ((weight.codes.to(at::kFloat) - 8) * weight.scale).to(dtype);
  }
};

template <const arkit::SchemeInfo& kInfo>
class Named : public RowScheme {
 public:
  const arkit::SchemeInfo& info() const noexcept override { return kInfo; }
};

constexpr arkit::SchemeInfo kThrowing{"throwing", "", {}}, kNan{"nan", "", {}}, kShort{"short", "", {}};

class ThrowingScheme final : public Named<kThrowing> {
 public:
  double bits_per_weight(const arkit::LayerPlan&) const override { throw 7; }
  bool searches(const arkit::TensorQuant&) const override { throw std::runtime_error("searches is\033[2J broken"); }
  at::Tensor fake_quant_act(const at::Tensor& x, const arkit::TensorQuant&, const at::Tensor&) const override {
    return x.view({-7});  // c10::Error
  }
  at::Tensor global_scale(const at::Tensor&, const arkit::TensorQuant&) const override { throw std::bad_alloc(); }
};

// The scale of row 3 is what a division by zero leaves.
class NanScheme final : public Named<kNan> {
 public:
  arkit::QuantizedWeight quantize_rtn(const at::Tensor& weight, const arkit::TensorQuant& quant, arkit::RtnMode mode,
                                      const at::Tensor& imatrix, int64_t count,
                                      const at::Tensor& global_scale) const override {
    arkit::QuantizedWeight out = RowScheme::quantize_rtn(weight, quant, mode, imatrix, count, global_scale);
    out.scale[3].fill_(std::numeric_limits<float>::quiet_NaN());
    return out;
  }
};

// Loses the last row.
class ShortScheme final : public Named<kShort> {
 public:
  arkit::QuantizedWeight quantize_rtn(const at::Tensor& weight, const arkit::TensorQuant& quant, arkit::RtnMode mode,
                                      const at::Tensor& imatrix, int64_t count,
                                      const at::Tensor& global_scale) const override {
    return RowScheme::quantize_rtn(weight.slice(0, 0, weight.size(0) - 1), quant, mode, imatrix, count, global_scale);
  }
};

class ThrowingSource final : public arkit::ModelSource {
 public:
  std::string kind() const override { throw 7; }
  const std::filesystem::path& path() const override { return path_; }
  const arkit::json::Object& config() const override { return config_; }
  const arkit::WeightSource& weights() const override { return weights_; }
  const arkit::PackedLayers* packed() const override { return &packed_; }
  const arkit::TokenizerTexts* tokenizer() const override { return nullptr; }
  std::vector<arkit::CompanionFile> companions() const override { return {}; }

 private:
  class Weights final : public arkit::WeightSource {
   public:
    at::Tensor load(std::string_view name) const override { throw std::out_of_range("no tensor " + std::string(name)); }
  };
  class Packed final : public arkit::PackedLayers {
   public:
    std::span<const arkit::LinearSpec> layers() const override { return {}; }
    arkit::TensorMap tensors(std::string_view) const override { return {}; }
    arkit::QuantizedWeight unpack(std::string_view) const override { throw 7; }
  };
  std::filesystem::path path_;
  arkit::json::Object config_;
  Weights weights_;
  Packed packed_;
};

void throw_if_asked() {
  if (std::getenv("ARKIT_TEST_INFO_THROWS") != nullptr) throw std::runtime_error("info is broken");
}

// Breaks the promise of info() not to throw when a test says so.
class FaultyReader final : public arkit::ModelReader {
 public:
  const arkit::ReaderInfo& info() const noexcept override {
    static constexpr arkit::ReaderInfo kInfo{"faulty", "makes sources that throw"};
    throw_if_asked();
    return kInfo;
  }
  arkit::Verdict matches(const std::filesystem::path&, const arkit::json::Object*) const override {
    return arkit::Verdict::no("never");
  }
  std::unique_ptr<arkit::ModelSource> open(const std::filesystem::path& path) const override {
    if (path == "/null") return nullptr;
    return std::make_unique<ThrowingSource>();
  }
};

}  // namespace

ARKIT_PLUGIN("org.example.faulty", "1.0", "Example", "Apache-2.0", "https://example.org",
             arkit::component<arkit::Scheme, RowScheme>("row", "one scale a row"),
             arkit::component<arkit::Scheme, ThrowingScheme>("throwing", "throws from its functions"),
             arkit::component<arkit::Scheme, NanScheme>("nan", "gives a scale that is no number"),
             arkit::component<arkit::Scheme, ShortScheme>("short", "gives too few codes"),
             arkit::component<arkit::ModelReader, FaultyReader>("faulty", "makes sources that throw"));
