#pragma once
// The reading half of the integer safetensors formats: a Hugging Face folder some of whose linear layers are packed.

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/descriptors.h>
#include <arkit/json.h>
#include <arkit/model_source.h>
#include <arkit/scheme.h>
#include <arkit/sdk/packed_folder.h>

namespace arkit::sdk {

// config.json's quantization_config if its quant_method is `method`, else null.
[[nodiscard]] const json::Object* quantization_config(const json::Object* config, std::string_view method);

// Where a method's tools keep their configuration when config.json has none, and the key that tells such a file without
// quant_method for theirs.
struct StoredConfig {
  std::string_view method;
  std::vector<std::string_view> files;
  std::string_view tell_tale;
};

// The method's quantization_config: config.json's, else that of a file of its own. Nullopt when neither is there.
[[nodiscard]] std::optional<json::Object> stored_config(const std::filesystem::path& folder, const json::Object* config,
                                                        const StoredConfig& which);

// TensorQuant.group_size of a config that does not say: the shape of the scales does.
inline constexpr int64_t kGroupUnknown = -2;

// bits, group_size, sym, data_type and the act_* fields of `fields` over `base`. `what` names the place in errors.
// Throws ErrorCode::input for values out of range.
[[nodiscard]] LayerQuant read_scheme_fields(const json::Object& fields, LayerQuant base, const std::string& what);

enum class IntPacking { gptq_minus_one, gptq_direct, awq };

// The scheme of a layer, by its name.
using LayerScheme = std::function<LayerQuant(const std::string& layer)>;

// Finds every layer with a qweight, takes its scheme from `scheme_of`, and checks dtype and shape of all its tensors
// against it. `attention`: what the configuration says of static scales; `act_order`: that groups may be scattered
// (group_index.h). The result owns `folder`. Throws ErrorCode::input naming the layer and tensor at fault.
[[nodiscard]] std::unique_ptr<ModelSource> open_packed_folder(std::unique_ptr<ModelSource> folder, std::string packing,
                                                              IntPacking layout, const LayerScheme& scheme_of,
                                                              const AttentionQuant& attention = {},
                                                              bool act_order = false,
                                                              std::optional<PackedRotations> rotations = {});

}  // namespace arkit::sdk
