#include "autoscheme/score_experts.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace arkit::auto_scheme {
namespace {

constexpr double kZero = 1e-12;

struct Expert {
  std::vector<size_t> layers;
  double sum = 0.0;
  int64_t active = 0;
};

using Experts = std::map<std::pair<std::string, int64_t>, Expert>;  // by LayerPlan::experts and expert

Experts experts_of_block(std::span<const PoolLayer> pool, const ScoreTable& table, int64_t block, size_t option) {
  Experts out;
  for (size_t i = 0; i < pool.size(); ++i) {
    const LayerPlan& layer = pool[i].plan;
    const double loss = table.loss[i][option];
    if (layer.block != block || layer.experts.empty() || !std::isfinite(loss)) continue;
    Expert& expert = out[{layer.experts, layer.expert}];
    expert.layers.push_back(i);
    if (std::abs(loss) < kZero) continue;
    expert.sum += loss;
    ++expert.active;
  }
  return out;
}

void fill(std::span<const PoolLayer> pool, ScoreTable& table, const Experts& experts, size_t option) {
  double mean = 0.0;
  int64_t active = 0;
  for (const auto& [key, expert] : experts) {
    if (expert.active == 0) continue;
    mean += expert.sum / static_cast<double>(expert.active);
    ++active;
  }
  if (active == 0) return;
  mean /= static_cast<double>(active);
  for (const auto& [key, expert] : experts) {
    if (expert.active > 0) continue;
    for (const size_t layer : expert.layers)
      if (pool[layer].quants[option].quantized()) table.loss[layer][option] = mean;
  }
}

}  // namespace

void fill_inactive_experts(std::span<const PoolLayer> pool, ScoreTable& table) {
  std::vector<int64_t> blocks;
  for (const PoolLayer& layer : pool) blocks.push_back(layer.plan.block);
  std::sort(blocks.begin(), blocks.end());
  blocks.erase(std::unique(blocks.begin(), blocks.end()), blocks.end());
  for (const int64_t block : blocks)
    for (size_t option = 0; option < table.options.size(); ++option)
      if (block >= 0) fill(pool, table, experts_of_block(pool, table, block, option), option);
}

}  // namespace arkit::auto_scheme
