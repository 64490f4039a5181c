#include "oneshot/target_match.h"

#include <algorithm>
#include <iterator>
#include <tuple>
#include <utility>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::oneshot {
namespace {

constexpr std::string_view kExpression = "re:";
constexpr LayerKind kKinds[] = {LayerKind::linear, LayerKind::conv1d, LayerKind::expert, LayerKind::embedding};

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

bool Target::is_name() const {
  return !regex_ &&
         std::none_of(std::begin(kKinds), std::end(kKinds), [&](LayerKind kind) { return is_class(text_, kind); });
}

void TargetList::Entries::add(Target target, size_t scheme) {
  if (target.is_name())
    named[target.text()].push_back(all.size());
  else
    others.push_back(all.size());
  all.push_back({std::move(target), scheme});
}

std::vector<size_t> TargetList::Entries::candidates(std::string_view name) const {
  std::vector<size_t> places = others;
  if (const auto found = named.find(std::string(name)); found != named.end()) {
    places.insert(places.end(), found->second.begin(), found->second.end());
    std::sort(places.begin(), places.end());
  }
  return places;
}

TargetList::TargetList(const std::vector<std::vector<std::string>>& targets, const std::vector<std::string>& ignore,
                       const std::string& where) {
  for (size_t scheme = 0; scheme < targets.size(); ++scheme)
    for (const std::string& text : targets[scheme])
      targets_.add(Target(text, str(where, ": target '", printable(text), "'")), scheme);
  for (const std::string& text : ignore) ignore_.add(Target(text, str(where, ": ignore '", printable(text), "'")), 0);
}

bool TargetList::ignores(std::string_view name, LayerKind kind) {
  bool hit = false;
  for (const size_t place : ignore_.candidates(name)) {
    Entry& entry = ignore_.all[place];
    if (entry.target.hit(name, kind) == Target::Hit::none) continue;
    entry.used = hit = true;
  }
  return hit;
}

std::optional<size_t> TargetList::scheme_of(std::string_view name, LayerKind kind) {
  const Entry* best = nullptr;
  Target::Hit best_hit = Target::Hit::none;
  for (const size_t place : targets_.candidates(name)) {
    Entry& entry = targets_.all[place];
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
  for (const Entry& entry : targets_.all)
    if (!entry.used) names.push_back(entry.target.text());
  return names;
}

std::vector<std::string> TargetList::unmatched_ignores() const {
  std::vector<std::string> names;
  for (const Entry& entry : ignore_.all)
    if (!entry.used) names.push_back(entry.target.text());
  return names;
}

}  // namespace arkit::oneshot
