#include "grammar/draft.h"

#include <utility>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::grammar {

Node Draft::node() {
  if (nodes_.size() >= kMostNodes)
    throw_unsupported(str(what_, ": ",
                          written_ < 0 ? "" : str(printable(rules_[static_cast<size_t>(written_)].name), ": "),
                          "the grammar becomes larger than ", kMostNodes,
                          " states; lower its lengths and counts (maxLength, maxItems, {m,n}), or leave them out"));
  nodes_.emplace_back();
  return static_cast<Node>(nodes_.size()) - 1;
}

RuleId Draft::add_rule(std::string name) {
  const Node start = node(), end = node();
  rules_.push_back({std::move(name), start, end});
  return static_cast<RuleId>(rules_.size()) - 1;
}

void Draft::bytes(Node from, ByteSpan span, Node to) {
  at(from).bytes.push_back({span, to});
}

void Draft::skip(Node from, Node to) {
  at(from).skips.push_back(to);
}

void Draft::call(Node from, RuleId rule, Node to) {
  at(from).calls.push_back({rule, to});
}

void Draft::literal(Node from, std::string_view text, Node to) {
  if (text.empty()) return skip(from, to);
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    const Node next = i + 1 < text.size() ? node() : to;
    bytes(from, {byte, byte}, next);
    from = next;
  }
}

void Draft::chars(Node from, const CodePoints& points, Node to) {
  for (const ByteSequence& sequence : utf8_sequences(points)) {
    Node here = from;
    for (size_t i = 0; i < sequence.size(); ++i) {
      const Node next = i + 1 < sequence.size() ? node() : to;
      bytes(here, sequence[i], next);
      here = next;
    }
  }
}

}  // namespace arkit::grammar
