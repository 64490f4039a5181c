#include "inference/backend_probes.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include <arkit/exporter.h>
#include <arkit/scheme.h>
#include <arkit/str.h>

#include "quant/scheme_resolver.h"

namespace arkit {
namespace {

constexpr int64_t kFeatures = 4096;  // divided by all groups that are asked
constexpr int64_t kGroups[] = {-1, 16, 32, 64, 128, 256, 512, 1024, 2048};
constexpr int kMostBits = 8;
constexpr std::string_view kNoFormat = "a packing of no format";

// Weights without quantized activations in all their sizes, others as the presets have them.
std::vector<LayerQuant> all_quants(const Registry& registry) {
  std::vector<LayerQuant> quants;
  const auto add = [&](const LayerQuant& quant) {
    const LayerPlan plan{.name = "layer", .out_features = kFeatures, .in_features = kFeatures, .quant = quant};
    if (std::find(quants.begin(), quants.end(), quant) == quants.end() &&
        registry.scheme_for(quant.weight.data_type).supports(plan))
      quants.push_back(quant);
  };
  for (const Preset& preset : all_presets(registry)) {
    if (!preset.quant.weight.quantized()) continue;
    add(preset.quant);
    if (preset.quant.act.quantized() || preset.quant.weight.block_rows > 0) continue;
    for (int bits = 1; bits <= kMostBits; ++bits)
      for (const int64_t group : kGroups)
        for (const bool sym : {true, false}) {
          LayerQuant quant = preset.quant;
          quant.weight.bits = bits;
          quant.weight.group_size = group;
          quant.weight.sym = sym;
          add(quant);
        }
  }
  return quants;
}

std::vector<std::string> all_packings(const Registry& registry) {
  std::vector<std::string> packings{std::string(kNoFormat)};
  for (const std::string& name : registry.names(Kind::exporter)) {
    const Exporter& exporter = registry.exporter(name);
    packings.push_back(name);
    packings.emplace_back(exporter.info().quant_method);
    for (const std::string_view variant : exporter.variants()) packings.emplace_back(variant);
  }
  std::sort(packings.begin() + 1, packings.end());
  packings.erase(std::unique(packings.begin(), packings.end()), packings.end());
  std::erase(packings, "");
  return packings;
}

std::string activations_of(const LayerQuant& quant) {
  if (!quant.act.quantized()) return "16-bit";
  return str(describe(LayerQuant{.weight = quant.act, .act = {.data_type = "float"}, .rotation = {}}),
             quant.act.dynamic ? " dynamic" : " static");
}

class Probe {
 public:
  Probe(const InferenceBackend& backend, size_t device, const Registry& registry)
      : backend_(backend), device_(device), packings_(all_packings(registry)) {
    for (const LayerQuant& quant : all_quants(registry)) ask(quant);
  }

  std::vector<BackendRuns> runs() const {
    std::vector<BackendRuns> rows;
    for (const auto& [kind, answers] : kinds_) {
      std::map<std::set<int64_t>, std::vector<int>> by_groups;  // bits that run with the same groups
      for (const auto& [bits, groups] : answers) by_groups[groups].push_back(bits);
      for (const auto& [groups, bits] : by_groups) add(rows, row_of(kind, groups, bits));
    }
    return rows;
  }

 private:
  // All that one row has in common.
  using Kind = std::tuple<std::string, std::string, int64_t, int, bool, bool>;  // ..., score, own activations, sym

  BackendVerdict answer(const LinearSpec& layer) const {
    const LinearSpec* const one = &layer;
    return backend_.supports_on({&one, 1}, device_);
  }
  static LinearSpec layer_of(const LayerQuant& quant, const std::string& packing) {
    return {.name = "layer", .packing = packing, .out_features = kFeatures, .in_features = kFeatures, .quant = quant};
  }

  void ask(const LayerQuant& quant) {
    possible_[{quant.weight.data_type, quant.weight.bits, quant.weight.sym}].insert(quant.weight.group_size);
    for (const std::string& packing : packings_) {
      const BackendVerdict verdict = answer(layer_of(quant, packing));
      if (verdict.score == 0) continue;
      const Kind kind{quant.weight.data_type, activations_of(quant),   quant.weight.block_rows,
                      verdict.score,          verdict.own_activations, quant.weight.sym};
      kinds_[kind][quant.weight.bits].insert(quant.weight.group_size);
      examples_.try_emplace({kind, quant.weight.bits, quant.weight.group_size}, quant);
      return;
    }
  }

  BackendRuns row_of(const Kind& kind, const std::set<int64_t>& groups, const std::vector<int>& bits) const {
    BackendRuns row;
    bool sym = false;
    std::tie(row.data_type, row.activations, row.block_rows, row.score, row.own_activations, sym) = kind;
    (sym ? row.sym : row.asym) = true;
    row.bits.assign(bits.begin(), bits.end());
    row.group_sizes.assign(groups.begin(), groups.end());
    row.every_group_size = std::all_of(bits.begin(), bits.end(), [&](int one) {
      const std::set<int64_t>& possible = possible_.at({row.data_type, one, sym});
      return possible.size() > 1 && groups == possible;
    });
    const LayerQuant& example = examples_.at({kind, bits.front(), row.group_sizes.front()});
    find_packings(row, example);
    find_multiples(row, example);
    return row;
  }

  void find_packings(BackendRuns& row, const LayerQuant& quant) const {
    for (const std::string& packing : packings_)
      if (answer(layer_of(quant, packing)).score > 0) row.packings.push_back(packing);
    if (row.packings.size() == packings_.size()) row.packings.clear();
  }

  void find_multiples(BackendRuns& row, const LayerQuant& quant) const {
    LinearSpec layer = layer_of(quant, row.packings.empty() ? packings_.front() : row.packings.front());
    const auto least = [&](int64_t& size, int64_t step) -> int64_t {
      for (int64_t more = step; more <= 256 * step; more *= 2) {
        size = kFeatures + more;
        const bool runs = answer(layer).score > 0;
        size = kFeatures;
        if (runs) return more;
      }
      return 0;
    };
    row.out_multiple = least(layer.out_features, 1);
    row.in_multiple = least(layer.in_features, std::max<int64_t>(quant.weight.group_size, 1));
  }

  // Rows that differ in symmetry alone become one.
  static void add(std::vector<BackendRuns>& rows, BackendRuns row) {
    const auto same = [&](const BackendRuns& other) {
      return other.data_type == row.data_type && other.activations == row.activations && other.bits == row.bits &&
             other.group_sizes == row.group_sizes && other.block_rows == row.block_rows && other.score == row.score &&
             other.own_activations == row.own_activations && other.packings == row.packings &&
             other.out_multiple == row.out_multiple && other.in_multiple == row.in_multiple;
    };
    const auto found = std::find_if(rows.begin(), rows.end(), same);
    if (found == rows.end()) {
      rows.push_back(std::move(row));
      return;
    }
    found->sym = found->sym || row.sym;
    found->asym = found->asym || row.asym;
  }

  const InferenceBackend& backend_;
  size_t device_;
  std::vector<std::string> packings_;
  std::map<std::tuple<std::string, int, bool>, std::set<int64_t>> possible_;
  std::map<Kind, std::map<int, std::set<int64_t>>> kinds_;
  std::map<std::tuple<Kind, int, int64_t>, LayerQuant> examples_;
};

}  // namespace

std::vector<BackendRuns> probe_backend(const InferenceBackend& backend, size_t device, const Registry& registry) {
  return Probe(backend, device, registry).runs();
}

}  // namespace arkit
