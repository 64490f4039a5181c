#include "oneshot/target_match.h"

#include <tuple>
#include <utility>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::oneshot {
namespace {

constexpr std::string_view kExpression = "re:";

bool is_class(std::string_view text, LayerKind kind) {
  if (text == "Module") return true;
  switch (kind) {
    case LayerKind::linear:
    case LayerKind::expert:
      return text == "Linear";
    case LayerKind::conv1d:
      return text == "Conv1D";
    case LayerKind::embedding:
      return text == "Embedding";
  }
  return false;
}

}  // namespace

Target::Target(std::string text, const std::string& where) : text_(std::move(text)) {
  if (!text_.starts_with(kExpression)) return;
  const std::string expression = text_.substr(kExpression.size());
  try {
    const Regex alone(expression, where);  // so that nothing in it closes the group it is put into
    regex_.emplace(str("\\A(?:", expression, ")"), where);
  } catch (const Error& error) {  // the file's fault, not the command line's
    throw_input(error.what());
  }
}

Target::Hit Target::hit(std::string_view name, LayerKind kind) const {
  if (regex_) return regex_->search(name) ? Hit::pattern : Hit::none;
  if (text_ == name) return Hit::name;
  return is_class(text_, kind) ? Hit::type : Hit::none;
}

TargetList::TargetList(const std::vector<std::vector<std::string>>& targets, const std::vector<std::string>& ignore,
                       const std::string& where) {
  for (size_t scheme = 0; scheme < targets.size(); ++scheme)
    for (const std::string& text : targets[scheme])
      targets_.push_back({Target(text, str(where, ": target '", printable(text), "'")), scheme});
  for (const std::string& text : ignore)
    ignore_.push_back({Target(text, str(where, ": ignore '", printable(text), "'"))});
}

bool TargetList::ignores(std::string_view name, LayerKind kind) {
  bool hit = false;
  for (Entry& entry : ignore_) {
    if (entry.target.hit(name, kind) == Target::Hit::none) continue;
    entry.used = hit = true;
  }
  return hit;
}

std::optional<size_t> TargetList::scheme_of(std::string_view name, LayerKind kind) {
  const Entry* best = nullptr;
  Target::Hit best_hit = Target::Hit::none;
  for (Entry& entry : targets_) {
    const Target::Hit hit = entry.target.hit(name, kind);
    if (hit == Target::Hit::none) continue;
    entry.used = true;
    const bool better =
        best == nullptr || std::tie(hit, entry.target.text()) <= std::tie(best_hit, best->target.text());
    if (!better) continue;
    best = &entry;
    best_hit = hit;
  }
  if (ignores(name, kind) || best == nullptr) return std::nullopt;
  return best->scheme;
}

std::vector<std::string> TargetList::unmatched() const {
  std::vector<std::string> names;
  for (const Entry& entry : targets_)
    if (!entry.used) names.push_back(entry.target.text());
  return names;
}

std::vector<std::string> TargetList::unmatched_ignores() const {
  std::vector<std::string> names;
  for (const Entry& entry : ignore_)
    if (!entry.used) names.push_back(entry.target.text());
  return names;
}

}  // namespace arkit::oneshot
