#include <filesystem>

#include <arkit/error.h>
#include <arkit/file_tool.h>
#include <arkit/model_source.h>
#include <arkit/str.h>

#include "command.h"
#include "render.h"

namespace arkit::cli {
namespace {

json::Object work(const Arguments& arguments, Plugins& plugins, const FileTask& task) {
  const auto* tool = dynamic_cast<const FileTool*>(&plugins.registry().reader("gguf"));
  if (tool == nullptr)
    throw_unsupported("the loaded plugin 'gguf' is no tool for files; 'arkit list plugins' shows where it is from");
  return tool->work_on(arguments.positional(0), task);
}

std::filesystem::path output_of(const Arguments& arguments) {
  return arguments.text("output").value_or("");
}

// A command that wrote files.
Result written(json::Object report) {
  Result result;
  std::string names;
  for (const json::Value& file : report.at("files").as_array())
    names += str(names.empty() ? "'" : ", '", std::string_view(file.as_string()), "'");
  result.human = describe_object(report, {"files"});
  for (const json::Value& file : report.at("files").as_array())
    result.human += str("wrote ", std::string_view(file.as_string()), "\n");
  result.kept = str("the files are complete: ", names);
  result.json = std::move(report);
  return result;
}

std::string line_of(const json::Value& value, bool whole) {
  if (value.is_string())
    return whole ? std::string(value.as_string()) : printable(std::string_view(value.as_string()), 1000);
  if (!value.is_array()) return json::dump(value);
  std::string line;
  for (const json::Value& element : value.as_array()) line += (line.empty() ? "" : ", ") + json::dump(element);
  return line;
}

}  // namespace

Result cmd_gguf_show(const Arguments& arguments, Plugins& plugins, Reporter&) {
  const bool whole = arguments.flag("whole");
  Result result;
  result.json = work(arguments, plugins, ShowFile{.filter = arguments.text("filter").value_or(""), .whole = whole});
  result.human = describe_object(result.json, {"keys", "tensors"});
  if (const json::Array& keys = result.json.at("keys").as_array(); !keys.empty()) {
    result.human += "\nkeys\n";
    for (const json::Value& key : keys) {
      const std::string type(key.at("type").as_string());
      const bool more = key.as_object().contains("count") && !whole &&
                        key.at("count").to_number<uint64_t>() > key.at("value").as_array().size();
      result.human += str("  ", std::string_view(key.at("key").as_string()), " (", type,
                          ") = ", line_of(key.at("value"), whole), more ? ", ..." : "", "\n");
    }
  }
  if (const json::Array& tensors = result.json.at("tensors").as_array(); !tensors.empty())
    result.human += "\ntensors\n" + objects_table(tensors);
  return result;
}

Result cmd_gguf_set_metadata(const Arguments& arguments, Plugins& plugins, Reporter&) {
  SetMetadata task{
      .output = output_of(arguments), .set = {}, .remove = arguments.texts("remove"), .force = arguments.flag("force")};
  const std::vector<std::string>& words = arguments.parsed().positionals;
  task.set.assign(words.begin() + 1, words.end());
  if (task.set.empty() && task.remove.empty())
    throw_usage("'arkit gguf set-metadata' needs KEY=VALUE or --remove KEY: what to change");
  return written(work(arguments, plugins, task));
}

Result cmd_gguf_split(const Arguments& arguments, Plugins& plugins, Reporter&) {
  return written(work(arguments, plugins,
                      SplitFile{.output = output_of(arguments),
                                .max_bytes = arguments.bytes("split_max_size"),
                                .max_tensors = arguments.integer("split_max_tensors")}));
}

Result cmd_gguf_merge(const Arguments& arguments, Plugins& plugins, Reporter&) {
  return written(work(arguments, plugins, MergeFile{.output = output_of(arguments)}));
}

}  // namespace arkit::cli
