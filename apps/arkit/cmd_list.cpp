#include <arkit/engine/jobs.h>
#include <arkit/str.h>

#include "command.h"
#include "render.h"

namespace arkit::cli {
namespace {

std::string text_of(const json::Object& row, std::string_view key) {
  const json::Value* value = row.if_contains(key);
  return value == nullptr ? std::string() : cell(*value);
}

// One line a plugin; why one is not used stands below the table.
std::string plugins_text(const json::Array& rows) {
  std::vector<std::vector<std::string>> cells{{"state", "id", "version", "offers", "path"}};
  std::string notes;
  for (const json::Value& value : rows) {
    const json::Object& row = value.as_object();
    std::string offers;
    if (const json::Value* components = row.if_contains("components"))
      for (const json::Value& component : components->as_array())
        offers += str(offers.empty() ? "" : ", ", text_of(component.as_object(), "kind"), " ",
                      text_of(component.as_object(), "name"));
    cells.push_back({text_of(row, "state"), text_of(row, "id"), text_of(row, "version"), offers, text_of(row, "path")});
    std::string reason(row.contains("reason") ? std::string_view(row.at("reason").as_string()) : std::string_view());
    if (reason.empty()) continue;
    notes += str("\n", text_of(row, "path"), "\n");
    for (const std::string& line : split(reason, '\n')) notes += str("  ", printable(line, 1000), "\n");
  }
  return rows.empty() ? "no plugins were found\n" : table(cells) + notes;
}

// The matrix; with --verbose the reason of each "-" below.
std::string formats_text(const json::Object& result, bool verbose) {
  const json::Array& rows = result.at("formats").as_array();
  if (rows.empty()) return "no plugin offers a format\n";
  std::string text(result.at("matrix").as_string());
  if (!verbose) return text + "\n'-' is explained by --verbose\n";
  text += "\n";
  for (const json::Value& row : rows)
    for (const auto& [scheme, verdict] : row.at("schemes").as_object())
      if (verdict.as_string() != "yes")
        text +=
            str("  ", text_of(row.as_object(), "format"), ", ", std::string_view(scheme), ": ", cell(verdict), "\n");
  return text;
}

// "2-8", "2, 4, 8"
std::string numbers_text(const json::Array& numbers) {
  std::string text;
  for (size_t i = 0; i < numbers.size(); ++i) {
    size_t last = i;
    while (last + 1 < numbers.size() && numbers[last + 1].as_int64() == numbers[last].as_int64() + 1) ++last;
    text += text.empty() ? "" : ", ";
    text += cell(numbers[i]);
    if (last > i + 1) text += "-" + cell(numbers[last]);
    if (last == i + 1) text += ", " + cell(numbers[last]);
    i = last;
  }
  return text;
}

std::string multiple_text(const json::Value& multiple) {
  return multiple == json::Value(1) ? "any" : "x" + cell(multiple);
}

std::string groups_text(const json::Object& runs) {
  if (runs.at("block_rows").as_int64() > 0)
    return str("blocks of ", runs.at("block_rows").as_int64(), "x", cell(runs.at("group_sizes")));
  return runs.at("every_group_size").as_bool() ? "any" : cell(runs.at("group_sizes"));
}

// What a backend runs on a device: one line a kind of weight that gets one answer.
std::string runs_text(const json::Array& runs) {
  std::vector<std::vector<std::string>> cells{
      {"", "weights", "bits", "group", "symmetry", "activations", "packing", "outputs, inputs", "score"}};
  for (const json::Value& value : runs) {
    const json::Object& row = value.as_object();
    const std::string multiples =
        str(multiple_text(row.at("out_multiple")), ", ", multiple_text(row.at("in_multiple")));
    cells.push_back({"", text_of(row, "data_type"), numbers_text(row.at("bits").as_array()), groups_text(row),
                     text_of(row, "symmetry"),
                     text_of(row, "activations") + (row.at("own_activations").as_bool() ? " (rounds its own)" : ""),
                     text_of(row, "packings"), multiples, text_of(row, "score")});
  }
  return runs.empty() ? "  runs none of the layers that were asked about\n" : table(cells);
}

std::string backend_text(const json::Object& row) {
  std::string text;
  for (const json::Value& device : row.at("devices").as_array())
    text += str("\n", text_of(row, "name"), " on ", text_of(device.as_object(), "device"), " runs\n",
                text_of(device.as_object(), "fault").empty()
                    ? runs_text(device.as_object().at("runs").as_array())
                    : str("  cannot be asked: ", text_of(device.as_object(), "fault"), "\n"));
  const bool says_more = !text_of(row, "step").empty() || !row.at("stands_in_for").as_array().empty();
  if (text.empty() && says_more) text = str("\n", text_of(row, "name"), "\n");
  if (!text_of(row, "step").empty()) text += str("  to get it: ", text_of(row, "step"), "\n");
  for (const json::Value& value : row.at("stands_in_for").as_array())
    text += str("  stands in for ", text_of(value.as_object(), "names"), ": ", text_of(value.as_object(), "why"), "\n");
  return text;
}

// One line a device; a backend that has none here says why. Below, what each of them runs and which names lead to it.
std::string backends_text(const json::Array& rows) {
  std::string details;
  std::vector<std::vector<std::string>> cells{{"name", "device", "hardware", "score", "summary"}};
  for (const json::Value& value : rows) {
    const json::Object& row = value.as_object();
    const json::Array& devices = row.at("devices").as_array();
    for (const json::Value& device : devices) {
      const json::Object& shown = device.as_object();
      const int64_t memory = shown.at("memory").as_int64();
      std::string hardware = text_of(shown, "name");
      if (memory > 0) hardware += str(", ", human_bytes(static_cast<double>(memory)));
      cells.push_back(
          {text_of(row, "name"), text_of(shown, "device"), hardware, text_of(shown, "score"), text_of(row, "summary")});
    }
    if (devices.empty())
      cells.push_back({text_of(row, "name"), "-", text_of(row, "reason"), "0", text_of(row, "summary")});
    details += backend_text(row);
  }
  return rows.empty() ? "no plugin offers a backend\n" : table(cells) + details;
}

// What each engine loads, one line a format.
std::string runtimes_text(const json::Array& rows) {
  std::string text;
  for (const json::Value& value : rows) {
    const json::Object& row = value.as_object();
    text += str(text_of(row, "name"), " (", text_of(row, "title"), ", rules of ", text_of(row, "checked"), ")\n");
    for (const json::Value& rule : row.at("loads").as_array())
      text += str("  ", cell(rule.as_object().at("formats")), ": ", text_of(rule.as_object(), "loads"), "\n");
    for (const json::Value& fused : row.at("fused").as_array()) text += str("  one scheme for ", cell(fused), "\n");
  }
  return rows.empty() ? "no rules are installed\n" : text;
}

}  // namespace

Result cmd_list(const Arguments& arguments, Plugins& plugins, Reporter&) {
  const std::string what = arguments.positional(0);
  Result result;
  result.json = list_things(what, plugins.registry());
  const json::Array& rows = json::as_array(result.json.at(what), what);
  if (what == "plugins")
    result.human = plugins_text(rows);
  else if (what == "runtimes")
    result.human = runtimes_text(rows);
  else if (what == "backends")
    result.human = backends_text(rows);
  else if (what == "formats")
    result.human = formats_text(result.json, arguments.flag("verbose"));
  else
    result.human = objects_table(rows);
  return result;
}

}  // namespace arkit::cli
