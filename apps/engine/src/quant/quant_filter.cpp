#include "quant/quant_filter.h"

#include "util/data_file.h"

namespace arkit {

QuantFilter read_quant_filter(const json::Object& table, const std::string& what) {
  QuantFilter filter;
  filter.data_types = text_list(table, "data_type", what);
  filter.bits = number_list(table, "bits", what);
  filter.group_sizes = number_list(table, "group_size", what);
  filter.act_bits = number_list(table, "act_bits", what);
  filter.sym = json::get_bool(table, "sym", what);
  filter.act_dynamic = json::get_bool(table, "act_dynamic", what);
  return filter;
}

bool fits(const QuantFilter& filter, const LayerQuant& quant) {
  const auto& [weight, act, rotation] = quant;
  const bool act_quantized = act.quantized();
  return fits(filter.data_types, weight.data_type) && fits(filter.bits, int64_t{weight.bits}) &&
         fits(filter.group_sizes, weight.group_size) && fits(filter.act_bits, int64_t{act_quantized ? act.bits : 16}) &&
         fits(filter.sym, weight.sym) && (!filter.act_dynamic || (act_quantized && *filter.act_dynamic == act.dynamic));
}

}  // namespace arkit
