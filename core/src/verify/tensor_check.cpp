#include "verify/tensor_check.h"

#include <cstring>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/log.h>
#include <arkit/str.h>

#include "io/finite.h"

namespace arkit {
namespace {

constexpr std::string_view kWeight = ".weight";

std::string_view module_of(std::string_view tensor) {
  return tensor.substr(0, tensor.rfind('.'));
}

// Buffers every loader computes for itself.
bool is_rebuilt(std::string_view name) {
  return name.ends_with(".rotary_emb.inv_freq") || name == "rope_freqs.weight";
}

std::set<std::string, std::less<>> packed_names(const ModelSource& exported) {
  std::set<std::string, std::less<>> names;
  for (const LinearSpec& spec : exported.packed_layers()) names.insert(spec.name);
  return names;
}

bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  return a.nbytes() == b.nbytes() && std::memcmp(a.const_data_ptr(), b.const_data_ptr(), a.nbytes()) == 0;
}

}  // namespace

CheckResult check_finite_values(const ModelSource& exported) {
  Check check("finite values");
  int64_t tensors = 0;
  for (const TensorInfo& info : exported.weights().tensors()) {
    if (!at::isFloatingType(info.dtype) || c10::elementSize(info.dtype) < 2) continue;
    throw_if_interrupted();
    try {
      io::check_finite(exported.weights().load(info.name), info.name);
    } catch (const Error& error) {
      check.fail(error.what());
    }
    exported.weights().release(info.name);
    ++tensors;
  }
  return check.result(str(tensors, " floating-point tensors hold finite numbers"));
}

CheckResult check_attention_scales(const ModelSource& exported) {
  Check check("static scales of attention");
  for (const AttentionSpec& spec : exported.attention_specs()) {
    try {
      (void)exported.attention_ranges(spec.name);
    } catch (const Error& error) {
      check.fail(error.what());
    }
  }
  return check.result(str(exported.attention_specs().size(), " modules with positive scales"));
}

CheckResult check_accounting(const ModelSource& exported, const ModelSource& source, const ExportFacts& facts,
                             VerifyReport& report) {
  Check check("every source tensor accounted for");
  const std::set<std::string, std::less<>> packed = packed_names(exported);
  int64_t quantized = 0, copied = 0, tied = 0, dropped = 0, unaccounted = 0;
  for (const TensorInfo& info : source.weights().tensors()) {
    const std::string_view module = module_of(info.name);
    if (info.name.ends_with(kWeight) && (packed.contains(module) || facts.quantized.contains(module))) {
      ++quantized;
    } else if (const TensorInfo* copy = exported.weights().find(info.name)) {
      if (copy->shape != info.shape) check.fail(str("'", info.name, "': has another shape than in the source"));
      ++copied;
    } else if (facts.tied && module == "lm_head") {
      ++tied;
    } else if (is_rebuilt(info.name)) {
      ++dropped;
    } else {
      ++unaccounted;
      check.fail(str("'", printable(info.name), "' of the source is not in the export"));
    }
  }
  std::set<std::string, std::less<>> attention;
  for (const AttentionSpec& spec : exported.attention_specs())
    attention.insert(spec.tensors.begin(), spec.tensors.end());
  for (const TensorInfo& info : exported.weights().tensors()) {
    // A full-size export (fake) keeps what activations need beside the weights it rounded.
    const std::string_view module = module_of(info.name);
    const bool known = source.weights().find(info.name) != nullptr || packed.contains(module) ||
                       facts.quantized.contains(module) || attention.contains(info.name);
    if (!known) check.fail(str("'", printable(info.name), "' of the export has no origin in the source"));
  }
  report.counts["source_tensors"] = source.weights().tensors().size();
  report.counts["quantized"] = quantized;
  report.counts["copied"] = copied;
  report.counts["tied"] = tied;
  report.counts["dropped_by_rule"] = dropped;
  report.counts["unaccounted"] = unaccounted;
  return check.result(
      str(quantized, " quantized, ", copied, " copied, ", tied, " tied, ", dropped, " dropped by rule"));
}

CheckResult check_copies(const ModelSource& exported, const ModelSource& source, const ExportFacts& facts) {
  Check check("copied tensors equal the source");
  int64_t compared = 0, cast = 0;
  for (const TensorInfo& info : exported.weights().tensors()) {
    const TensorInfo* original = source.weights().find(info.name);
    if (original == nullptr || original->shape != info.shape) continue;
    if (info.name.ends_with(kWeight) && facts.quantized.contains(module_of(info.name))) continue;
    if (facts.tuned_norms && info.name.find("norm") != std::string::npos) continue;
    throw_if_interrupted();
    const at::Tensor copy = exported.weights().load(info.name);
    at::Tensor expected = source.weights().load(info.name);
    if (expected.scalar_type() != copy.scalar_type()) {
      expected = expected.to(copy.scalar_type());
      ++cast;
    }
    if (!same_bits(copy, expected)) check.fail(str("'", printable(info.name), "' differs from the source"));
    exported.weights().release(info.name);
    source.weights().release(info.name);
    ++compared;
  }
  return check.result(str(compared, " tensors compared, ", cast, " of them after a cast"));
}

}  // namespace arkit
