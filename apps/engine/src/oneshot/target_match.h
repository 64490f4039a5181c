#pragma once
// Which scheme of a recipe a layer gets (docs/spec/modifier-recipes.md 5).

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <arkit/descriptors.h>
#include <arkit/export.h>
#include <arkit/regex.h>

namespace arkit::oneshot {

// One pattern: "re:X" matches names X matches from their start; anything else a whole name, or the class of a module or
// of one of its bases.
class ARKIT_INTERNAL Target {
 public:
  enum class Hit { none, name, pattern, type };

  // `where` names the recipe in errors. Throws ErrorCode::input for a broken expression.
  Target(std::string text, const std::string& where);

  [[nodiscard]] Hit hit(std::string_view name, LayerKind kind) const;
  [[nodiscard]] const std::string& text() const { return text_; }
  // Can it hit nothing but the layer whose name it is?
  [[nodiscard]] bool is_name() const;

 private:
  std::string text_;
  std::optional<Regex> regex_;
};

class ARKIT_INTERNAL TargetList {
 public:
  TargetList(const std::vector<std::vector<std::string>>& targets, const std::vector<std::string>& ignore,
             const std::string& where);

  // Index of the scheme; nullopt = ignored or not targeted. An exact name wins over an expression, that over a class;
  // among equals the first in the order of text, and of two schemes with the same target the later.
  [[nodiscard]] std::optional<size_t> scheme_of(std::string_view name, LayerKind kind);
  [[nodiscard]] bool ignores(std::string_view name, LayerKind kind);
  // Targets, and ignored patterns, that have matched nothing so far.
  [[nodiscard]] std::vector<std::string> unmatched() const;
  [[nodiscard]] std::vector<std::string> unmatched_ignores() const;

 private:
  struct Entry {
    Target target;
    size_t scheme = 0;
    bool used = false;
  };
  // A recipe may name tens of thousands of layers: names are looked up, the few expressions and classes tried in turn.
  struct Entries {
    std::vector<Entry> all;
    std::unordered_map<std::string, std::vector<size_t>> named;  // text -> places in `all`
    std::vector<size_t> others;                                  // expressions and classes

    void add(Target target, size_t scheme);
    // Those that may hit a layer of this name, in their order.
    [[nodiscard]] std::vector<size_t> candidates(std::string_view name) const;
  };
  Entries targets_, ignore_;
};

}  // namespace arkit::oneshot
