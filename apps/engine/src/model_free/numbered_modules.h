#pragma once
// Modules that are numbered in the names of tensors: blocks of a model, experts of a block.

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/json.h>

namespace arkit::model_free {

using Names = std::vector<std::string_view>;

// "model.layers" -> 0 -> what follows the number in the names of its tensors, sorted.
using Elements = std::map<int64_t, Names>;
using Lists = std::map<std::string_view, Elements>;

// A name is in a list for each of its numbers: a block in the list of blocks, an expert in that of the block's experts.
// `names` outlives what is returned.
[[nodiscard]] Lists numbered(const std::vector<std::string>& names);

// Is this the name of a list of blocks that read text: "model.layers", "transformer.h"? Lists inside of a block, towers
// and blocks for multi-token prediction are none.
[[nodiscard]] bool is_block_list(std::string_view name);

// The blocks of the language model: of the lists that are called so the longest; null where there is none.
[[nodiscard]] const Lists::value_type* main_list(const Lists& lists);

// What config.json, or the part of it for text, says under `key`, where that is a number from 1 on.
[[nodiscard]] std::optional<int64_t> count_in(const json::Object& config, std::string_view key);

// How many blocks config.json counts.
[[nodiscard]] std::optional<int64_t> count_of_blocks(const json::Object& config);

// "model.layers.0" of "model.layers.0.mlp"; empty for a name without a dot.
[[nodiscard]] std::string_view parent_of(std::string_view name);

template <size_t N>
[[nodiscard]] bool is_one_of(std::string_view name, const std::array<std::string_view, N>& names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace arkit::model_free
