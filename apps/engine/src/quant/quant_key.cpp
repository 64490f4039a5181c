#include "quant/quant_key.h"

namespace arkit {

json::Array quant_key(const TensorQuant& quant) {
  return {quant.data_type, quant.bits,        quant.group_size, quant.block_rows,       quant.sym,
          quant.dynamic,   quant.scale_dtype, quant.super_bits, quant.super_group_size, quant.observer};
}

json::Array quant_key(const LayerQuant& quant) {
  return {quant_key(quant.weight), quant_key(quant.act), quant.rotation};
}

}  // namespace arkit
