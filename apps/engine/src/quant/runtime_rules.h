#pragma once
// What serving engines load and which layers they fuse, as data files (share/runtimes/README.md describes them).

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/descriptors.h>
#include <arkit/export.h>

#include "quant/quant_filter.h"

namespace arkit {

struct RuntimeRules {
  struct Fused {
    std::vector<std::string> parts;  // last names of layers under one parent; empty = all experts of a layer
  };
  // Every key that is given must fit; an empty list fits everything.
  struct Entry : QuantFilter {
    std::vector<std::string> formats;
    std::optional<bool> outside_blocks;
    std::string text;  // what is loaded, or why it is not
  };
  std::string name, title, checked;
  std::vector<std::string> model_types;  // it has classes for; empty = all
  std::vector<Fused> fused;
  std::vector<Entry> loads, refuses;
};

// "a, b and c", as sentences about engines name them.
[[nodiscard]] std::string listed(const std::vector<std::string>& names);

// `what` names the text in errors. Throws ErrorCode::input for anything that is no rule.
[[nodiscard]] ARKIT_INTERNAL RuntimeRules parse_runtime(std::string_view text, const std::string& what);

// The rules that came with this installation, by name. Throws ErrorCode::input for a damaged file.
[[nodiscard]] ARKIT_INTERNAL const std::vector<RuntimeRules>& installed_runtimes();

// One of them, or a file of the user's (a name with '/' or ending in .toml). Throws ErrorCode::unsupported for an
// unknown name.
[[nodiscard]] ARKIT_INTERNAL RuntimeRules find_runtime(const std::string& name_or_path);

// Does any rule of the engine speak of this format?
[[nodiscard]] ARKIT_INTERNAL bool mentions(const RuntimeRules& rules, const std::string& format);

// Does one of the installed engines that serve (those that fuse layers) load such a layer of this format? True as well
// where none of them knows the format.
[[nodiscard]] ARKIT_INTERNAL bool is_served(const LayerPlan& layer, const std::string& format);

// Groups of layers that an engine fuses and whose schemes differ: one sentence a cause, naming the engines.
[[nodiscard]] ARKIT_INTERNAL std::vector<std::string> fused_violations(const QuantPlan& plan,
                                                                       std::span<const RuntimeRules> runtimes);

// Why this engine cannot load the plan written in this format: one sentence a cause.
[[nodiscard]] ARKIT_INTERNAL std::vector<std::string> format_violations(const QuantPlan& plan,
                                                                        const std::string& format,
                                                                        const RuntimeRules& runtime);

}  // namespace arkit
