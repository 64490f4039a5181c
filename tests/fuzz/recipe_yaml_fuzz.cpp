// Bytes as an llm-compressor recipe. Whatever is accepted names one of two modifiers, quantizes something and states
// only what a scheme can have.

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include <arkit/error.h>

#include "oneshot/layer_quant.h"
#include "oneshot/modifier.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace arkit;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const json::Value root = oneshot::parse_recipe_text(text, "fuzz.yaml", "recipe 'fuzz.yaml'");
    const oneshot::Recipe recipe = oneshot::resolve_recipe(oneshot::read_document(root, "recipe 'fuzz.yaml'"));
    const oneshot::Modifier& m = recipe.modifier;
    if (m.type != (m.tunes ? "AutoRoundModifier" : "QuantizationModifier")) std::abort();
    if ((m.schemes.empty() && !m.kv_cache) || m.iters < 0 || m.batch_size < 1) std::abort();
    for (const oneshot::QuantScheme& scheme : m.schemes) {
      const LayerQuant quant = oneshot::layer_quant(scheme, !m.tunes, "bfloat16", "recipe");
      if (quant.weight.quantized() && (quant.weight.bits < 2 || quant.weight.group_size < -1)) std::abort();
    }
  } catch (const Error&) {  // refused: fine
  }
  return 0;
}
