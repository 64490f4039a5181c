#pragma once
// Losses of layers that will be tuned (--score tuned, ADR 0020): which options are worth tuning for it, and what the
// measured ratios of tuned to rounded errors make of the losses. No LibTorch here.

#include <compare>
#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include <arkit/export.h>

#include "autoscheme/score_table.h"

namespace arkit::auto_scheme {

struct GroupOption {
  size_t group = 0, option = 0;
  auto operator<=>(const GroupOption&) const = default;
};

struct LayerOption {
  size_t layer = 0, option = 0;  // layer: index in the pool
  auto operator<=>(const LayerOption&) const = default;
};

// Error of the tuned layer over the error of the rounded one; nothing for a layer that saw too few tokens.
using TunedRatios = std::map<LayerOption, std::optional<double>>;

// A choice is close where the exchange ratio (loss over bits) between the chosen option and another one is within this
// factor of the program's price of a bit: errors of predicted losses have a standard deviation of 0.4 in the logarithm
// (ADR 0018), so one more standard deviation would turn the choice around.
inline constexpr double kCloseFactor = 1.5;

// Of every group with a close rival: the chosen option and its close rivals. `price` as of marginal_price for the bits
// that the choices take; nothing is close at price 0.
[[nodiscard]] ARKIT_INTERNAL std::set<GroupOption> close_options(std::span<const ChoiceGroup> groups,
                                                                 const ScoreTable& table, double price);

// The layers to tune for an option of a group: those in blocks whose weight the option quantizes, eight of them evenly
// spaced where there are more (experts). The head is left out: its outputs are as wide as the vocabulary.
[[nodiscard]] ARKIT_INTERNAL std::vector<LayerOption> tuned_members(const ChoiceGroup& group, size_t option,
                                                                    std::span<const PoolLayer> pool);

// Adds, evenly spaced over the model, groups for options of which fewer than five groups are wanted, so that every
// option has a typical ratio.
ARKIT_INTERNAL void add_typical(std::set<GroupOption>& wanted, std::span<const ChoiceGroup> groups,
                                std::span<const PoolLayer> pool);

struct TunedScores {
  ScoreTable table;             // losses after tuning
  std::vector<double> typical;  // by option: the median ratio of the wanted groups
};

// Multiplies losses with ratios: of a wanted group with its own (its members' mean, weighted with their losses), of all
// others with the option's typical one, since they will be tuned too, but for tables of embeddings, which never are. An
// option without any ratio keeps its losses.
[[nodiscard]] ARKIT_INTERNAL TunedScores apply_ratios(const ScoreTable& rounded, std::span<const ChoiceGroup> groups,
                                                      std::span<const PoolLayer> pool,
                                                      const std::set<GroupOption>& wanted, const TunedRatios& ratios);

}  // namespace arkit::auto_scheme
