#include "convert/proof.h"

#include <algorithm>
#include <memory>
#include <string>

#include <ATen/ATen.h>

#include <arkit/engine/open_source.h>
#include <arkit/error.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/str.h>

#include "convert/export_plan.h"
#include "convert/grid.h"
#include "verify/layer_check.h"
#include "verify/tensor_check.h"

namespace arkit {
namespace {

constexpr double kBf16Rounding = 1.0 / 256;

[[noreturn]] void fail(const std::filesystem::path& written, const std::string& what) {
  throw Error(ErrorCode::verification, str("'", written.string(), "': ", what,
                                           "; what was written is removed (this is a bug in arkit or in a plugin)"));
}

struct Sum {
  int64_t layers = 0, weights = 0, groups = 0, moved = 0, scales = 0, offsets = 0;
  double max_scale = 0.0, max_offset = 0.0;

  void add(const GridDifference& layer) {
    ++layers;
    weights += layer.weights;
    groups += layer.groups;
    moved += layer.moved_groups;
    scales += layer.rounded_scales;
    offsets += layer.rounded_offsets;
    max_scale = std::max(max_scale, layer.max_scale);
    max_offset = std::max(max_offset, layer.max_offset);
  }
};

json::Object describe(const Sum& sum, int64_t tensors) {
  json::Object report{{"layers", sum.layers}, {"codes", sum.weights}, {"groups", sum.groups}};
  if (sum.moved > 0) report["moved_groups"] = sum.moved;
  report["rounded_scales"] = sum.scales;
  if (sum.scales > 0) report["largest_scale_error"] = sum.max_scale;
  if (sum.offsets > 0) {
    report["rounded_offsets"] = sum.offsets;
    report["largest_offset_error_in_steps"] = sum.max_offset;
  }
  report["copied_tensors"] = tensors;
  std::string verdict = str("reopened and unpacked: ", sum.layers, " layers with equal codes and zero points");
  verdict += sum.scales + sum.offsets == 0 ? ", equal scales" : ", rounded scales as allowed";
  report["verdict"] = str(verdict, ", ", tensors, " other tensors equal");
  return report;
}

int64_t check_tensors(const ModelSource& exported, const ModelSource& shown, const QuantPlan& plan,
                      const std::filesystem::path& written, Reporter& reporter) {
  ExportFacts facts{.tied = plan.tied_embeddings};
  for (const LinearSpec& spec : sdk::packed_layers(exported)) facts.quantized.insert(spec.name);
  VerifyReport unused;
  for (const CheckResult& check :
       {check_accounting(exported, shown, facts, unused), check_copies(exported, shown, facts, reporter)})
    if (!check.passed) fail(written, check.detail);
  int64_t copied = 0;
  for (const TensorInfo& tensor : exported.weights().tensors()) {
    const TensorInfo* original = shown.weights().find(tensor.name);
    const bool packed = original != nullptr &&
                        facts.quantized.contains(tensor.name.substr(0, tensor.name.rfind('.'))) &&
                        !tensor.name.ends_with(".bias");
    if (original == nullptr || packed) continue;
    if (original->dtype != tensor.dtype) fail(written, str("tensor '", printable(tensor.name), "' changed its type"));
    ++copied;
  }
  return copied;
}

// Shapes differ where one has scales of heads broadcast.
void check_attention(const ModelSource& source, const ModelSource& exported, bool allow_rounding,
                     const std::filesystem::path& written) {
  if (sdk::attention_modules(source).size() != sdk::attention_modules(exported).size())
    fail(written, str("has static scales for ", sdk::attention_modules(exported).size(),
                      " attention modules instead of ", sdk::attention_modules(source).size()));
  for (const AttentionSpec& spec : sdk::attention_modules(source))
    for (const std::string& name : spec.tensors) {
      if (exported.weights().find(name) == nullptr) fail(written, str("lacks '", printable(name), "'"));
      const at::Tensor wanted = source.weights().load(name), got = exported.weights().load(name);
      const auto flat = [](const at::Tensor& scale) { return scale.to(at::kFloat).reshape({-1}); };
      if (allow_rounding ? flat(got).allclose(flat(wanted), kBf16Rounding) : flat(got).equal(flat(wanted))) continue;
      throw_unsupported(str("'", printable(name), "' is ", c10::toString(wanted.scalar_type()),
                            " and would be rounded to ", c10::toString(got.scalar_type()),
                            "; pass --allow_rounding to accept that"));
    }
}

}  // namespace

json::Object prove_equal(const ModelSource& source, const ModelSource& shown, const std::filesystem::path& written,
                         const QuantPlan& plan, bool allow_rounding, const Registry& registry, Reporter& reporter) {
  const std::unique_ptr<ModelSource> exported = open_source(written.string(), registry);
  if (sdk::packed_layers(*exported).size() != sdk::packed_layers(source).size())
    fail(written, str("holds ", sdk::packed_layers(*exported).size(), " packed layers instead of ",
                      sdk::packed_layers(source).size()));
  Sum sum;
  for (const LayerPlan& layer : plan.layers) {
    if (!layer.quantized()) continue;
    throw_if_interrupted();
    const GridDifference difference =
        compare_grids(planned_weight(source, layer), sdk::packed_of(*exported).unpack(layer.name), layer.quant.weight);
    if (!difference.broken.empty() || (!allow_rounding && !difference.exact()))
      fail(written, str("layer '", printable(layer.name), "': ", difference.words()));
    sum.add(difference);
    release_layer(source, layer.name);
    release_layer(*exported, layer.name);
    reporter.progress(
        {"comparing layers", sum.layers, static_cast<int64_t>(sdk::packed_layers(source).size()), "layers"});
  }
  check_attention(source, *exported, allow_rounding, written);
  return describe(sum, check_tensors(*exported, shown, plan, written, reporter));
}

}  // namespace arkit
