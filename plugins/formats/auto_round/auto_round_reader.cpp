#include "auto_round_reader.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <arkit/error.h>
#include <arkit/regex.h>
#include <arkit/sdk/packed_source.h>
#include <arkit/str.h>

#include "packing.h"

namespace arkit::auto_round {
namespace {

constexpr std::string_view kMethod = "auto-round";

// extra_config: an exact layer name wins, then the first pattern that matches, then the global scheme.
class LayerSchemes {
 public:
  explicit LayerSchemes(const json::Object& config) {
    global_ = sdk::read_scheme_fields(config, LayerQuant{.weight = {.bits = 4}}, "quantization_config");
    const json::Value* extra = json::find(config, "extra_config");
    if (extra == nullptr) return;
    for (const auto& member : json::as_object(*extra, "'extra_config' of quantization_config")) {
      const std::string key(member.key());
      const std::string what = str("extra_config of '", printable(key), "'");
      LayerQuant quant = sdk::read_scheme_fields(json::as_object(member.value(), what), global_, what);
      if (key.find_first_of("*^$|()[]?+\\") != std::string::npos) patterns_.emplace_back(compile(key, what), quant);
      exact_.emplace(key, std::move(quant));
    }
  }

  [[nodiscard]] LayerQuant operator()(const std::string& layer) const {
    if (const auto found = exact_.find(layer); found != exact_.end()) return found->second;
    for (const auto& [regex, quant] : patterns_)
      if (regex->search(layer)) return quant;
    return global_;
  }

 private:
  static std::shared_ptr<Regex> compile(const std::string& pattern, const std::string& what) {
    try {
      return std::make_shared<Regex>(pattern, what);
    } catch (const Error& error) {  // the file's fault, not the command line's
      throw_input(error.what());
    }
  }

  LayerQuant global_;
  std::map<std::string, LayerQuant> exact_;
  std::vector<std::pair<std::shared_ptr<Regex>, LayerQuant>> patterns_;
};

sdk::IntPacking layout_of(Packing packing) {
  switch (packing) {
    case Packing::gptq:
      return sdk::IntPacking::gptq_minus_one;
    case Packing::awq:
      return sdk::IntPacking::awq;
    case Packing::plain:
    case Packing::gptqmodel:
      return sdk::IntPacking::gptq_direct;
  }
  return sdk::IntPacking::gptq_direct;
}

}  // namespace

const ReaderInfo& AutoRoundReader::info() const noexcept {
  static constexpr ReaderInfo kInfo{"auto_round", "folders written by AutoRound or arkit (quant_method auto-round)"};
  return kInfo;
}

Verdict AutoRoundReader::matches(const std::filesystem::path&, const json::Object* config) const {
  if (sdk::quantization_config(config, kMethod) == nullptr)
    return Verdict::no("its config.json has no quantization_config with quant_method auto-round");
  return Verdict::yes();
}

std::unique_ptr<ModelSource> AutoRoundReader::open(const std::filesystem::path& path) const {
  std::unique_ptr<ModelSource> folder = open_hf_folder(path);
  const json::Object* config = sdk::quantization_config(&folder->config(), kMethod);
  if (config == nullptr) throw_input(str("'", path.string(), "': has no quantization_config of auto-round"));
  const std::string name =
      json::get_string(*config, "packing_format", "quantization_config").value_or("auto_round:auto_gptq");
  const auto packing = packing_from_name(name);
  const LayerSchemes schemes(*config);
  if (!packing)
    throw_unsupported(str("'", path.string(), "': packing_format '", printable(name),
                          "' is not one of the integer packings ('auto_round', 'auto_round:auto_gptq', "
                          "'auto_round:gptqmodel', 'auto_round:auto_awq')"));
  return sdk::open_packed_folder(std::move(folder), std::string(packing_name(*packing)), layout_of(*packing), schemes);
}

}  // namespace arkit::auto_round
