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

bool mentions(const RuntimeRules& rules, const std::string& format) {
  return std::any_of(rules.loads.begin(), rules.loads.end(), [&](const RuntimeRules::Entry& entry) {
    return std::find(entry.formats.begin(), entry.formats.end(), format) != entry.formats.end();
  });
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
    const auto known = [&](const RuntimeRules& rules) { return mentions(rules, format.name); };
    const auto loads = [&](const RuntimeRules& rules) { return format_violations(plan, format.name, rules).empty(); };
    if (std::any_of(all.begin(), all.end(), known) && std::none_of(all.begin(), all.end(), loads))
      reporter.warn(str("format '", format.name, "': none of the engines that arkit has rules for loads all layers of ",
                        "this plan; '--runtime NAME' says why, 'arkit list runtimes' shows what each loads"));
  }
}

}  // namespace arkit
