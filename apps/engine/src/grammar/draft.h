#pragma once
// A grammar while it is written: rules that are graphs of nodes, whose edges take a byte, nothing, or what another rule
// takes. Automaton (automaton.h) makes of it what can be run.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "grammar/code_points.h"

namespace arkit::grammar {

using Node = int32_t;
using RuleId = int32_t;

// What one grammar may cost. Real ones have some hundred nodes; a maxLength of 1000 has a thousand.
constexpr size_t kMostNodes = size_t{1} << 17;

class Draft {
 public:
  struct ByteEdge {
    ByteSpan bytes;
    Node to = -1;
  };
  struct Call {
    RuleId rule = -1;
    Node to = -1;
  };
  struct NodeEdges {
    std::vector<ByteEdge> bytes;
    std::vector<Call> calls;
    std::vector<Node> skips;  // for nothing
  };
  struct Rule {
    std::string name;  // for messages
    Node start = -1, end = -1;
  };

  // `what` opens messages: the file.
  explicit Draft(std::string what) : what_(std::move(what)) {}

  // Throws ErrorCode::unsupported when there are too many, naming the rule that was added last or is being written.
  Node node();
  RuleId add_rule(std::string name);
  void write(RuleId rule) { written_ = rule; }  // only for messages

  void bytes(Node from, ByteSpan span, Node to);
  void skip(Node from, Node to);
  void call(Node from, RuleId rule, Node to);
  // These make the nodes between.
  void literal(Node from, std::string_view bytes, Node to);
  void chars(Node from, const CodePoints& points, Node to);

  [[nodiscard]] Node start(RuleId rule) const { return rules_.at(static_cast<size_t>(rule)).start; }
  [[nodiscard]] Node end(RuleId rule) const { return rules_.at(static_cast<size_t>(rule)).end; }
  [[nodiscard]] const std::vector<NodeEdges>& nodes() const { return nodes_; }
  [[nodiscard]] const std::vector<Rule>& rules() const { return rules_; }
  [[nodiscard]] const std::string& what() const { return what_; }

 private:
  [[nodiscard]] NodeEdges& at(Node node) { return nodes_.at(static_cast<size_t>(node)); }

  std::string what_;
  std::vector<NodeEdges> nodes_;
  std::vector<Rule> rules_;
  RuleId written_ = -1;
};

}  // namespace arkit::grammar
