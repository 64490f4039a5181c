#include <algorithm>
#include <map>

#include <arkit/engine/jobs.h>
#include <arkit/str.h>

#include "command.h"
#include "quantize_options.h"
#include "render.h"
#include "save_config.h"

namespace arkit::cli {
namespace {

// One sign an option: the digit of its bits where that tells options apart, else letters.
std::map<std::string, char> signs(const json::Array& options) {
  std::map<std::string, char> signs;
  std::string used;
  for (const json::Value& option : options) {
    const double bits = option.at("average_bits").to_number<double>();
    used += bits < 10 ? static_cast<char>('0' + static_cast<int>(bits)) : 'F';
  }
  std::string unique = used;
  std::sort(unique.begin(), unique.end());
  const bool digits = std::unique(unique.begin(), unique.end()) == unique.end();
  for (size_t i = 0; i < options.size(); ++i)
    signs[std::string(options[i].at("name").as_string())] =
        digits ? used[i] : static_cast<char>('a' + static_cast<int>(i % 26));
  return signs;
}

// "model.layers.3.self_attn.q_proj" of block 3 -> "self_attn.q_proj".
std::string position(const std::string& name, int64_t block) {
  const std::string part = str(".", block, ".");
  const size_t at = block < 0 ? std::string::npos : name.find(part);
  return at == std::string::npos ? name : name.substr(at + part.size());
}

// A line a position within a block, a sign a block; blocks without a choice show a dot.
std::string layer_map(const json::Array& mix, size_t budget, const std::map<std::string, char>& signs) {
  std::vector<std::pair<std::string, std::string>> rows;
  for (const json::Value& layer : mix) {
    const int64_t block = layer.at("block").as_int64();
    const std::string row = position(std::string(layer.at("name").as_string()), block);
    auto at = std::find_if(rows.begin(), rows.end(), [&](const auto& r) { return r.first == row; });
    if (at == rows.end()) at = rows.insert(rows.end(), {row, ""});
    const auto column = static_cast<size_t>(std::max<int64_t>(block, 0));
    if (at->second.size() <= column) at->second.resize(column + 1, '.');
    at->second[column] = signs.at(std::string(layer.at("schemes").as_array().at(budget).as_string()));
  }
  std::vector<std::vector<std::string>> cells;
  for (const auto& [row, line] : rows) cells.push_back({"  " + row, line});
  return table(cells);
}

std::string render(const json::Object& result) {
  std::string text = describe_object(result, {"mix", "curve", "options", "samples", "pinned", "model", "tuned_error"});
  text += "\noptions\n" + objects_table(result.at("options").as_array());
  if (const json::Value* tuned = json::find(result, "tuned_error"); tuned != nullptr)
    text += "\nerrors of tuned layers\n" + describe_object(tuned->as_object(), {"ratios"});
  const std::map<std::string, char> known = signs(result.at("options").as_array());
  std::string legend;
  for (const json::Value& option : result.at("options").as_array()) {
    const std::string name(option.at("name").as_string());
    legend += str(legend.empty() ? "" : ", ", known.at(name), " = ", name);
  }
  const json::Array& budgets = result.at("budgets").as_array();
  for (size_t i = 0; i < budgets.size(); ++i) {
    const json::Object& budget = budgets[i].as_object();
    const json::Value* bits = json::find(budget, "avg_bits");
    text +=
        str("\nlayers, budget ", bits != nullptr ? cell(*bits) + " bits" : cell(budget.at("target_size")) + " bytes",
            " (a column a block: ", legend, ")\n", layer_map(result.at("mix").as_array(), i, known));
  }
  return text;
}

}  // namespace

Result cmd_autoscheme(const Arguments& arguments, Plugins& plugins, Reporter& reporter) {
  QuantizeOptions given = autoscheme_options(arguments);
  settle_formats(given, arguments, plugins.registry());
  const QuantizeOptions& options = given;
  if (const auto file = arguments.text("save_config"))
    save_config(*file, *find_command("autoscheme"), resolved_autoscheme(options, plugins.registry()));
  Result result;
  result.json = autoscheme(options, plugins.registry(), reporter);
  result.human = render(result.json);
  if (const auto mix = arguments.text("save_layer_config")) result.kept = str("the mix is complete: '", *mix, "'");
  return result;
}

}  // namespace arkit::cli
