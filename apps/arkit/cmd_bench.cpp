#include <cstdio>
#include <string>

#include <arkit/engine/bench.h>
#include <arkit/str.h>

#include "command.h"
#include "read_options.h"

namespace arkit::cli {
namespace {

std::string number(const json::Value& value) {
  const double given = value.to_number<double>();
  char text[32];
  std::snprintf(text, sizeof(text), given >= 100 ? "%.0f" : given >= 10 ? "%.1f" : "%.3f", given);
  return text;
}

std::string padded(std::string text, size_t width, bool right) {
  if (text.size() < width) text.insert(right ? 0 : text.size(), width - text.size(), ' ');
  return text;
}

// A line a row; what limits it beside it.
std::string table(const json::Object& result) {
  std::string out = str(std::string_view(result.at("cpu").as_string()), "\n");
  for (const json::Value& machine : result.at("machine").as_array())
    out += str(machine.at("threads").as_int64(), " thread", machine.at("threads") == 1 ? "" : "s", ": ",
               number(machine.at("bandwidth_gb_per_second")), " GB/s from memory, ",
               number(machine.at("dot_gop_per_second")), " GOP/s of 8-bit dot products (",
               std::string_view(machine.at("dot_instruction").as_string()), ")\n");
  if (const json::Value* backend = result.if_contains("backend"))
    out += str("kernels of the backend ", std::string_view(backend->as_string()), "\n");
  out += "\n";
  for (const json::Value& row : result.at("rows").as_array()) {
    out += padded(std::string(row.at("what").as_string()), 54, false) +
           padded(str(row.at("threads").as_int64()), 4, true) + padded(number(row.at("value")), 10, true) + " " +
           padded(std::string(row.at("unit").as_string()), 9, false);
    if (const json::Value* share = row.as_object().if_contains("share"))
      out += str(" ", padded(number(json::Value(share->to_number<double>() * 100.0)), 5, true), " % of ",
                 number(row.at("roofline")), " (", std::string_view(row.at("bound_by").as_string()), ")");
    out.erase(out.find_last_not_of(' ') + 1);
    out += "\n";
  }
  return out;
}

}  // namespace

Result cmd_bench(const Arguments& arguments, Plugins& plugins, Reporter& reporter) {
  BenchOptions options;
  options.model = arguments.positional(0);
  read_options(options, arguments);
  Result result;
  result.json = bench(options, plugins.registry(), reporter);
  result.human = table(result.json);
  return result;
}

}  // namespace arkit::cli
