#include "auto_awq_reader.h"

#include <arkit/error.h>
#include <arkit/sdk/packed_source.h>
#include <arkit/str.h>

namespace arkit::auto_awq {
namespace {

constexpr std::string_view kMethod = "awq";
constexpr const char* kWhat = "quantization_config";
const sdk::StoredConfig kStored{kMethod, {"quant_config.json", "quantize_config.json"}, "w_bit"};

// AutoAWQ's own files say w_bit and q_group_size; whether zero points vary is "zero_point", true unless said otherwise.
LayerQuant read_scheme(const json::Object& config) {
  json::Object fields = config;
  if (!fields.contains("bits") && fields.contains("w_bit")) fields["bits"] = fields.at("w_bit");
  if (!fields.contains("group_size") && fields.contains("q_group_size"))
    fields["group_size"] = fields.at("q_group_size");
  fields["sym"] = !json::get_bool(config, "zero_point", kWhat).value_or(true);
  const LayerQuant unsaid{.weight = {.bits = 4, .group_size = sdk::kGroupUnknown}};
  return sdk::read_scheme_fields(fields, unsaid, kWhat);
}

}  // namespace

const ReaderInfo& AutoAwqReader::info() const noexcept {
  static constexpr ReaderInfo kInfo{"auto_awq", "AWQ checkpoints of the gemm layout (quant_method awq)"};
  return kInfo;
}

Verdict AutoAwqReader::matches(const std::filesystem::path& path, const json::Object* config) const {
  if (!sdk::stored_config(path, config, kStored))
    return Verdict::no("it has no quantization_config with quant_method awq, nor a quant_config.json");
  return Verdict::yes();
}

std::unique_ptr<ModelSource> AutoAwqReader::open(const std::filesystem::path& path) const {
  std::unique_ptr<ModelSource> folder = open_hf_folder(path);
  const auto config = sdk::stored_config(path, &folder->config(), kStored);
  if (!config) throw_input(str("'", path.string(), "': has no quantization_config of awq"));
  const std::string version = json::get_string(*config, "version", kWhat).value_or("gemm");
  if (lower(version) != "gemm")
    throw_unsupported(str("'", path.string(), "': AWQ version '", printable(version),
                          "' is not read, only 'gemm'; save the model again as gemm"));
  const LayerQuant scheme = read_scheme(*config);
  return sdk::open_packed_folder(std::move(folder), "awq", sdk::IntPacking::awq,
                                 [scheme](const std::string&) { return scheme; });
}

}  // namespace arkit::auto_awq
