#include "grammar/automaton.h"

#include <algorithm>
#include <bitset>
#include <map>
#include <unordered_map>
#include <utility>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::grammar {
namespace {

constexpr size_t kMostStates = size_t{1} << 16;
// Nodes in all sets of nodes that states stand for.
constexpr size_t kMostEffort = size_t{1} << 24;

template <typename T>
void sort_unique(std::vector<T>& values) {
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
}

// From which nodes the end of their rule is reached, through nothing or also through bytes, in linear time: a call is
// passed when the rule it calls can be, which is found out on the way.
class Reach {
 public:
  Reach(const Draft& draft, bool through_bytes) : draft_(draft), good_(draft.nodes().size()), into_(good_.size()) {
    std::vector<std::vector<std::pair<Node, Node>>> callers(draft.rules().size());
    std::unordered_map<Node, std::vector<RuleId>> starts;
    const auto& nodes = draft.nodes();
    for (size_t from = 0; from < nodes.size(); ++from) {
      const auto here = static_cast<Node>(from);
      for (const Node to : nodes[from].skips) into_[static_cast<size_t>(to)].push_back({here, -1});
      if (through_bytes)
        for (const auto& edge : nodes[from].bytes) into_[static_cast<size_t>(edge.to)].push_back({here, -1});
      for (const auto& call : nodes[from].calls) {
        into_[static_cast<size_t>(call.to)].push_back({here, call.rule});
        callers[static_cast<size_t>(call.rule)].push_back({here, call.to});
      }
    }
    for (const auto& rule : draft.rules()) {
      starts[rule.start].push_back(static_cast<RuleId>(&rule - draft.rules().data()));
      mark(rule.end);
    }
    while (!work_.empty()) {
      const Node node = work_.back();
      work_.pop_back();
      for (const auto& [from, rule] : into_[static_cast<size_t>(node)])
        if (rule < 0 || passed(rule)) mark(from);
      const auto started = starts.find(node);
      if (started == starts.end()) continue;
      for (const RuleId rule : started->second)
        for (const auto& [from, to] : callers[static_cast<size_t>(rule)])
          if (good(to)) mark(from);
    }
  }
  [[nodiscard]] bool good(Node node) const { return good_[static_cast<size_t>(node)]; }
  [[nodiscard]] bool passed(RuleId rule) const { return good(draft_.start(rule)); }

 private:
  void mark(Node node) {
    if (good(node)) return;
    good_[static_cast<size_t>(node)] = true;
    work_.push_back(node);
  }

  const Draft& draft_;
  std::vector<bool> good_;
  std::vector<std::vector<std::pair<Node, RuleId>>> into_;
  std::vector<Node> work_;
};

}  // namespace

class AutomatonBuilder {
 public:
  AutomatonBuilder(const Draft& draft, Automaton& made)
      : draft_(draft), made_(made), empty_(draft, false), ended_(draft, true) {}

  void build(RuleId start) {
    if (!ended_.passed(start))
      throw_input(str(draft_.what(), ": no text fits it: a part that is required can never be completed"));
    made_.start_ = start;
    made_.may_be_empty_ = empty_.passed(start);
    made_.rules_.resize(draft_.rules().size());
    wanted_.push_back(start);
    seen_.resize(draft_.rules().size());
    seen_[static_cast<size_t>(start)] = true;
    for (size_t i = 0; i < wanted_.size(); ++i) determinize(wanted_[i]);
    rank_rules();
    class_bytes();
  }

 private:
  using NodeSet = std::vector<Node>;

  // With all that is reached for nothing; an empty rule is called for nothing.
  [[nodiscard]] NodeSet closed(NodeSet set) {
    std::unordered_map<Node, bool> there;
    for (const Node node : set) there[node] = true;
    const auto add = [&](Node node) {
      if (ended_.good(node) && there.emplace(node, true).second) set.push_back(node);
    };
    for (size_t i = 0; i < set.size(); ++i) {
      const auto& edges = draft_.nodes()[static_cast<size_t>(set[i])];
      for (const Node to : edges.skips) add(to);
      for (const auto& call : edges.calls)
        if (empty_.passed(call.rule)) add(call.to);
    }
    std::sort(set.begin(), set.end());
    return set;
  }

  int32_t state_of(NodeSet set) {
    set = closed(std::move(set));
    effort_ += set.size() + 1;
    const auto found = states_.find(set);
    if (found != states_.end()) return found->second;
    if (made_.states_.size() >= kMostStates || effort_ > kMostEffort)
      throw_unsupported(str(draft_.what(), ": ", printable(name(rule_)), ": becomes larger than ", kMostStates,
                            " states; write it with fewer choices between parts that look alike, or lower its counts"));
    const auto id = static_cast<int32_t>(made_.states_.size());
    made_.states_.emplace_back();
    made_.states_.back().ends = std::binary_search(set.begin(), set.end(), draft_.end(rule_));
    work_.emplace_back(id, set);
    states_.emplace(std::move(set), id);
    return id;
  }

  void determinize(RuleId rule) {
    rule_ = rule;
    states_.clear();
    made_.rules_[static_cast<size_t>(rule)].start = state_of({draft_.start(rule)});
    while (!work_.empty()) {
      const auto [id, set] = std::move(work_.back());
      work_.pop_back();
      std::vector<Automaton::Edge> edges = byte_edges(set);
      std::vector<Automaton::Call> calls = rule_calls(set);
      made_.states_[static_cast<size_t>(id)].edges = std::move(edges);
      made_.states_[static_cast<size_t>(id)].calls = std::move(calls);
    }
  }

