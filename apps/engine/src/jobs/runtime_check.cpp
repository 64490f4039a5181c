#include "jobs/runtime_check.h"

#include <algorithm>
#include <span>
#include <utility>

#include <arkit/error.h>
#include <arkit/str.h>

#include "quant/runtime_rules.h"

namespace arkit {
namespace {

void check_wanted(const RuntimeRules& rules, const QuantPlan& plan, const std::vector<FormatChoice>& formats) {
  std::vector<std::string> reasons = fused_violations(plan, std::span(&rules, 1));
  for (const FormatChoice& format : formats)
    for (std::string& reason : format_violations(plan, format.name, rules)) reasons.push_back(std::move(reason));
  if (reasons.empty()) return;
  std::string text = reasons.front();
  for (size_t i = 1; i < reasons.size(); ++i) text += "\n" + reasons[i];
  throw_unsupported(str("runtime '", rules.name, "': ", text));
}

// Layouts have a place for zero points of 8 bits, and few kernels know them: who reads such layers is told.
std::string eight_bits_with_zero_points(const QuantPlan& plan, const std::string& format) {
  QuantPlan those;
  those.model_type = plan.model_type;
  for (const LayerPlan& layer : plan.layers)
    if (const TensorQuant& weight = layer.quant.weight;
        layer.quantized() && weight.data_type == "int" && weight.bits == 8 && !weight.sym)
      those.layers.push_back(layer);
  if (those.layers.empty()) return {};
  std::vector<std::string> readers, others;
  for (const RuntimeRules& rules : installed_runtimes())
    if (mentions(rules, format))
      (format_violations(those, format, rules).empty() ? readers : others).push_back(rules.title);
  if (others.empty()) return {};
  const size_t count = those.layers.size();
  return str("format '", format, "': ", count, count == 1 ? " layer has" : " layers have",
             " 8-bit asymmetric weights (first '", those.layers.front().name, "'), which ", listed(others),
             others.size() == 1 ? " does" : " do", " not read from it; ",
             readers.empty() ? std::string("no engine that arkit has rules for does")
                             : str(listed(readers), readers.size() == 1 ? " does" : " do"),
             " ('--runtime NAME' makes it an error)");
}

}  // namespace

void check_runtimes(const std::string& wanted, const QuantPlan& plan, const std::vector<FormatChoice>& formats,
                    Reporter& reporter) {
  if (!wanted.empty()) {
    check_wanted(find_runtime(wanted), plan, formats);
    return;
  }
  const std::vector<RuntimeRules>& all = installed_runtimes();
  for (const FormatChoice& format : formats) {
    if (const std::string warning = eight_bits_with_zero_points(plan, format.name); !warning.empty())
      reporter.warn(warning);
    const auto known = [&](const RuntimeRules& rules) { return mentions(rules, format.name); };
    const auto loads = [&](const RuntimeRules& rules) { return format_violations(plan, format.name, rules).empty(); };
    if (std::any_of(all.begin(), all.end(), known) && std::none_of(all.begin(), all.end(), loads))
      reporter.warn(str("format '", format.name, "': none of the engines that arkit has rules for loads all layers of ",
                        "this plan; '--runtime NAME' says why, 'arkit list runtimes' shows what each loads"));
  }
}

}  // namespace arkit
