#include "auto_gptq_reader.h"

#include <arkit/error.h>
#include <arkit/sdk/packed_source.h>
#include <arkit/str.h>

#include "dynamic.h"

namespace arkit::auto_gptq {
namespace {

constexpr std::string_view kMethod = "gptq";
constexpr const char* kWhat = "quantization_config";

// Zero points are stored minus one unless the checkpoint says it is version 2.
bool direct_zeros(const json::Object& config) {
  for (const char* key : {"checkpoint_format", "format"})
    if (const auto format = json::get_string(config, key, kWhat)) return *format == "gptq_v2";
  return false;
}

}  // namespace

const ReaderInfo& AutoGptqReader::info() const noexcept {
  static constexpr ReaderInfo kInfo{"auto_gptq", "GPTQ checkpoints (quant_method gptq)"};
  return kInfo;
}

Verdict AutoGptqReader::matches(const std::filesystem::path&, const json::Object* config) const {
  if (sdk::quantization_config(config, kMethod) == nullptr)
    return Verdict::no("its config.json has no quantization_config with quant_method gptq");
  return Verdict::yes();
}

std::unique_ptr<ModelSource> AutoGptqReader::open(const std::filesystem::path& path) const {
  std::unique_ptr<ModelSource> folder = open_hf_folder(path);
  const json::Object* config = sdk::quantization_config(&folder->config(), kMethod);
  if (config == nullptr) throw_input(str("'", path.string(), "': has no quantization_config of gptq"));
  const LayerQuant global = sdk::read_scheme_fields(*config, LayerQuant{.weight = {.bits = 4}}, kWhat);
  const DynamicRules rules(*config, global);
  const bool direct = direct_zeros(*config);
  return sdk::open_packed_folder(std::move(folder), direct ? "gptq_v2" : "gptq",
                                 direct ? sdk::IntPacking::gptq_direct : sdk::IntPacking::gptq_minus_one, rules);
}

}  // namespace arkit::auto_gptq
