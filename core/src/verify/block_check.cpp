#include "verify/block_check.h"

#include <cmath>
#include <map>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <arkit/error.h>
#include <arkit/jobs.h>
#include <arkit/model_adapter.h>
#include <arkit/scheme.h>
#include <arkit/str.h>

#include "inference/attention_quantizer.h"
#include "model_free/checkpoint_source.h"

namespace arkit {
namespace {

constexpr const char* kName = "first block against the source";
constexpr int64_t kTokens = 32;
// Unrelated outputs of equal norm differ by sqrt(2); plain rounding to 2 bits gets as far as 1.1.
constexpr double kMaxRelativeError = 1.3;

// Packed layers compute with their decoded weight.
class DecodedHook final : public BlockHook {
 public:
  DecodedHook(const ModelSource& source, const Registry& registry)
      : source_(source), registry_(registry), attention_(source, registry) {
    for (const LinearSpec& spec : source.packed_layers()) specs_.emplace(spec.name, &spec);
  }

  at::Tensor linear(const Linear& layer, const at::Tensor& x) override {
    if (layer.weight.defined()) return BlockHook::linear(layer, x);
    const auto found = specs_.find(layer.name);
    if (found == specs_.end()) throw_input(str("layer '", layer.name, "': has neither a weight nor a packed one"));
    const TensorQuant& quant = found->second->quant.weight;
    const Scheme& scheme = registry_.scheme_for(quant.data_type);
    const at::Tensor weight = scheme.dequantize(source_.unpack(layer.name), quant, x.scalar_type());
    return at::linear(x, weight, layer.bias.defined() ? layer.bias.to(x.scalar_type()) : at::Tensor());
  }

  at::Tensor attention_state(std::string_view module, AttentionState state, const at::Tensor& x) override {
    return attention_(module, state, x);
  }

 private:
  const ModelSource& source_;
  const Registry& registry_;
  AttentionQuantizer attention_;
  std::map<std::string_view, const LinearSpec*> specs_;
};

at::Tensor first_block(const ModelSource& files, const ModelAdapter& adapter, const Registry& registry) {
  const at::NoGradGuard no_grad;
  const std::unique_ptr<ModelSource> plain_tables = model_free::view_plain_tables(files, registry, at::kFloat);
  const ModelSource& source = plain_tables ? *plain_tables : files;
  const std::unique_ptr<Model> model = adapter.open(source, at::kFloat);
  DecodedHook hook(source, registry);
  const int64_t tokens = std::min(kTokens, model->max_positions());
  const at::Tensor ids = at::arange(tokens, at::kLong).mul(37).remainder(model->vocab_size()).unsqueeze(0);
  model->load_rest();
  const at::Tensor hidden = model->embed(ids);
  model->release_rest();
  const ForwardContext context = model->context(1, tokens, {}, {}, nullptr);
  model->load_block(0);
  return model->run_block(0, hidden, context, hook);
}

}  // namespace

CheckResult check_first_block(const ModelSource& exported, const ModelSource& source, const Registry& registry) {
  const ModelAdapter* adapter = nullptr;
  try {
    adapter = &adapter_for(source, registry);
  } catch (const Error& error) {
    return {.name = kName, .skipped = true, .detail = error.what()};
  }
  Check check(kName);
  double relative = 0.0;
  try {
    const at::Tensor expected = first_block(source, *adapter, registry);
    const at::Tensor got = first_block(exported, *adapter, registry);
    relative = (got - expected).norm().item<double>() / expected.norm().item<double>();
    if (!std::isfinite(relative) || relative > kMaxRelativeError)
      check.fail(str("outputs differ by ", relative, " of their norm"));
  } catch (const Error& error) {
    if (error.code() == ErrorCode::interrupted) throw;
    check.fail(error.what());
  }
  return check.result(str("outputs differ by ", relative, " of their norm"));
}

}  // namespace arkit
