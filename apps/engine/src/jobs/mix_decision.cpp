#include "jobs/mix_decision.h"

#include <algorithm>
#include <utility>

#include <arkit/error.h>
#include <arkit/part_file.h>
#include <arkit/str.h>

#include "autoscheme/layer_file.h"
#include "autoscheme/mix_picture.h"
#include "jobs/run_record.h"

namespace arkit {
namespace {

using auto_scheme::MixPicture;

constexpr size_t kCurvePoints = 48;

// "model.layers.3.self_attn.q_proj" -> "self_attn.q_proj"; outside blocks the name itself.
std::string position(const LayerPlan& layer, const ModelLayout& layout) {
  if (layer.block < 0) return layer.name;
  const std::string block = layout.blocks.at(static_cast<size_t>(layer.block)).name + ".";
  return layer.name.starts_with(block) ? layer.name.substr(block.size()) : layer.name;
}

MixPicture::Map map_of(const MixSearch& search, const Mix& mix) {
  MixPicture::Map map;
  map.title = str("budget ", mix.budget.text(), ": scheme of every layer");
  const auto put = [&](const LayerPlan& layer, int option) {
    const std::string row = position(layer, search.layout());
    auto at = std::find(map.rows.begin(), map.rows.end(), row);
    if (at == map.rows.end()) {
      map.rows.push_back(row);
      map.cells.emplace_back();
      at = map.rows.end() - 1;
    }
    std::vector<int>& cells = map.cells[static_cast<size_t>(at - map.rows.begin())];
    const auto block = static_cast<size_t>(std::max<int64_t>(layer.block, 0));
    if (cells.size() <= block) cells.resize(block + 1, MixPicture::kAbsent);
    cells[block] = option;
  };
  const auto& pool = search.pool().layers;
  for (size_t i = 0; i < pool.size(); ++i)
    if (pool[i].plan.kind == LayerKind::embedding) put(pool[i].plan, static_cast<int>(mix.choice[i]));
  // In model order, so that rows come as in a block.
  for (const LayerPlan& layer : search.base_plan().layers) {
    const auto in_pool =
        std::find_if(pool.begin(), pool.end(), [&](const auto& entry) { return entry.plan.name == layer.name; });
    const auto& pinned = search.pool().pinned;
    if (in_pool != pool.end())
      put(layer, static_cast<int>(mix.choice[static_cast<size_t>(in_pool - pool.begin())]));
    else if (std::any_of(pinned.begin(), pinned.end(), [&](const LayerPlan& p) { return p.name == layer.name; }))
      put(layer, MixPicture::kPinned);
  }
  return map;
}

std::string picture_of(MixSearch& search, const std::vector<Mix>& mixes, const QuantizeOptions& options) {
  MixPicture picture;
  picture.title = str("AutoScheme: ", std::filesystem::path(options.model).filename().string());
  picture.loss_label = options.auto_scheme.score == "compat" ? "score (AutoRound's)" : "loss (KL, nats a token)";
  for (size_t o = 0; o < search.schemes().size(); ++o)
    picture.options.push_back({search.schemes()[o].name, search.range().by_option[o].second});
  for (const LossPoint& point : search.curve(kCurvePoints))
    picture.curve.push_back({point.average_bits, point.predicted_loss});
  for (const Mix& mix : mixes) {
    picture.chosen.push_back({mix.average_bits, mix.predicted_loss});
    if (mix.measured_kl) picture.measured.push_back({mix.average_bits, *mix.measured_kl});
    picture.maps.push_back(map_of(search, mix));
  }
  return draw(picture);
}

}  // namespace

void MixFiles::add(const std::filesystem::path& path, std::string_view content) {
  PartFile& file = files_.emplace_back(path);
  file.write_at(0, content.data(), static_cast<int64_t>(content.size()));
  file.sync();
}

void MixFiles::publish(Reporter& reporter) {
  for (PartFile& file : files_) {
    file.commit();  // its bytes were synced when it was added
    sync_folder(file.final_path().parent_path());
    reporter.info(str("wrote '", file.final_path().string(), "'"));
  }
  files_.clear();
}

MixFiles mix_files(MixSearch& search, const std::vector<Mix>& mixes, const QuantizeOptions& options) {
  const AutoSchemeOptions& wanted = options.auto_scheme;
  MixFiles files;
  search.source_state().require_unchanged();
  if (!wanted.svg.empty()) files.add(wanted.svg, picture_of(search, mixes, options));
  if (wanted.save_layer_config.empty()) return files;
  const std::string comment =
      str("arkit quantize MODEL --scheme ", search.schemes().front().name, " --layer_config ",
          wanted.save_layer_config.filename().string(), ": ", mixes.front().average_bits, " bits a weight");
  files.add(wanted.save_layer_config,
            auto_scheme::layer_config_text(search.plan_of(mixes.front()), search.registry(), comment));
  return files;
}

std::optional<MixDecision> decide_mix(const QuantizeOptions& options, const Registry& registry, Reporter& reporter) {
  const AutoSchemeOptions& wanted = options.auto_scheme;
  if (wanted.options.empty()) return std::nullopt;
  if (wanted.avg_bits.size() > 1) throw_usage("quantize takes one budget; 'arkit autoscheme' compares several");
  reporter.step("AutoScheme: reading the model");
  MixSearch search(options, registry, reporter);
  search.score();
  const std::vector<Mix> mixes{search.solve(search.budgets().front(), false)};
  const Mix& mix = mixes.front();
  MixDecision decision{.scheme = search.scheme_of(mix),
                       .choices = search.choices_of(mix),
                       .planning = search.planning_options(),
                       .report = search.describe(),
                       .files = options.dry_run ? MixFiles() : mix_files(search, mixes, options)};
  for (auto& [key, value] : search.describe(mix)) decision.report[key] = std::move(value);
  return decision;
}

}  // namespace arkit
