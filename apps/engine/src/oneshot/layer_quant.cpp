#include "oneshot/layer_quant.h"

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::oneshot {
namespace {

constexpr int64_t kMxGroup = 32, kNvGroup = 16;

bool is_float(const QuantArgs& args, int bits) {
  return args.type == "float" && args.num_bits == bits;
}

bool is_nv(const QuantArgs& args) {
  return is_float(args, 4) && args.strategy == "tensor_group" && args.group_size == kNvGroup;
}

bool is_mx(const QuantArgs& args) {
  const bool grouped = args.strategy == "group" && args.group_size == kMxGroup;
  return grouped && (is_float(args, 4) || (is_float(args, 8) && args.scale_dtype == "torch.uint8"));
}

[[noreturn]] void refuse(const std::string& where, const QuantArgs& args, std::string_view advice) {
  throw_unsupported(str(where, ": ", args.num_bits, "-bit ", args.type, " with strategy '", args.strategy,
                        "' is not available; ", advice));
}

void set_group(TensorQuant& quant, const QuantArgs& args) {
  if (args.strategy == "tensor") quant.group_size = 0;
  if (args.strategy == "channel" || args.strategy == "token") quant.group_size = -1;
  if (args.strategy == "group" || args.strategy == "tensor_group") quant.group_size = *args.group_size;
  if (args.strategy == "block") {
    quant.block_rows = args.block_structure->first;
    quant.group_size = args.block_structure->second;
  }
}

TensorQuant weight_quant(const QuantArgs& args, const std::string& where) {
  TensorQuant quant;
  quant.bits = args.num_bits;
  quant.sym = args.symmetric;
  set_group(quant, args);
  if (args.type == "int") {
    if (args.num_bits < 2 || args.num_bits > 8) refuse(where, args, "integers have 2 to 8 bits");
    if (args.strategy != "channel" && args.strategy != "group")
      refuse(where, args, "integer weights have strategy 'group' or 'channel'");
    return quant;
  }
  if (!args.symmetric) throw_unsupported(str(where, ": floats are symmetric; set symmetric: true"));
  if (is_nv(args)) {
    quant.data_type = "nv_fp";
  } else if (is_mx(args)) {
    quant.data_type = "mx_fp";
  } else if (args.num_bits == 8 && args.strategy != "tensor_group" && args.strategy != "attn_head") {
    quant.data_type = "fp";
  } else {
    refuse(where, args, "4-bit floats are NVFP4 (tensor_group 16) or MXFP4 (group 32)");
  }
  return quant;
}

TensorQuant input_quant(const QuantArgs& args, bool observed, const std::string& where) {
  TensorQuant quant;
  quant.bits = args.num_bits;
  quant.sym = args.symmetric;
  quant.dynamic = args.dynamic != Dynamic::no;
  set_group(quant, args);
  if (!quant.dynamic && args.strategy != "tensor") refuse(where, args, "static scales have strategy 'tensor'");
  if (!quant.dynamic && !args.symmetric)
    throw_unsupported(str(where, ": static asymmetric inputs are not available; set symmetric: true or dynamic: true"));
  if (observed && !quant.dynamic && args.observer == "minmax") quant.observer = "minmax";
  if (args.type == "int") {
    if (quant.dynamic && args.strategy == "tensor") refuse(where, args, "dynamic integers have strategy 'token'");
    return quant;
  }
  if (!args.symmetric) throw_unsupported(str(where, ": floats are symmetric; set symmetric: true"));
  if (is_nv(args))
    quant.data_type = "nv_fp4_with_static_gs";
  else if (is_mx(args))
    quant.data_type = "mx_fp";
  else if (args.num_bits == 8)
    quant.data_type = "fp";
  else
    refuse(where, args, "4-bit float inputs are NVFP4 (tensor_group 16) or MXFP4 (group 32)");
  if (quant.data_type == "nv_fp4_with_static_gs" && args.dynamic != Dynamic::local)
    throw_unsupported(str(where, ": NVFP4 inputs have a calibrated global scale; set dynamic: local"));
  return quant;
}

}  // namespace

LayerQuant layer_quant(const QuantScheme& scheme, bool observed, const std::string& weight_dtype,
                       const std::string& where) {
  LayerQuant quant;
  if (scheme.output_activations)
    throw_unsupported(str(where, ": output_activations are not available; leave them out"));
  if (!scheme.weights) {
    if (scheme.input_activations)
      throw_unsupported(str(where,
                            ": inputs without weights (attention quantization) are not available; give weights "
                            "too, or use kv_cache_scheme"));
    return quant;
  }
  quant.weight = weight_quant(*scheme.weights, where + ": weights");
  if (observed) {
    quant.weight.scale_dtype = weight_dtype;
    quant.weight.observer = scheme.weights->observer.value_or("").find("mse") == std::string::npos ? "minmax" : "mse";
  }
  if (scheme.input_activations)
    quant.act = input_quant(*scheme.input_activations, observed, where + ": input_activations");
  else
    quant.act.group_size = quant.weight.group_size;
  return quant;
}

}  // namespace arkit::oneshot