  std::vector<Automaton::Edge> byte_edges(const NodeSet& set) {
    std::vector<Draft::ByteEdge> all;
    std::bitset<257> cuts;  // where another set of edges may begin
    for (const Node node : set)
      for (const auto& edge : draft_.nodes()[static_cast<size_t>(node)].bytes) {
        if (!ended_.good(edge.to)) continue;
        all.push_back(edge);
        cuts.set(edge.bytes.first);
        cuts.set(static_cast<size_t>(edge.bytes.last) + 1);
      }
    std::vector<Automaton::Edge> edges;
    for (size_t first = 0; first < 256; ++first) {
      if (!cuts.test(first)) continue;
      size_t last = first;
      while (last < 255 && !cuts.test(last + 1)) ++last;
      NodeSet to;
      for (const auto& edge : all)
        if (edge.bytes.first <= first && last <= edge.bytes.last) to.push_back(edge.to);
      if (to.empty()) continue;
      effort_ += all.size();
      sort_unique(to);
      const int32_t target = state_of(std::move(to));
      const ByteSpan span{static_cast<uint8_t>(first), static_cast<uint8_t>(last)};
      if (!edges.empty() && edges.back().to == target && edges.back().bytes.last + 1 == span.first)
        edges.back().bytes.last = span.last;
      else
        edges.push_back({span, target});
    }
    return edges;
  }

  std::vector<Automaton::Call> rule_calls(const NodeSet& set) {
    std::map<RuleId, NodeSet> returns;
    for (const Node node : set)
      for (const auto& call : draft_.nodes()[static_cast<size_t>(node)].calls)
        if (ended_.good(call.to) && ended_.passed(call.rule)) returns[call.rule].push_back(call.to);
    std::vector<Automaton::Call> calls;
    for (auto& [rule, to] : returns) {
      sort_unique(to);
      calls.push_back({rule, state_of(std::move(to))});
      if (seen_[static_cast<size_t>(rule)]) continue;
      seen_[static_cast<size_t>(rule)] = true;
      wanted_.push_back(rule);
    }
    return calls;
  }

  // Depth first, without recursion: a grammar may be as deep as it is long.
  void rank_rules() {
    enum : uint8_t { fresh, open, done };
    std::vector<uint8_t> mark(made_.rules_.size(), fresh);
    std::vector<RuleId> order;
    std::vector<std::pair<RuleId, size_t>> path;
    for (const RuleId root : wanted_) {
      if (mark[static_cast<size_t>(root)] != fresh) continue;
      path.emplace_back(root, 0);
      mark[static_cast<size_t>(root)] = open;
      while (!path.empty()) {
        auto& [rule, next] = path.back();
        const auto calls = made_.calls(made_.start_state(rule));
        if (next == calls.size()) {
          mark[static_cast<size_t>(rule)] = done;
          order.push_back(rule);
          path.pop_back();
          continue;
        }
        const RuleId called = calls[next++].rule;
        if (mark[static_cast<size_t>(called)] == open) refuse_left_recursion(called, path);
        if (mark[static_cast<size_t>(called)] == done) continue;
        mark[static_cast<size_t>(called)] = open;
        path.emplace_back(called, 0);
      }
    }
    const auto last = static_cast<int32_t>(order.size()) - 1;
    for (int32_t i = 0; i <= last; ++i)
      made_.rules_[static_cast<size_t>(order[static_cast<size_t>(i)])].rank = last - i;
  }

  [[noreturn]] void refuse_left_recursion(RuleId called, const std::vector<std::pair<RuleId, size_t>>& path) const {
    std::string way;
    bool in = false;
    for (const auto& [rule, next] : path) {
      in = in || rule == called;
      if (in && way.size() < 300) way += str(printable(name(rule), 80), " -> ");
    }
    throw_unsupported(str(draft_.what(), ": ", way, printable(name(called), 80),
                          ": this begins with itself, and no text would ever be begun; put something before the "
                          "repetition, or write it as item*"));
  }

  void class_bytes() {
    std::bitset<257> cuts;
    cuts.set(0);
    for (const auto& state : made_.states_)
      for (const auto& edge : state.edges) {
        cuts.set(edge.bytes.first);
        cuts.set(static_cast<size_t>(edge.bytes.last) + 1);
      }
    for (size_t byte = 0; byte < 256; ++byte) {
      if (cuts.test(byte)) made_.byte_of_.push_back(static_cast<uint8_t>(byte));
      made_.class_of_[byte] = static_cast<int32_t>(made_.byte_of_.size()) - 1;
    }
    made_.classes_ = static_cast<int32_t>(made_.byte_of_.size());
  }

  [[nodiscard]] const std::string& name(RuleId rule) const { return draft_.rules()[static_cast<size_t>(rule)].name; }

  const Draft& draft_;
  Automaton& made_;
  const Reach empty_, ended_;
  RuleId rule_ = -1;
  std::map<NodeSet, int32_t> states_;  // of the rule
  std::vector<std::pair<int32_t, NodeSet>> work_;
  std::vector<RuleId> wanted_;
  std::vector<bool> seen_;
  size_t effort_ = 0;
};

Automaton::Automaton(const Draft& draft, RuleId start) {
  AutomatonBuilder(draft, *this).build(start);
}

}  // namespace arkit::grammar
