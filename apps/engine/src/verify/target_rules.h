#pragma once
// How programs other than transformers read a config.json, as data files (share/targets/README.md describes them).

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/export.h>
#include <arkit/json.h>

namespace arkit {

struct TargetRules {
  struct Model {
    std::vector<std::string> types, needs, unread;
    std::map<std::string, std::vector<std::string>> unread_without;
    json::Object defaults, rope_defaults;
    bool yarn_by_mscale = false;    // the scale of yarn's tables: a ratio of two mscales, whatever else is said
    bool only_long_factor = false;  // longrope: for texts of any length, with the scale of the two lengths
  };
  std::string name, title, checked;
  std::vector<std::string> kinds;
  bool drops_tied_head = false;
  std::vector<Model> models;
};

// `what` names the text in errors. Throws ErrorCode::input for anything that is no rule.
[[nodiscard]] ARKIT_INTERNAL TargetRules parse_target(std::string_view text, const std::string& what);

// The program that exports of this kind (ModelSource::kind) are for, among the rules that came with this installation;
// null = one that reads as transformers does. Throws ErrorCode::input for a damaged file.
[[nodiscard]] ARKIT_INTERNAL const TargetRules* target_of(std::string_view kind);

// config.json as that program understands it, in transformers' words. Throws ErrorCode::unsupported when its class
// needs a member that is not there.
[[nodiscard]] ARKIT_INTERNAL json::Object config_as_read(const json::Object& config, const TargetRules& target);

}  // namespace arkit
