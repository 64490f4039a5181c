#pragma once
// Words of AutoRound's command line that arkit has no option for. What is always so here is taken with one line that
// says it, what is called otherwise becomes arkit's option, what cannot be is refused with the reason. The table is
// shown in docs/COMMAND_LINE.md, and a test holds the two together.

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "commands.h"
#include "parsed.h"

namespace arkit::cli {

struct AutoRoundFlag {
  enum class Kind {
    always,    // nothing to do; `says` why
    instead,   // `says` the option, "amp_dtype=float32", that it stands for
    rotation,  // a field of the rotation; `says` which
    awq,       // a setting of the transform awq; `says` which
    measure,   // another command, `says` which; command_line.cpp has taken it where it is on
    absent,    // `says` why it is not here
  };
  enum class Value { none, one };

  std::string_view names;  // separated by blanks, the first is shown
  Value value;
  Kind kind;
  std::string_view says;
  std::string_view only = {};  // of `always`: the values that are always so, separated by blanks; empty = any
};

[[nodiscard]] std::span<const AutoRoundFlag> autoround_flags();

// The words of one call of `quantize` or `eval lm`.
class AutoRoundWords {
 public:
  // `arguments` without those words; "--no_X" of a flag X of the command becomes "--X=false". Throws
  // ErrorCode::unsupported for what cannot be, ErrorCode::usage for a missing value.
  [[nodiscard]] std::vector<std::string> take(const Command& command, const std::vector<std::string>& arguments);

  // Puts what was taken into the options that hold it. Throws ErrorCode::usage where these say otherwise.
  void settle(Values& values) const;

  [[nodiscard]] const std::vector<std::string>& notes() const noexcept { return notes_; }

 private:
  void take_flag(const AutoRoundFlag& flag, const std::string& name, const std::string& value,
                 std::vector<std::string>& rest);

  std::vector<std::string> notes_;
  std::map<std::string, std::string> rotation_, awq_;  // field -> JSON
};

}  // namespace arkit::cli
