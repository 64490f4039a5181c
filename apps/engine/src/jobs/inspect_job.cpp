// `arkit inspect`: what a model, an export or a bare tensor file holds, how many bits its weights take, and what can
// run it.
#include <array>
#include <filesystem>
#include <map>
#include <set>

#include <ATen/ATen.h>

#include <arkit/engine/reported_jobs.h>
#include <arkit/error.h>
#include <arkit/exporter.h>
#include <arkit/inference_backend.h>
#include <arkit/model_adapter.h>
#include <arkit/model_source.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/str.h>

#include "inference/backend_choice.h"
#include "inference/better_backend.h"
#include "quant/attention_plan.h"
#include "quant/scheme_resolver.h"
#include "util/stored_bytes.h"

namespace arkit {
namespace fs = std::filesystem;

namespace {

json::Array shape_of(const std::vector<int64_t>& shape) {
  json::Array sizes;
  for (const int64_t size : shape) sizes.emplace_back(size);
  return sizes;
}

json::Array list_tensors(const WeightSource& weights) {
  json::Array rows;
  for (const TensorInfo& tensor : weights.tensors())
    rows.push_back(json::Object{{"name", tensor.name},
                                {"type", tensor.stored_type},
                                {"shape", shape_of(tensor.shape)},
                                {"bytes", tensor.stored_bytes},
                                {"file", tensor.file}});
  return rows;
}

// Bytes, tensors and elements by the type they are stored in.
json::Array summarize_types(const WeightSource& weights) {
  struct Sum {
    int64_t tensors = 0, bytes = 0, elements = 0;
  };
  std::map<std::string, Sum> types;
  for (const TensorInfo& tensor : weights.tensors()) {
    Sum& sum = types[tensor.stored_type];
    ++sum.tensors;
    sum.bytes += tensor.stored_bytes;
    sum.elements += tensor.numel();
  }
  json::Array rows;
  for (const auto& [type, sum] : types)
    rows.push_back(
        json::Object{{"type", type}, {"tensors", sum.tensors}, {"elements", sum.elements}, {"bytes", sum.bytes}});
  return rows;
}

// Which backend would run a packed layer, or every backend's reason for not doing it.
std::string runner_of(const BackendChoice& choice) {
  if (choice.backend == nullptr) {
    std::string reasons;
    for (const std::string& refusal : choice.refusals()) reasons += str(reasons.empty() ? "" : "; ", refusal);
    return str("nothing here (", reasons, ")");
  }
  // A device is named where there is a choice, or where it is not this machine's processor.
  const std::span<const BackendDevice> devices = choice.backend->devices();
  const BackendDevice& device = devices[choice.verdict.device];
  const std::string name(choice.backend->info().name);
  return devices.size() == 1 && device.host_memory ? name : str(name, " on ", device.id());
}

// What every backend says of a layer, the one that runs it first.
json::Array verdicts_of(const BackendChoice& choice, const Registry& registry) {
  json::Array rows;
  for (const BackendAnswer& answer : choice.answers) {
    json::Object row{{"backend", answer.name}, {"score", answer.verdict.score}};
    if (answer.verdict.own_activations) row["own_activations"] = true;
    if (answer.verdict.score > 0)
      row["device"] = registry.backend(answer.name).devices()[answer.verdict.device].id();
    else
      row["why_not"] = answer.verdict.why_not;
    rows.push_back(std::move(row));
  }
  return rows;
}

// Packed layers that share packing, scheme and the backend that runs them. Backends look at shapes as well.
json::Array summarize_packed(const ModelSource& source, const Registry& registry, std::string& better) {
  struct Kind {
    std::vector<const LinearSpec*> specs;
    BackendChoice choice;  // of the first
  };
  std::map<std::array<std::string, 3>, Kind> kinds;
  const BackendChooser chooser(registry, {});
  std::vector<ScoredLayer> scored;
  for (const LinearSpec& spec : sdk::packed_layers(source)) {
    BackendChoice choice = chooser.choose(for_backends(spec, source));
    scored.push_back({&spec.quant, choice.verdict.score});
    std::string runner = choice.backend == nullptr ? std::string() : runner_of(choice);  // reasons name the layer
    Kind& kind = kinds[{spec.packing, describe(spec.quant), std::move(runner)}];
    if (kind.specs.empty()) kind.choice = std::move(choice);
    kind.specs.push_back(&spec);
  }
  better = better_backend(scored, registry, known_backends(), {});
  json::Array rows;
  for (const auto& [kind, found] : kinds) {
    const std::vector<const LinearSpec*>& specs = found.specs;
    int64_t weights = 0, bytes = 0;
    for (const LinearSpec* spec : specs) {
      weights += spec->out_features * spec->in_features;
      for (const auto& [suffix, tensor] : sdk::packed_of(source).tensors(spec->name))
        if (suffix != "bias") bytes += static_cast<int64_t>(tensor.nbytes());
    }
    rows.push_back(json::Object{
        {"packing", kind[0]},
        {"scheme", kind[1]},
        {"layers", specs.size()},
        {"bits_per_weight", weights > 0 ? 8.0 * static_cast<double>(bytes) / static_cast<double>(weights) : 0.0},
        {"runs_on", runner_of(found.choice)},
        {"backends", verdicts_of(found.choice, registry)}});
  }
  return rows;
}

// Modules with static scales of attention. They are applied when arkit runs the model; the cache keeps its own type.
json::Array summarize_attention(const ModelSource& source) {
  json::Array rows;
  std::map<std::string, int64_t> kinds;
  for (const AttentionSpec& spec : sdk::attention_modules(source)) ++kinds[describe(spec.quant)];
  for (const auto& [scheme, modules] : kinds)
    rows.push_back(
        json::Object{{"scheme", scheme},
                     {"modules", modules},
                     {"runs_as", "rounded to this type and back; the cache in memory keeps the compute type"}});
  return rows;
}

// Shapes from the layout: parameters of the whole model as if nothing was packed.
void describe_model(json::Object& report, const ModelSource& source, const Registry& registry) {
  const json::Object& config = source.config();
  report["model_type"] = json::get_string(config, "model_type", "config.json").value_or("");
  try {
    const ModelLayout layout = layout_of(source, registry);
    report["blocks"] = layout.blocks.size();
    report["hidden_size"] = layout.lists.empty() ? 0 : layout.lists.front().hidden_size;
    report["vocab_size"] = layout.tokens.vocab_size;
    report["max_positions"] = layout.tokens.max_positions;
    report["tied_embeddings"] = layout.tokens.tied;
    int64_t weights = 0;
    for (const LayerPlan& layer : layout.linears()) weights += layer.out_features * layer.in_features;
    report["linear_weights"] = weights;
    report["runs"] = true;
  } catch (const Error& error) {
    if (error.code() == ErrorCode::internal) throw;
    report["runs"] = false;
    report["why_not"] = error.what();
  }
}

json::Object inspect_tensors(const fs::path& file) {
  const std::unique_ptr<WeightSource> weights = open_safetensors(file);
  return {{"path", file.string()},
          {"kind", "safetensors file"},
          {"bytes", stored_bytes(*weights)},
          {"types", summarize_types(*weights)},
          {"tensors", list_tensors(*weights)}};
}

}  // namespace

json::Object inspect_model(const std::string& model_or_file, const Registry& registry) {
  Reporter nobody;
  return inspect_model(model_or_file, registry, nobody);
}

json::Object inspect_model(const std::string& model_or_file, const Registry& registry, Reporter& reporter) {
  std::error_code error;
  if (fs::is_regular_file(model_or_file, error) && fs::path(model_or_file).extension() == ".safetensors")
    return inspect_tensors(model_or_file);
  const std::unique_ptr<ModelSource> source = open_source(model_or_file, registry, reporter);
  json::Object report{{"path", source->path().string()}, {"kind", source->kind()}};
  describe_model(report, *source, registry);
  report["bytes"] = stored_bytes(source->weights());
  report["types"] = summarize_types(source->weights());
  std::string better;
  report["packed"] = summarize_packed(*source, registry, better);
  if (!better.empty()) report["hint"] = better;
  if (!sdk::attention_modules(*source).empty()) report["attention"] = summarize_attention(*source);
  report["tensors"] = list_tensors(source->weights());
  return report;
}

}  // namespace arkit
