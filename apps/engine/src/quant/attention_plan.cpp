#include "quant/attention_plan.h"

#include <array>

#include <arkit/error.h>
#include <arkit/sdk/layout.h>
#include <arkit/str.h>

namespace arkit {
namespace {

struct StateType {
  std::string_view name, data_type;
  int bits;
  int64_t group_size;
  bool dynamic;  // scales inside a token are; what calibration finds is the one above them
};

// The spellings AutoRound takes for one byte: all mean e4m3.
constexpr std::array<StateType, 4> kTypes{{{"fp8", "fp", 8, 0, false},
                                           {"float8_e4m3fn", "fp", 8, 0, false},
                                           {"fp8_e4m3", "fp", 8, 0, false},
                                           {"nvfp4", "nv_fp4_with_static_gs", 4, 16, true}}};

TensorQuant type_of(const std::string& name, std::string_view option, bool four_bits, const Registry& registry) {
  std::string plain = lower(name);
  if (plain.starts_with("torch.")) plain.erase(0, std::string_view("torch.").size());
  for (const StateType& type : kTypes) {
    if (type.name != plain || (type.bits < 8 && !four_bits)) continue;
    TensorQuant quant;
    quant.data_type = type.data_type;
    quant.bits = type.bits;
    quant.group_size = type.group_size;
    quant.dynamic = type.dynamic;
    (void)registry.scheme_for(quant.data_type);
    return quant;
  }
  throw_usage(str(option, " '", printable(name), "' is unknown; expected fp8", four_bits ? " or nvfp4" : ""));
}

bool per_head(const std::string& granularity, std::string_view option) {
  if (granularity == "head") return true;
  if (granularity == "tensor") return false;
  throw_usage(str(option, " '", printable(granularity), "' is unknown; expected tensor or head"));
}

}  // namespace

void plan_attention(QuantPlan& plan, const ModelLayout& layout, const AttentionOptions& options,
                    const Registry& registry) {
  AttentionQuant& quant = plan.attention;
  quant.kv_per_head = per_head(options.kv_granularity, "static_kv_granularity");
  quant.query_per_head = per_head(options.attention_granularity, "static_attention_granularity");
  if (!options.attention_dtype.empty()) {
    quant.query = type_of(options.attention_dtype, "static_attention_dtype", false, registry);
    // Queries meet keys of the same type; these are ranged as the queries are unless told otherwise.
    quant.kv = quant.query;
    if (options.kv_dtype.empty()) quant.kv_per_head = quant.query_per_head;
  }
  if (!options.kv_dtype.empty()) quant.kv = type_of(options.kv_dtype, "static_kv_dtype", true, registry);
  if (quant.query.quantized() && quant.kv.bits != quant.query.bits)
    throw_usage("static_attention_dtype fp8 computes with keys and values of fp8; leave static_kv_dtype out");
  if (!quant.quantized()) {
    quant = {};
    return;
  }
  if (options.averaging < 0.0 || options.averaging >= 1.0)
    throw_usage(str("averaging constant ", options.averaging, " of attention ranges is out of range; expected 0 to 1"));
  quant.averaging = options.averaging;
  plan.attentions = sdk::attention_plans(layout);
  if (plan.attentions.empty())
    throw_unsupported(str("the plugin of model type '", plan.model_type,
                          "' does not say where its keys and values pass; leave static_kv_dtype and "
                          "static_attention_dtype out"));
  for (const AttentionPlan& module : plan.attentions)
    if (quant.kv.group_size > 0 &&
        (module.key_dim % quant.kv.group_size != 0 || module.value_dim % quant.kv.group_size))
      throw_unsupported(str("'", module.name, "': heads of ", module.key_dim, " numbers do not fill groups of ",
                            quant.kv.group_size, "; use --static_kv_dtype fp8"));
}

std::string describe(const AttentionQuant& quant) {
  if (!quant.quantized()) return {};
  const std::string type = quant.kv.bits == 8 ? "fp8" : "nvfp4";
  std::string text = str("keys and values ", type, quant.kv_per_head ? " per head" : " per tensor");
  if (quant.query.quantized()) text += str(", queries fp8", quant.query_per_head ? " per head" : " per tensor");
  return text;
}

}  // namespace arkit
