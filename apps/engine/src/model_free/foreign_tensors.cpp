#include "model_free/foreign_tensors.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <unordered_map>

#include <arkit/error.h>
#include <arkit/json.h>
#include <arkit/sdk/layer_rules.h>
#include <arkit/sdk/text_config.h>
#include <arkit/str.h>

namespace arkit::model_free {
namespace {

// ---- adapters and wrappers ----

constexpr std::array<std::string_view, 4> kWrapperParts = {"_orig_mod", "_fsdp_wrapped_module",
                                                           "_checkpoint_wrapped_module", "_forward_module"};
constexpr std::array<std::string_view, 2> kWrapperStarts = {"base_model.model.", "module."};

// Does config.json say that adapters are part of the architecture ("vision_lora": {...} of Phi-4-multimodal)?
bool has_adapters_of_its_own(const json::Object& config) {
  return std::any_of(config.begin(), config.end(), [](const auto& member) {
    return member.value().is_object() && lower(member.key()).find("lora") != std::string::npos;
  });
}

[[noreturn]] void refuse(const ModelSource& source, std::string_view what) {
  throw_input(str("'", source.path().string(), "': ", what));
}

// ---- two names ----

// Components that wrap the language model in some classes and not in others.
constexpr std::array<std::string_view, 6> kWrapping = {"model", "language_model", "text_model", "base_model",
                                                       "llm",   "transformer"};

// "layers.0.mlp" of "language_model.model.layers.0.mlp".
std::string_view without_wrapping(std::string_view name) {
  for (size_t dot = name.find('.'); dot != name.npos && is_one_of(name.substr(0, dot), kWrapping); dot = name.find('.'))
    name.remove_prefix(dot + 1);
  return name;
}

bool have_one_shape(const ModelSource& source, const std::string& a, const std::string& b) {
  const TensorInfo* first = source.weights().find(a);
  const TensorInfo* second = source.weights().find(b);
  // A packed layer has no tensor of its own name.
  return first == nullptr || second == nullptr || first->shape == second->shape;
}

[[noreturn]] void refuse_twice(const ModelSource& source, std::string_view a, std::string_view b) {
  refuse(source, str("two sets of weights: tensors '", printable(a), "' and '", printable(b),
                     "' are stored for one place of the model, and which is meant nobody can know; save the model with "
                     "the one set that its class reads ('arkit inspect' lists the tensors)"));
}

// Is everything in `list` also in `longer`, under the name "PREFIX.list"?
bool is_stored_again(const ModelSource& source, const Lists::value_type& list, const Lists::value_type& longer) {
  const size_t size = list.first.size();
  const bool below = longer.first.size() > size && longer.first.ends_with(list.first) &&
                     longer.first[longer.first.size() - size - 1] == '.';
  if (!below || list.second.size() != longer.second.size()) return false;
  return std::all_of(list.second.begin(), list.second.end(), [&](const auto& element) {
    const auto other = longer.second.find(element.first);
    if (other == longer.second.end() || other->second != element.second) return false;
    return std::all_of(element.second.begin(), element.second.end(), [&](std::string_view rest) {
      return have_one_shape(source, str(list.first, ".", element.first, ".", rest),
                            str(longer.first, ".", element.first, ".", rest));
    });
  });
}

// ---- blocks behind the last ----

// Blocks for multi-token prediction that config.json counts: "num_nextn_predict_layers", "mtp_num_hidden_layers" ...
int64_t counted_predictors(const json::Object& config) {
  int64_t most = 0;
  for (const json::Object* part : text_configs(config))
    for (const auto& member : *part) {
      const std::string key = lower(member.key());
      const bool counts = key.find("nextn") != key.npos || key.find("mtp") != key.npos;
      if (counts && member.value().is_int64()) most = std::max(most, member.value().get_int64());
    }
  return most;
}

// One count for two lists: which of them it means is not known here.
bool is_encoder_decoder(const json::Object& config) {
  const json::Value* flag = json::find(config, "is_encoder_decoder");
  return flag != nullptr && flag->is_bool() && flag->get_bool();
}

}  // namespace

void refuse_adapters(const ModelSource& source) {
  const bool own = has_adapters_of_its_own(source.config());
  for (const TensorInfo& tensor : source.weights().tensors()) {
    const std::string_view name = tensor.name;
    if (const std::string_view part = adapter_part(name); !own && !part.empty())
      refuse(source,
             str("tensor '", printable(name), "' belongs to an adapter ('", part,
                 "') that is not merged into the layers it changes; merge it and save the model (in Python, with peft: "
                 "merge_and_unload(), then save_pretrained), or quantize the model without the adapter"));
    std::string_view wrapper = component_of(name, kWrapperParts);
    for (const std::string_view start : kWrapperStarts)
      if (name.starts_with(start)) wrapper = start;
    if (!wrapper.empty())
      refuse(source, str("tensor '", printable(name), "' was saved from inside a wrapper ('", wrapper,
                         "'), and no model has a part of this name; save the model that is in the wrapper (PEFT: "
                         "merge_and_unload(), torch.compile: _orig_mod, data parallel: module)"));
  }
}

void refuse_second_names(const ModelSource& source, const std::vector<std::string>& names, const Lists& lists) {
  std::unordered_map<std::string_view, const std::string*> seen;
  for (const std::string& name : names) {
    const auto [first, is_new] = seen.emplace(without_wrapping(name), &name);
    if (!is_new && *first->second != name && have_one_shape(source, *first->second, name))
      refuse_twice(source, *first->second, name);
  }
  for (const auto& list : lists) {
    if (!is_block_list(list.first)) continue;
    for (const auto& longer : lists)
      if (is_block_list(longer.first) && is_stored_again(source, list, longer))
        refuse_twice(source, list.first, longer.first);
  }
}

void refuse_blocks_behind(const ModelSource& source, const Lists::value_type& blocks, int64_t count) {
  const auto first = blocks.second.lower_bound(count);
  if (first == blocks.second.end() || is_encoder_decoder(source.config())) return;
  const auto behind = static_cast<int64_t>(std::distance(first, blocks.second.end()));
  if (behind <= counted_predictors(source.config())) return;
  const auto stray = std::find_if(first, blocks.second.end(), [](const auto& element) {
    return std::all_of(element.second.begin(), element.second.end(),
                       [](std::string_view rest) { return prediction_part(rest).empty(); });
  });
  if (stray == blocks.second.end()) return;
  const int64_t last = blocks.second.rbegin()->first;
  const std::string which = last == stray->first ? str("'", printable(blocks.first), ".", last, "' lies")
                                                 : str("'", printable(blocks.first), ".", stray->first, "' to '",
                                                       printable(blocks.first), ".", last, "' lie");
  refuse(source,
         str(which, " behind the last of the ", count,
             " blocks that config.json counts (num_hidden_layers), where loaders read nothing; set the count to ",
             last + 1,
             " if the model has them, remove them, or quantize without them: 'arkit quantize "
             "--num_hidden_layers ",
             count, "'"));
}

}  // namespace arkit::model_free
