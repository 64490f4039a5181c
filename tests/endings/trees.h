#pragma once
// Folders as values: what lies in them, exports as arkit leaves them, and a run that writes them.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include <arkit/json.h>
#include <arkit/part_file.h>

#include "output/output_folder.h"

namespace arkit::testing::trees {

namespace fs = std::filesystem;

using Tree = std::map<std::string, std::string>;  // path -> content

// Files and links below `folder`; empty folders end in '/'.
inline Tree tree_of(const fs::path& folder) {
  Tree tree;
  if (!fs::exists(folder)) return tree;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder)) {
    const std::string name = entry.path().lexically_relative(folder).string();
    if (entry.is_symlink()) {
      tree[name] = "-> " + fs::read_symlink(entry.path()).string();
    } else if (entry.is_directory()) {
      if (fs::is_empty(entry.path())) tree[name + "/"] = "";
    } else {
      std::ifstream in(entry.path(), std::ios::binary);
      tree[name] = {std::istreambuf_iterator<char>(in), {}};
    }
  }
  return tree;
}

inline void write_tree(const fs::path& folder, const Tree& tree) {
  fs::create_directories(folder);
  for (const auto& [name, content] : tree) {
    fs::create_directories((folder / name).parent_path());
    if (name.ends_with("/")) continue;
    if (content.starts_with("-> "))
      fs::create_symlink(content.substr(3), folder / name);
    else
      std::ofstream(folder / name, std::ios::binary) << content;
  }
}

inline Tree operator+(Tree a, const Tree& b) {
  a.insert(b.begin(), b.end());
  return a;
}

inline Tree below(const std::string& folder, const Tree& tree) {
  Tree moved;
  for (const auto& [name, content] : tree) moved[folder + "/" + name] = content;
  return moved;
}

// An export as arkit leaves it: its record names its files.
inline Tree an_export(const std::string& mark, const std::string& format, const std::vector<std::string>& files) {
  Tree tree{{"README.md", mark}};
  json::Array names;
  for (const std::string& name : files) {
    tree[name] = mark + " " + name;
    names.emplace_back(name);
  }
  tree["arkit-run.json"] = json::dump(json::Object{{"mark", mark}, {"format", format}, {"files", names}});
  return tree;
}

inline const std::vector<std::string> kThree{"auto_round", "auto_gptq", "fake"};

inline Tree three(const std::string& mark) {
  Tree tree;
  for (const std::string format : {"auto_round", "auto_gptq", "fake"})
    tree = std::move(tree) + below(format, an_export(mark, format, {"config.json", "model.safetensors"}));
  return tree;
}

// What exporters do.
inline void fill(const output::OutputFolder& output, const std::vector<std::string>& subfolders, const Tree& files) {
  for (const auto& [name, content] : files) {
    const std::string first = fs::path(name).begin()->string();
    const bool below = std::find(subfolders.begin(), subfolders.end(), first) != subfolders.end();
    const fs::path file =
        below ? output.staged(first) / fs::path(name).lexically_relative(first) : output.staged() / name;
    fs::create_directories(file.parent_path());
    write_file(file, content);
  }
}

}  // namespace arkit::testing::trees
