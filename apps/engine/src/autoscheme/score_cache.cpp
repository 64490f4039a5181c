#include "autoscheme/score_cache.h"

#include <cmath>
#include <span>
#include <utility>
#include <variant>
#include <vector>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/json.h>
#include <arkit/log.h>
#include <arkit/str.h>

#include "quant/quant_key.h"
#include "util/sha256.h"

namespace arkit::auto_scheme {
namespace fs = std::filesystem;

namespace {

// Raised whenever equal inputs give other scores.
constexpr int64_t kScoreVersion = 3;

json::Array pool_key(std::span<const PoolLayer> pool) {
  json::Array out;
  for (const PoolLayer& layer : pool) {
    json::Array quants;
    for (const LayerQuant& quant : layer.quants) quants.push_back(quant_key(quant));
    out.push_back(json::Array{layer.plan.name, layer.plan.out_features, layer.plan.in_features, layer.plan.block,
                              static_cast<int64_t>(layer.plan.kind), layer.plan.fused_group, std::move(quants)});
  }
  return out;
}

json::Object rotation_key(const Rotations* rotations) {
  if (rotations == nullptr) return {};
  if (const auto* layers = std::get_if<LayerRotations>(&rotations->record())) {
    json::Array left_alone;
    for (const std::string& layer : layers->left_alone) left_alone.emplace_back(layer);
    return {
        {"block_size", layers->block_size}, {"random", layers->random_signs}, {"left_alone", std::move(left_alone)}};
  }
  const auto& model = std::get<ModelRotations>(rotations->record());
  return {{"on", json::Array{model.r1, model.r2, model.r3, model.r4}},
          {"online_r1", model.online_r1},
          {"size", model.rotation_size ? json::Value(*model.rotation_size) : json::Value(nullptr)},
          {"random", json::Array{model.random_r1, model.random_r2, model.random_r4}}};
}

json::Object model_key(const ModelSource& source, std::span<const fs::path> weight_files) {
  json::Array tensors, files;
  for (const TensorInfo& info : source.weights().tensors()) {
    json::Array shape;
    for (const int64_t size : info.shape) shape.emplace_back(size);
    tensors.push_back(json::Array{info.name, info.stored_type, std::move(shape)});
  }
  for (const fs::path& file : weight_files) {
    throw_if_interrupted();
    files.push_back(json::Array{file.filename().string(), sha256_file(file)});
  }
  return {{"config", source.config()},
          {"rotation", rotation_key(source.rotations())},
          {"tensors", std::move(tensors)},
          {"files", std::move(files)}};
}

std::string ids_key(const at::Tensor& ids) {
  const at::Tensor dense = ids.contiguous();
  Sha256 hash;
  hash.update(std::as_bytes(std::span(dense.const_data_ptr<int64_t>(), static_cast<size_t>(dense.numel()))));
  return hash.hex();
}

std::vector<double> read_losses(const json::Object& layers, const std::string& name, size_t options) {
  const json::Value* value = json::find(layers, name);
  if (value == nullptr || !value->is_array() || value->get_array().size() != options)
    throw_input(str("layer '", name, "' must have ", options, " losses"));
  std::vector<double> losses;
  for (const json::Value& loss : value->get_array()) {
    if (!loss.is_number()) throw_input(str("a loss of '", name, "' is no number"));
    losses.push_back(loss.to_number<double>());
    if (!std::isfinite(losses.back()) || losses.back() < 0.0)
      throw_input(str("a loss of '", name, "' is out of range"));
  }
  return losses;
}

ScoreTable read_table(const json::Object& content, const ScoreInputs& inputs) {
  const json::Value* layers = json::find(content, "layers");
  if (layers == nullptr || !layers->is_object()) throw_input("it has no layers");
  ScoreTable table;
  for (const SchemeOption& option : inputs.options) table.options.push_back(option.name);
  for (const PoolLayer& layer : inputs.pool) {
    table.layers.push_back(layer.plan.name);
    table.loss.push_back(read_losses(layers->get_object(), layer.plan.name, inputs.options.size()));
  }
  return table;
}

}  // namespace

std::string score_key(const ScoreInputs& inputs) {
  json::Array shape;
  for (const int64_t size : inputs.input_ids.sizes()) shape.emplace_back(size);
  const json::Object key{{"version", kScoreVersion},
                         {"mode", static_cast<int64_t>(inputs.settings.mode)},
                         {"batch_size", inputs.settings.batch_size},
                         {"seed", inputs.settings.seed},
                         {"dtype", at::toString(inputs.compute_dtype)},
                         {"variant", inputs.variant},
                         {"samples", ids_key(inputs.input_ids)},
                         {"shape", std::move(shape)},
                         {"pool", pool_key(inputs.pool)},
                         {"model", model_key(inputs.source, inputs.weight_files)}};
  return sha256_hex(json::dump(key, 0, true));
}

ScoreCache::ScoreCache(const fs::path& folder, const ScoreInputs& inputs)
    : inputs_(inputs), kept_(folder, "scores", score_key(inputs)) {}

std::optional<ScoreTable> ScoreCache::load(Reporter& reporter) const {
  std::optional<ScoreTable> table;
  const auto read = [&](const json::Object& content) { table = read_table(content, inputs_); };
  return kept_.load(read, reporter) ? std::move(table) : std::nullopt;
}

void ScoreCache::store(const ScoreTable& table, Reporter& reporter) const {
  json::Array options;
  for (const std::string& option : table.options) options.emplace_back(option);
  json::Object layers;
  for (size_t i = 0; i < table.layers.size(); ++i)
    layers[table.layers[i]] = json::Array(table.loss[i].begin(), table.loss[i].end());
  kept_.store({{"options", std::move(options)}, {"layers", std::move(layers)}}, reporter);
}

}  // namespace arkit::auto_scheme
