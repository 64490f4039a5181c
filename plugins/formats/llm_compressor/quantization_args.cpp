#include "quantization_args.h"

#include <utility>

#include <arkit/error.h>
#include <arkit/sdk/attention_scales.h>
#include <arkit/sdk/observer.h>
#include <arkit/str.h>

namespace arkit::llm_compressor {
namespace {

constexpr int64_t kLargestGroup = int64_t{1} << 32;

bool is_micro_scaled(Layout layout) {
  return layout == Layout::mxfp4 || layout == Layout::mxfp8;
}

bool is_nv(Layout layout) {
  return layout == Layout::nvfp4 || layout == Layout::nvfp4_e5m3;
}

std::string_view strategy_of(const TensorQuant& quant, bool activation, Layout layout) {
  if (is_nv(layout)) return "tensor_group";
  if (quant.block_rows > 0) return "block";
  if (quant.group_size == 0) return "tensor";
  if (quant.group_size == -1) return activation ? "token" : "channel";
  return "group";
}

json::Object args_of(const TensorQuant& quant, bool activation, Layout layout) {
  json::Object args;
  args["num_bits"] = quant.bits;
  args["type"] = quant.data_type == "int" ? "int" : "float";
  args["symmetric"] = quant.sym;
  const std::string_view strategy = strategy_of(quant, activation, layout);
  const bool grouped = strategy == "group" || strategy == "tensor_group";
  args["group_size"] = grouped ? json::Value(quant.group_size) : json::Value(nullptr);
  args["strategy"] = strategy;
  if (strategy == "block") args["block_structure"] = json::Array{quant.block_rows, quant.group_size};
  args["dynamic"] = activation && quant.dynamic;
  if (activation && is_nv(layout))
    args["dynamic"] = "local";  // block scales at run time, one global scale from the file
  if (is_micro_scaled(layout)) args["scale_dtype"] = "torch.uint8";
  if (layout == Layout::nvfp4) {
    args["scale_dtype"] = "torch.float8_e4m3fn";
    if (activation) args["observer"] = "static_minmax";
  }
  if (layout == Layout::nvfp4_e5m3) {
    args["actorder"] = nullptr;
    args["block_structure"] = nullptr;
    args["observer"] = "minmax";
    args["observer_kwargs"] = json::Object{};
  }
  return args;
}

std::string data_type_of(Layout layout, const std::string& type) {
  if (type == "int") return "int";
  if (is_micro_scaled(layout)) return "mx_fp";
  if (layout == Layout::nvfp4) return "nv_fp";
  if (layout == Layout::nvfp4_e5m3) return "nvfp4_v2";
  return "fp";
}

// block_structure [rows, columns], or the old spelling "128x128".
void read_block(const json::Object& args, TensorQuant& quant, const std::string& what) {
  const json::Value* block = json::find(args, "block_structure");
  if (block == nullptr || !block->is_array() || block->get_array().size() != 2)
    throw_input(str(what, ": strategy 'block' without a 'block_structure' of two numbers"));
  for (const json::Value& side : block->get_array())
    if (!side.is_int64() || side.get_int64() < 1 || side.get_int64() > kLargestGroup)
      throw_input(str(what, ": 'block_structure' ", json::dump(*block), ", expected two positive numbers"));
  quant.block_rows = block->get_array()[0].get_int64();
  quant.group_size = block->get_array()[1].get_int64();
}

TensorQuant read_tensor(const json::Object& args, bool activation, Layout layout, const std::string& what) {
  TensorQuant quant;
  const int64_t bits = json::get_int(args, "num_bits", what).value_or(8);
  if (bits < 2 || bits > 8) throw_input(str(what, ": 'num_bits' is ", bits, ", expected 2 to 8"));
  quant.bits = static_cast<int>(bits);
  quant.data_type = data_type_of(layout, json::get_string(args, "type", what).value_or("int"));
  quant.sym = json::get_bool(args, "symmetric", what).value_or(true);
  const int64_t group = json::get_int(args, "group_size", what).value_or(-1);
  if (group < -1 || group > kLargestGroup)
    throw_input(str(what, ": 'group_size' is ", group, ", expected -1 or a positive number"));
  const std::string strategy = json::get_string(args, "strategy", what)
                                   .value_or(group > 0    ? "group"
                                             : activation ? "tensor"
                                                          : "channel");
  if (strategy == "tensor") {
    quant.group_size = 0;
  } else if (strategy == "channel" || strategy == "token") {
    quant.group_size = -1;
  } else if (strategy == "block") {
    read_block(args, quant, what);
  } else if (strategy == "group" || strategy == "tensor_group") {
    if (group < 1) throw_input(str(what, ": strategy '", strategy, "' without a group_size"));
    quant.group_size = group;
  } else {
    throw_unsupported(str(what, ": strategy '", printable(strategy),
                          "' is not one of tensor, channel, token, group, tensor_group, block"));
  }
  // "local" and a value that is no bool both mean: computed when the model runs.
  const json::Value* dynamic = json::find(args, "dynamic");
  quant.dynamic = dynamic != nullptr && !(dynamic->is_bool() && !dynamic->get_bool());
  if (activation && (quant.data_type == "int" || is_micro_scaled(layout))) quant.observer = sdk::kCompressedTensors;
  return quant;
}

}  // namespace

json::Object weight_args(const LayerQuant& quant, Layout layout) {
  return args_of(quant.weight, false, layout);
}

json::Value activation_args(const LayerQuant& quant, Layout layout) {
  if (!quant.act.quantized()) return nullptr;
  return args_of(quant.act, true, layout);
}

json::Value attention_args(const TensorQuant& quant, bool per_head) {
  if (!quant.quantized()) return nullptr;
  const bool micro = quant.group_size > 0;
  json::Object args;
  args["num_bits"] = quant.bits;
  args["type"] = "float";
  args["symmetric"] = true;
  args["group_size"] = micro ? json::Value(quant.group_size) : json::Value(nullptr);
  args["strategy"] = micro ? "tensor_group" : per_head ? "attn_head" : "tensor";
  args["dynamic"] = micro ? json::Value("local") : json::Value(false);
  if (!micro) return args;
  args["scale_dtype"] = "torch.float8_e4m3fn";
  args["observer"] = "static_minmax";
  return args;
}

void read_attention_args(const json::Object& args, TensorQuant& quant, bool& per_head, const std::string& what) {
  const int64_t bits = json::get_int(args, "num_bits", what).value_or(8);
  const std::string type = json::get_string(args, "type", what).value_or("int");
  const std::string strategy = json::get_string(args, "strategy", what).value_or("tensor");
  const auto known = sdk::attention_type(bits == 4 ? "nvfp4" : "fp8");
  if (type != "float" || (bits != 8 && bits != 4))
    throw_unsupported(str(what, ": ", bits, "-bit '", printable(type),
                          "' keys and values are not read; known are 8-bit and 4-bit floats"));
  if (strategy != "tensor" && strategy != "attn_head" && strategy != "tensor_group")
    throw_unsupported(
        str(what, ": strategy '", printable(strategy), "' is not one of tensor, attn_head, tensor_group"));
  quant = *known;
  per_head = strategy == "attn_head";
}

LayerQuant read_args(const json::Object& group, Layout layout, const std::string& what) {
  const json::Value* weights = json::find(group, "weights");
  if (weights == nullptr) throw_unsupported(str(what, ": quantizes no weights"));
  LayerQuant quant;
  quant.weight = read_tensor(json::as_object(*weights, what + ": weights"), false, layout, what);
  const json::Value* inputs = json::find(group, "input_activations");
  if (inputs == nullptr) return quant;
  quant.act = read_tensor(json::as_object(*inputs, what + ": input_activations"), true, layout, what);
  if (layout == Layout::nvfp4) quant.act.data_type = "nv_fp4_with_static_gs";
  return quant;
}

}  // namespace arkit::llm_compressor
