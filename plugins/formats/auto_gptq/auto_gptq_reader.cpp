#include "auto_gptq_reader.h"

#include <arkit/error.h>
#include <arkit/sdk/packed_source.h>
#include <arkit/str.h>

#include "dynamic.h"

namespace arkit::auto_gptq {
namespace {

constexpr std::string_view kMethod = "gptq";
constexpr const char* kWhat = "quantization_config";

const sdk::StoredConfig kStored{kMethod, {"quantize_config.json"}, "bits"};

// Zero points are stored minus one unless the checkpoint says it is version 2. Other layouts exist under this method.
bool direct_zeros(const json::Object& config, const std::filesystem::path& path) {
  bool direct = false;
  for (const char* key : {"checkpoint_format", "format"}) {
    const auto format = json::get_string(config, key, kWhat);
    if (!format) continue;
    if (*format != "gptq" && *format != "gptq_v2")
      throw_unsupported(str("'", path.string(), "': ", key, " '", printable(*format),
                            "' is not read, only gptq and gptq_v2; save it again in one of these"));
    direct = *format == "gptq_v2";
    break;
  }
  const auto words = json::get_string(config, "pack_dtype", kWhat);
  if (words && *words != "int32")
    throw_unsupported(str("'", path.string(), "': pack_dtype '", printable(*words), "' is not read, only int32"));
  return direct;
}

}  // namespace

const ReaderInfo& AutoGptqReader::info() const noexcept {
  static constexpr ReaderInfo kInfo{"auto_gptq", "GPTQ checkpoints (quant_method gptq)"};
  return kInfo;
}

Verdict AutoGptqReader::matches(const std::filesystem::path& path, const json::Object* config) const {
  if (!sdk::stored_config(path, config, kStored))
    return Verdict::no("it has no quantization_config with quant_method gptq, nor a quantize_config.json");
  return Verdict::yes();
}

std::unique_ptr<ModelSource> AutoGptqReader::open(const std::filesystem::path& path) const {
  std::unique_ptr<ModelSource> folder = open_hf_folder(path);
  const auto config = sdk::stored_config(path, &folder->config(), kStored);
  if (!config) throw_input(str("'", path.string(), "': has no quantization_config of gptq"));
  const LayerQuant unsaid{.weight = {.bits = 4, .group_size = sdk::kGroupUnknown}};
  const DynamicRules rules(*config, sdk::read_scheme_fields(*config, unsaid, kWhat));
  const bool direct = direct_zeros(*config, path);
  const bool act_order = json::get_bool(*config, "desc_act", kWhat).value_or(false);
  return sdk::open_packed_folder(std::move(folder), direct ? "gptq_v2" : "gptq",
                                 direct ? sdk::IntPacking::gptq_direct : sdk::IntPacking::gptq_minus_one, rules, {},
                                 act_order);
}

}  // namespace arkit::auto_gptq
