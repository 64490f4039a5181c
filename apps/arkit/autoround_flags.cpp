#include "autoround_flags.h"

#include <algorithm>
#include <optional>

#include <arkit/engine/task_eval.h>
#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::cli {
namespace {

using Flag = AutoRoundFlag;
using enum AutoRoundFlag::Kind;
constexpr auto kNone = Flag::Value::none;
constexpr auto kOne = Flag::Value::one;

constexpr std::string_view kDiffusion = "arkit quantizes language models, not diffusion models";
constexpr std::string_view kTextOnly = "arkit calibrates language models on text; other parts are copied as they are";
constexpr std::string_view kSvd = "SVDQuant is made for diffusion models, which arkit does not quantize";
constexpr std::string_view kDouble =
    "double quantization is fixed by the presets of GGUF; choose one, as --format gguf:q4_k_m does";
constexpr std::string_view kAwqSamples = "awq looks at the samples of the run, in batches of --batch_size";
constexpr std::string_view kAwqClip =
    "arkit's awq chooses scales and clips nothing; tuning (--algs awq,signround) does";

constexpr Flag kFlags[] = {
    {"low_gpu_mem_usage", kNone, always, "one decoder block is in memory at a time"},
    {"low_cpu_mem_usage", kNone, always, "weights are read from the files block by block"},
    {"disable_low_cpu_mem_usage", kNone, always, "weights are read from the files block by block all the same"},
    {"enable_torch_compile", kNone, always, "arkit's kernels are compiled; nothing is at run time"},
    {"disable_torch_compile", kNone, always, "nothing is compiled at run time"},
    {"disable_trust_remote_code", kNone, always, "code that comes with a model is never run"},
    {"mllm", kNone, always, "the kind of a model is read from its configuration"},
    {"model_dtype", kOne, always, "weights are rounded from bfloat16", "bf16 bfloat16 auto"},

    {"disable_amp", kNone, instead, "amp_dtype=float32"},

    {"rotation_type", kOne, rotation, "hadamard_type"},
    {"rotation_backend", kOne, rotation, "backend"},
    {"rotation_block_size", kOne, rotation, "block_size"},
    {"fuse_online_to_weight", kNone, rotation, "fuse_online_to_weight"},
    {"allow_online_rotation", kNone, rotation, "allow_online_rotation"},
    {"rotation_size", kOne, rotation, "rotation_size"},
    {"r1", kNone, rotation, "r1"},
    {"r2", kNone, rotation, "r2"},
    {"r3", kNone, rotation, "r3"},
    {"r4", kNone, rotation, "r4"},
    {"random_r1", kNone, rotation, "random_r1"},
    {"random_r2", kNone, rotation, "random_r2"},
    {"random_r3", kNone, rotation, "random_r3"},
    {"random_r4", kNone, rotation, "random_r4"},
    {"online_r1_rotation", kNone, rotation, "online_r1_rotation"},
    {"fuse_rmsnorm", kNone, rotation, "fuse_rmsnorm"},
    {"untie_embeddings", kNone, rotation, "untie_embeddings"},
    {"layerwise", kNone, rotation, "layerwise"},
    {"trainable_rotation", kNone, rotation, "trainable_rotation"},
    {"trainable_smooth", kNone, rotation, "trainable_smooth"},
    {"smooth_lr", kOne, rotation, "smooth_lr"},
    {"loss_type", kOne, rotation, "loss_type"},
    {"kl_top_k", kOne, rotation, "kl_top_k"},

    {"awq_n_grid", kOne, awq, "n_grid"},
    {"awq_duo_scaling", kOne, awq, "duo_scaling"},
    {"awq_seqlen", kOne, absent, kAwqSamples},
    {"awq_smooth_batch_size", kOne, absent, kAwqSamples},
    {"awq_apply_clip", kNone, absent, kAwqClip},
    {"awq_clip_as_init", kNone, absent, kAwqClip},

    {"eval", kNone, measure, "arkit eval lm"},

    {"enable_lfq", kNone, absent, "the last block is tuned on its own output, as every other"},
    {"super_bits", kOne, absent, kDouble},
    {"super_group_size", kOne, absent, kDouble},
    {"quant_nontext_module", kNone, absent, kTextOnly},
    {"extra_data_dir", kOne, absent, kTextOnly},
    {"template", kOne, absent, kTextOnly},
    {"prompt_file", kOne, absent, kDiffusion},
    {"prompt", kOne, absent, kDiffusion},
    {"metrics metric", kOne, absent, kDiffusion},
    {"image_save_dir", kOne, absent, kDiffusion},
    {"guidance_scale", kOne, absent, kDiffusion},
    {"calib_num_inference_steps", kOne, absent, kDiffusion},
    {"num_inference_steps", kOne, absent, kDiffusion},
    {"generator_seed", kOne, absent, kDiffusion},
    {"diffusion_tuning_cache_size", kOne, absent, kDiffusion},
    {"svdquant_rank", kOne, absent, kSvd},
    {"enable_svdquant_smooth", kNone, absent, kSvd},
    {"svdquant_smooth_num_grids", kOne, absent, kSvd},
    {"svdquant_smooth_max_calibration_calls", kOne, absent, kSvd},
    {"svdquant_residual_iters", kOne, absent, kSvd},
    {"enable_svdquant_residual_early_stop", kNone, absent, kSvd},
    {"svdquant_low_rank_dtype", kOne, absent, kSvd},
    {"svdquant_target_modules", kOne, absent, kSvd},
    {"svdquant_exclude_modules", kOne, absent, kSvd},
    {"svdquant_model_adapter", kOne, absent, kSvd},
};

const Flag* find_flag(std::string_view name) {
  for (const Flag& flag : kFlags)
    if (is_among(flag.names, name)) return &flag;
  return nullptr;
}

// Numbers and truth values as they are, anything else as a string.
std::string as_json(const std::string& value) {
  const bool number = !value.empty() && value.find_first_not_of("0123456789.-") == std::string::npos;
  if (number || value == "true" || value == "false") return value;
  std::string text = "\"";
  for (const char c : value) text += c == '"' || c == '\\' ? std::string("\\") + c : std::string(1, c);
  return text + "\"";
}

std::string as_object(const std::map<std::string, std::string>& fields) {
  std::string text;
  for (const auto& [field, value] : fields) text += str(text.empty() ? "{" : ", ", "\"", field, "\": ", value);
  return text + "}";
}

// AutoRound's rotations of whole models have fields of their own.
bool is_of_model(const std::map<std::string, std::string>& fields) {
  return std::any_of(fields.begin(), fields.end(), [](const auto& field) {
    return !is_among("hadamard_type backend block_size fuse_online_to_weight allow_online_rotation layerwise",
                     field.first);
  });
}

}  // namespace

