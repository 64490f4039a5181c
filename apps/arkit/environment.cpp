#include "environment.h"

#include <cstdlib>

#include <arkit/error.h>
#include <arkit/str.h>

#include "command_line.h"

namespace arkit::cli {
namespace {

using enum Variable::Kind;

constexpr std::string_view kLevel = "AR_LOG_LEVEL", kThreads = "AR_OMP_NUM_THREADS", kWorkSpace = "AR_WORK_SPACE";
constexpr std::string_view kRotation = "give --rotation '{\"fuse_online_to_weight\": true}'";
constexpr std::string_view kFixed = "arkit has no such setting";

constexpr Variable kVariables[] = {
    {kLevel, other, "TRACE and DEBUG are --verbose; WARNING, ERROR and CRITICAL are --quiet; INFO is neither"},
    {kThreads, other, "threads that compute, as OMP_NUM_THREADS, which wins"},
    {"AR_DEBUG_LAYER_NUM", option, "num_hidden_layers"},
    {"AR_AUTO_SCHEME_NSAMPLES", mix, "score_nsamples"},
    {"AR_AUTO_SCHEME_SEQLEN", mix, "score_seqlen"},
    {"AR_AUTO_SCHEME_BATCH_SIZE", mix, "score_batch_size"},
    {"AR_AUTO_SCHEME_CACHE", mix, "score_cache"},
    {kWorkSpace, mix, "score_cache"},
    {"AR_RESUME_DIR", ignored, "a run that was stopped is begun again"},
    {"AR_ACT_SCALE", ignored, kFixed, "1.0 1"},
    {"AR_ENABLE_ACT_MINMAX_TUNING", ignored, kFixed, "0"},
    {"AR_ENABLE_UNIFY_MOE_INPUT_SCALE", ignored, kFixed, "0"},
    {"AR_NVFP4_FUSED_LAYER_GLOBAL_SCALE", ignored, kFixed, "1"},
    {"AR_SEARCH_SCALE_RATIO", ignored, kFixed},
    {"AR_NEUQI_COARSE", ignored, kFixed},
    {"AR_NEUQI_FINE", ignored, kFixed},
    {"AR_FUSE_ONLINE_ROTATION", ignored, kRotation, "0"},
    {"AR_DISABLE_COPY_MTP_WEIGHTS", ignored, "every tensor of the source is copied", "0"},
};

std::string value_of(std::string_view name) {
  const char* value = std::getenv(std::string(name).c_str());
  return value == nullptr ? std::string() : std::string(value);
}

void apply_level(Values& values) {
  const std::string level = value_of(kLevel);
  if (level.empty() || values.contains("quiet") || values.contains("verbose")) return;
  const std::string low = lower(level);
  if (low == "trace" || low == "debug")
    values["verbose"] = {"true"};
  else if (low == "warning" || low == "warn" || low == "error" || low == "critical")
    values["quiet"] = {"true"};
  else if (low != "info")
    throw_usage(str(kLevel, ": '", printable(level),
                    "' is not one of TRACE, DEBUG, INFO, WARNING, ERROR and CRITICAL; unset it, or set one of them"));
}

bool asks_for_nothing(const Variable& variable, const std::string& value) {
  return value.empty() || is_among(variable.usual, value);
}

}  // namespace

std::span<const Variable> variables() {
  return kVariables;
}

void apply_variables(const Command& command, Values& values, std::vector<std::string>& notes) {
  apply_level(values);
  const bool mixes = command.name == "autoscheme" || values.contains("options");
  if (find_option(command, "num_hidden_layers") == nullptr) return;  // neither quantize nor autoscheme
  for (const Variable& variable : kVariables) {
    std::string value = value_of(variable.name);
    if (variable.kind == ignored && !asks_for_nothing(variable, value))
      notes.push_back(str(variable.name, " has no effect: ", variable.says));
    const bool is_option = variable.kind == option || (variable.kind == mix && mixes);
    if (!is_option || value.empty() || values.contains(variable.says)) continue;
    if (variable.says == "score_cache" && values.contains("no_score_cache")) continue;
    if (variable.name == kWorkSpace) value += "/autoscheme";
    check_value(*find_option(command, variable.says), value, std::string(variable.name));
    values[std::string(variable.says)] = {value};
    notes.push_back(str(variable.name, ": --", variable.says, " ", printable(value)));
  }
}

void apply_thread_count() {
  const std::string count = value_of(kThreads);
  if (count.empty() || std::getenv("OMP_NUM_THREADS") != nullptr) return;
  if (count.find_first_not_of("0123456789") != std::string::npos || count.size() > 4 || std::stoi(count) < 1)
    throw_usage(str(kThreads, ": '", printable(count), "' is not a number of threads; unset it, or give 1 or more"));
  ::setenv("OMP_NUM_THREADS", count.c_str(), 1);
}

}  // namespace arkit::cli
