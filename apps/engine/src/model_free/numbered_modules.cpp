#include "model_free/numbered_modules.h"

#include <arkit/sdk/layer_rules.h>
#include <arkit/sdk/text_config.h>

namespace arkit::model_free {

std::string_view parent_of(std::string_view name) {
  const size_t dot = name.rfind('.');
  return dot == std::string_view::npos ? std::string_view() : name.substr(0, dot);
}

Lists numbered(const std::vector<std::string>& names) {
  Lists lists;
  for (const std::string& whole : names) {
    const std::string_view name = whole;
    for (size_t dot = name.find('.'); dot != std::string_view::npos;) {
      const size_t next = name.find('.', dot + 1);
      if (next == std::string_view::npos) break;
      if (const auto index = name_number(name.substr(dot + 1, next - dot - 1)))
        lists[name.substr(0, dot)][*index].push_back(name.substr(next + 1));
      dot = next;
    }
  }
  for (auto& [prefix, elements] : lists)
    for (auto& [index, rests] : elements) std::sort(rests.begin(), rests.end());
  return lists;
}

bool is_block_list(std::string_view name) {
  static constexpr std::array<std::string_view, 5> kNames = {"layers", "h", "blocks", "block", "layer"};
  if (!is_one_of(last_component(name), kNames) || is_other_sense(name)) return false;
  if (name.starts_with("mtp") || name.find(".mtp.") != std::string_view::npos) return false;
  for (std::string_view rest = name; !rest.empty(); rest = parent_of(rest))
    if (name_number(last_component(rest))) return false;  // "model.layers.3.blocks"
  return true;
}

const Lists::value_type* main_list(const Lists& lists) {
  const Lists::value_type* longest = nullptr;
  for (const auto& list : lists)
    if (is_block_list(list.first) && (longest == nullptr || list.second.size() > longest->second.size()))
      longest = &list;
  return longest;
}

std::optional<int64_t> count_in(const json::Object& config, std::string_view key) {
  const json::Value* value = json::find(config_with(config, key), key);
  if (value == nullptr || !value->is_int64() || value->get_int64() < 1) return std::nullopt;
  return value->get_int64();
}

std::optional<int64_t> count_of_blocks(const json::Object& config) {
  for (const std::string_view key : {"num_hidden_layers", "n_layer", "num_layers", "n_layers"})
    if (const std::optional<int64_t> count = count_in(config, key)) return count;
  return std::nullopt;
}

}  // namespace arkit::model_free
