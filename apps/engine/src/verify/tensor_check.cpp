#include "verify/tensor_check.h"

#include <algorithm>
#include <cstring>
#include <initializer_list>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/log.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/sdk/layer_rules.h>
#include <arkit/str.h>

#include "util/finite.h"

namespace arkit {
namespace {

using model_free::is_embedding_table;
using model_free::is_head_layer;

constexpr std::string_view kDotWeight = ".weight";

std::string_view module_of(std::string_view tensor) {
  return tensor.substr(0, tensor.rfind('.'));
}

bool ends_with_any(std::string_view name, std::initializer_list<std::string_view> endings) {
  return std::any_of(endings.begin(), endings.end(), [&](std::string_view end) { return name.ends_with(end); });
}

// Buffers every loader computes for itself.
bool is_rebuilt(std::string_view name) {
  return name.ends_with(".rotary_emb.inv_freq") || name == "rope_freqs.weight";
}

// Static scales of keys, values and queries in the source: they belong to the way it was quantized, and an export
// either calibrates its own or computes without.
bool is_attention_scale(std::string_view name) {
  return ends_with_any(name,
                       {".k_scale", ".v_scale", ".q_scale", ".k_global_scale", ".v_global_scale", ".q_global_scale"});
}

// What AutoRound leaves of its rotations beside layers, packed or not: sizes and matrices that loaders look up.
bool is_rotation_record(std::string_view name) {
  const std::string_view last = name.substr(name.rfind('.') + 1);
  return last.starts_with("spinquant_") || last == "hadamard_matrix";
}

// Tuned values stay near those they came from: sign descent moves them by a few percent.
constexpr double kTunedChange = 0.5;  // of the norm

std::set<std::string, std::less<>> packed_names(const ModelSource& exported) {
  std::set<std::string, std::less<>> names;
  for (const LinearSpec& spec : sdk::packed_layers(exported)) names.insert(spec.name);
  return names;
}

bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  return a.nbytes() == b.nbytes() && std::memcmp(a.const_data_ptr(), b.const_data_ptr(), a.nbytes()) == 0;
}

}  // namespace

