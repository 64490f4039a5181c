#include "auto_awq_reader.h"

#include <arkit/error.h>
#include <arkit/sdk/packed_source.h>
#include <arkit/str.h>

namespace arkit::auto_awq {
namespace {

constexpr std::string_view kMethod = "awq";
constexpr const char* kWhat = "quantization_config";

// AutoAWQ's own files say w_bit and q_group_size; whether zero points vary is "zero_point", true unless said otherwise.
LayerQuant read_scheme(const json::Object& config) {
  json::Object fields = config;
  if (!fields.contains("bits") && fields.contains("w_bit")) fields["bits"] = fields.at("w_bit");
  if (!fields.contains("group_size") && fields.contains("q_group_size"))
    fields["group_size"] = fields.at("q_group_size");
  fields["sym"] = !json::get_bool(config, "zero_point", kWhat).value_or(true);
  return sdk::read_scheme_fields(fields, LayerQuant{.weight = {.bits = 4}}, kWhat);
}

}  // namespace

const ReaderInfo& AutoAwqReader::info() const noexcept {
  static constexpr ReaderInfo kInfo{"auto_awq", "AWQ checkpoints of the gemm layout (quant_method awq)"};
  return kInfo;
}

Verdict AutoAwqReader::matches(const std::filesystem::path&, const json::Object* config) const {
  if (sdk::quantization_config(config, kMethod) == nullptr)
    return Verdict::no("its config.json has no quantization_config with quant_method awq");
  return Verdict::yes();
}

std::unique_ptr<ModelSource> AutoAwqReader::open(const std::filesystem::path& path) const {
  std::unique_ptr<ModelSource> folder = open_hf_folder(path);
  const json::Object* config = sdk::quantization_config(&folder->config(), kMethod);
  if (config == nullptr) throw_input(str("'", path.string(), "': has no quantization_config of awq"));
  const std::string version = json::get_string(*config, "version", kWhat).value_or("gemm");
  if (lower(version) != "gemm")
    throw_unsupported(str("'", path.string(), "': AWQ version '", printable(version), "' is not read, only 'gemm'"));
  const LayerQuant scheme = read_scheme(*config);
  return sdk::open_packed_folder(std::move(folder), "awq", sdk::IntPacking::awq,
                                 [scheme](const std::string&) { return scheme; });
}

}  // namespace arkit::auto_awq