std::span<const AutoRoundFlag> autoround_flags() {
  return kFlags;
}

std::vector<std::string> AutoRoundWords::take(const Command& command, const std::vector<std::string>& arguments) {
  std::vector<std::string> rest;
  const bool quantizes = command.name == "quantize";
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& word = arguments[i];
    if (word == "--") {
      rest.insert(rest.end(), arguments.begin() + static_cast<std::ptrdiff_t>(i), arguments.end());
      break;
    }
    const size_t equals = word.find('=');
    std::string name = word.starts_with("--") ? word.substr(2, equals == std::string::npos ? equals : equals - 2) : "";
    std::optional<std::string> value;
    if (equals != std::string::npos) value = word.substr(equals + 1);
    if (name == "group_size" && quantizes)  // its blocks are a scheme here
      if (const std::string& size = value || i + 1 == arguments.size() ? value.value_or("") : arguments[i + 1];
          size.find(',') != std::string::npos)
        throw_unsupported(str("--group_size ", printable(size),
                              ": scales of blocks belong to a scheme; give --scheme FP8_BLOCK and leave it out"));
    const bool next = i + 1 < arguments.size() && !arguments[i + 1].starts_with("--");
    if ((name == "tasks" || name == "task") && !value && !next) {
      rest.push_back(str("--tasks=", kUsualTasks));
      continue;
    }
    const bool known = name.empty() || find_option(command, name) != nullptr;
    const bool off = !known && name.starts_with("no_") && !value;
    if (off) name.erase(0, 3);
    const Option* const own = off ? find_option(command, name) : nullptr;
    if (own != nullptr && own->type == Type::flag) {
      rest.push_back(str("--", own->name, "=false"));
      continue;
    }
    const Flag* flag = known ? nullptr : find_flag(name);
    // Its flags of quantization mean nothing where nothing is quantized, but for those that never do anything.
    if (flag != nullptr && !quantizes && flag->kind != always && flag->kind != absent) flag = nullptr;
    if (flag == nullptr || (off && flag->value != kNone)) {
      rest.push_back(word);
      continue;
    }
    if (flag->value == kNone) {
      if (!value) value = off ? "false" : "true";
      if (*value != "true" && *value != "false")
        throw_usage(str("--", name, ": '", printable(*value), "' is not true or false"));
    } else if (!value && next) {
      value = arguments[++i];
    }
    if (!value && flag->value == kOne)
      throw_usage(str("--", name, " needs a value ('arkit ", command.name, " --help' shows all options)"));
    take_flag(*flag, name, value.value_or(""), rest);
  }
  return rest;
}

void AutoRoundWords::take_flag(const AutoRoundFlag& flag, const std::string& name, const std::string& value,
                               std::vector<std::string>& rest) {
  const bool off = flag.value == kNone && value == "false";
  switch (flag.kind) {
    case always:
      if (!flag.only.empty() && !is_among(flag.only, lower(value)))
        throw_unsupported(str("--", name, " ", printable(value), ": ", flag.says, ", always; leave it out"));
      notes_.push_back(str("--", name, off ? "=false" : "", ": ", flag.says, ", always"));
      return;
    case instead:
      if (!off) rest.push_back(str("--", flag.says));
      return;
    case rotation:
      rotation_[std::string(flag.says)] = as_json(value);
      return;
    case awq:
      awq_[std::string(flag.says)] = as_json(value);
      return;
    case measure:
      return;
    case absent:
      if (!off) throw_unsupported(str("--", name, ": ", flag.says, "; leave it out"));
      return;
  }
}

void AutoRoundWords::settle(Values& values) const {
  if (!rotation_.empty()) {
    if (values.contains("rotation"))
      throw_usage(
          "--rotation says all of a rotation; leave the options of single fields (--rotation_type, --r1 ...) out");
    std::map<std::string, std::string> fields = rotation_;
    if (is_of_model(fields)) fields["algorithm"] = "\"quarot\"";
    values["rotation"] = {as_object(fields)};
  }
  if (awq_.empty()) return;
  const auto algs = values.find("algs");
  const std::string text = algs == values.end() ? std::string() : algs->second.front();
  const std::string low = lower(text);
  size_t at = low.find("awq");
  if (at == std::string::npos) throw_usage("--awq_n_grid and --awq_duo_scaling are settings of awq; add --algs awq");
  at += 3;
  if (at < text.size() && text[at] == '{')
    throw_usage("--algs has settings of awq already; leave --awq_n_grid and --awq_duo_scaling out");
  algs->second.front() = text.substr(0, at) + as_object(awq_) + text.substr(at);
}

}  // namespace arkit::cli