CheckResult check_finite_values(const ModelSource& exported, Reporter& reporter) {
  Check check("finite values");
  int64_t tensors = 0, seen = 0;
  const auto all = static_cast<int64_t>(exported.weights().tensors().size());
  for (const TensorInfo& info : exported.weights().tensors()) {
    reporter.progress({"checking values", ++seen, all, "tensors"});
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
  for (const AttentionSpec& spec : sdk::attention_modules(exported)) {
    try {
      (void)exported.attention_scales()->ranges(spec.name);
    } catch (const Error& error) {
      check.fail(error.what());
    }
  }
  return check.result(str(sdk::attention_modules(exported).size(), " modules with positive scales"));
}

namespace {

// A model whose head is its embedding may store the one matrix under either name: is `name` of one side, a head or a
// table, stored on the other side under the other name?
bool is_stored_as_twin(const std::string& name, const WeightSource& here, const WeightSource& there) {
  const bool head = is_head_layer(module_of(name));
  if (!name.ends_with(kDotWeight) || !(head || is_embedding_table(module_of(name)))) return false;
  for (const TensorInfo& info : there.tensors()) {
    const std::string_view other = module_of(info.name);
    if (!info.name.ends_with(kDotWeight) || !(head ? is_embedding_table(other) : is_head_layer(other))) continue;
    const at::Tensor mine = here.load(name), twin = there.load(info.name);
    const bool same =
        mine.sizes() == twin.sizes() && (c10::elementSize(mine.scalar_type()) >= c10::elementSize(twin.scalar_type())
                                             ? same_bits(mine.to(twin.scalar_type()), twin)
                                             : same_bits(mine, twin.to(mine.scalar_type())));
    here.release(name);
    there.release(info.name);
    if (same) return true;
  }
  return false;
}

}  // namespace

CheckResult check_accounting(const ModelSource& exported, const ModelSource& source, const ExportFacts& facts,
                             VerifyReport& report) {
  Check check("every source tensor accounted for");
  const std::set<std::string, std::less<>> packed = packed_names(exported);
  int64_t quantized = 0, copied = 0, tied = 0, dropped = 0, unaccounted = 0;
  for (const TensorInfo& info : source.weights().tensors()) {
    const std::string_view module = module_of(info.name);
    if (info.name.ends_with(kDotWeight) && (packed.contains(module) || facts.quantized.contains(module))) {
      ++quantized;
    } else if (const TensorInfo* copy = exported.weights().find(info.name)) {
      if (copy->shape != info.shape) check.fail(str("'", info.name, "': has another shape than in the source"));
      ++copied;
    } else if (facts.tied && is_stored_as_twin(info.name, source.weights(), exported.weights())) {
      ++tied;
    } else if (is_rebuilt(info.name) || is_attention_scale(info.name) || is_rotation_record(info.name)) {
      ++dropped;
    } else {
      ++unaccounted;
      check.fail(str("'", printable(info.name), "' of the source is not in the export"));
    }
  }
  std::set<std::string, std::less<>> attention;
  for (const AttentionSpec& spec : sdk::attention_modules(exported))
    attention.insert(spec.tensors.begin(), spec.tensors.end());
  for (const TensorInfo& info : exported.weights().tensors()) {
    // A full-size export (fake) keeps what activations need beside the weights it rounded.
    const std::string_view module = module_of(info.name);
    const bool known = source.weights().find(info.name) != nullptr || packed.contains(module) ||
                       facts.quantized.contains(module) || attention.contains(info.name) ||
                       is_rotation_record(info.name) ||
                       is_stored_as_twin(info.name, exported.weights(), source.weights());
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

namespace {

bool is_tuned(const std::string& name, const ExportFacts& facts) {
  if (!facts.tuned_norms) return false;
  return name.find("norm") != std::string::npos ||
         (name.ends_with(".bias") && facts.quantized.contains(module_of(name)));
}

bool is_near(const at::Tensor& tuned, const at::Tensor& original) {
  const at::Tensor before = original.to(at::kFloat), change = tuned.to(at::kFloat) - before;
  return change.norm().item<double>() <= kTunedChange * before.norm().item<double>() + 1e-6;
}

}  // namespace

CheckResult check_copies(const ModelSource& exported, const ModelSource& source, const ExportFacts& facts,
                         Reporter& reporter) {
  Check check("copied tensors equal the source");
  int64_t compared = 0, cast = 0, tuned = 0, seen = 0;
  const auto all = static_cast<int64_t>(exported.weights().tensors().size());
  for (const TensorInfo& info : exported.weights().tensors()) {
    reporter.progress({"comparing copied tensors", ++seen, all, "tensors"});
    const TensorInfo* original = source.weights().find(info.name);
    if (original == nullptr || original->shape != info.shape) continue;
    if (info.name.ends_with(kDotWeight) && facts.quantized.contains(module_of(info.name))) continue;
    if (is_attention_scale(info.name) || is_rotation_record(info.name)) continue;
    throw_if_interrupted();
    const at::Tensor copy = exported.weights().load(info.name);
    at::Tensor expected = source.weights().load(info.name);
    if (is_tuned(info.name, facts)) {
      if (!is_near(copy, expected))
        check.fail(str("'", printable(info.name), "' is far from the source for a tuned one"));
      ++tuned;
    } else {
      if (expected.scalar_type() != copy.scalar_type()) {
        expected = expected.to(copy.scalar_type());
        ++cast;
      }
      if (!same_bits(copy, expected)) check.fail(str("'", printable(info.name), "' differs from the source"));
      ++compared;
    }
    exported.weights().release(info.name);
    source.weights().release(info.name);
  }
  const std::string more = tuned > 0 ? str("; ", tuned, " tuned ones are near it") : std::string();
  return check.result(str(compared, " tensors compared, ", cast, " of them after a cast", more));
}

}  // namespace arkit
