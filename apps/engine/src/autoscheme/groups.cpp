#include "autoscheme/groups.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>
#include <set>

#include <arkit/error.h>
#include <arkit/regex.h>
#include <arkit/str.h>

namespace arkit::auto_scheme {
namespace {

class UnionFind {
 public:
  explicit UnionFind(size_t count) : parent_(count) { std::iota(parent_.begin(), parent_.end(), size_t{0}); }
  size_t root(size_t i) {
    while (parent_[i] != i) i = parent_[i] = parent_[parent_[i]];
    return i;
  }
  // The smaller index stays the root, so that groups keep the order of their first members.
  void merge(size_t a, size_t b) {
    a = root(a), b = root(b);
    parent_[std::max(a, b)] = std::min(a, b);
  }

 private:
  std::vector<size_t> parent_;
};

const std::string& fused_key(const LayerPlan& layer) {
  return layer.experts.empty() ? layer.fused_group : layer.experts;
}

void merge_fused(const Pool& pool, UnionFind& sets) {
  std::map<std::string, size_t> first;
  for (size_t i = 0; i < pool.layers.size(); ++i) {
    const std::string& key = fused_key(pool.layers[i].plan);
    if (key.empty()) continue;
    const auto [known, is_new] = first.emplace(key, i);
    if (!is_new) sets.merge(known->second, i);
  }
}

// One entry of a group that is matched block by block.
struct Entry {
  std::string text;
  std::optional<size_t> exact;
  std::optional<Regex> regex;  // none: not a valid expression, only a part of names
  bool used = false;

  bool matches(const std::string& name) const {
    return (regex && regex->search(name)) || name.find(text) != std::string::npos;
  }
};

Entry make_entry(const std::string& text, const std::map<std::string, size_t, std::less<>>& index) {
  Entry entry{.text = text};
  if (const auto found = index.find(text); found != index.end()) entry.exact = found->second;
  try {
    entry.regex.emplace(text, "shared_layers");
  } catch (const Error&) {
    entry.regex.reset();
  }
  return entry;
}

void merge_by_block(const Pool& pool, std::vector<Entry>& entries, UnionFind& sets) {
  std::map<int64_t, std::vector<size_t>> blocks;
  for (size_t i = 0; i < pool.layers.size(); ++i)
    if (pool.layers[i].plan.block >= 0) blocks[pool.layers[i].plan.block].push_back(i);
  for (const auto& [block, members] : blocks) {
    std::vector<size_t> group;
    for (Entry& entry : entries) {
      if (entry.exact) {  // an exact name belongs to every block's group, and so joins them all
        group.push_back(*entry.exact);
        entry.used = true;
        continue;
      }
      for (const size_t i : members) {
        if (!entry.matches(pool.layers[i].plan.name)) continue;
        group.push_back(i);
        entry.used = true;
      }
    }
    for (size_t i = 1; i < group.size(); ++i) sets.merge(group.front(), group[i]);
  }
}

bool is_pinned(const Pool& pool, const Entry& entry) {
  return std::any_of(pool.pinned.begin(), pool.pinned.end(),
                     [&](const LayerPlan& layer) { return layer.name == entry.text || entry.matches(layer.name); });
}

void merge_asked(const Pool& pool, const GroupOptions& options, UnionFind& sets, Reporter& reporter) {
  std::map<std::string, size_t, std::less<>> index;
  for (size_t i = 0; i < pool.layers.size(); ++i) index.emplace(pool.layers[i].plan.name, i);
  for (const std::vector<std::string>& asked : options.shared_layers) {
    std::vector<Entry> entries;
    for (const std::string& text : asked) entries.push_back(make_entry(text, index));
    if (std::all_of(entries.begin(), entries.end(), [](const Entry& entry) { return entry.exact.has_value(); })) {
      for (size_t i = 1; i < entries.size(); ++i) sets.merge(*entries.front().exact, *entries[i].exact);
      continue;
    }
    merge_by_block(pool, entries, sets);
    for (const Entry& entry : entries) {
      if (entry.used || is_pinned(pool, entry)) continue;
      const std::string message = str("shared_layers: '", printable(entry.text), "' matches no layer of a block");
      if (!options.allow_unmatched) throw_usage(message + "; pass --allow_unmatched to go on");
      reporter.warn(message);
    }
  }
}

bool has_common_option(const Pool& pool, const std::vector<size_t>& group) {
  for (size_t o = 0; o < pool.offered.at(group.front()).size(); ++o)
    if (std::all_of(group.begin(), group.end(), [&](size_t i) { return pool.offered[i][o]; })) return true;
  return false;
}

}  // namespace

std::vector<std::vector<size_t>> share_layers(const Pool& pool, const GroupOptions& options, Reporter& reporter) {
  UnionFind sets(pool.layers.size());
  if (options.share_fused_layers) merge_fused(pool, sets);
  merge_asked(pool, options, sets, reporter);
  std::map<size_t, std::vector<size_t>> by_root;
  for (size_t i = 0; i < pool.layers.size(); ++i) by_root[sets.root(i)].push_back(i);
  std::vector<std::vector<size_t>> groups;
  for (auto& [root, members] : by_root) {
    if (has_common_option(pool, members)) {
      groups.push_back(std::move(members));
      continue;
    }
    reporter.warn(str(members.size(), " layers that belong together (first '", pool.layers[root].plan.name,
                      "') have no option that all of them may get; each gets its own"));
    for (const size_t i : members) groups.push_back({i});
  }
  return groups;
}

}  // namespace arkit::auto_scheme
