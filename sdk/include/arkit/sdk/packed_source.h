#pragma once
// The reading half of the integer safetensors formats: a Hugging Face folder some of whose linear layers are packed.

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

namespace arkit::sdk {

// config.json's quantization_config if its quant_method is `method`, else null.
[[nodiscard]] const json::Object* quantization_config(const json::Object* config, std::string_view method);

// bits, group_size, sym, data_type and the act_* fields of `fields` over `base`. `what` names the place in errors.
// Throws ErrorCode::input for values out of range.
[[nodiscard]] LayerQuant read_scheme_fields(const json::Object& fields, LayerQuant base, const std::string& what);

enum class IntPacking { gptq_minus_one, gptq_direct, awq };

// The scheme of a layer, by its name.
using LayerScheme = std::function<LayerQuant(const std::string& layer)>;

// Finds every layer with a qweight, takes its scheme from `scheme_of`, and checks dtype and shape of all its tensors
// against it. `attention`: what the configuration says of static scales. The result owns `folder`. Throws
// ErrorCode::input naming the layer and tensor at fault.
[[nodiscard]] std::unique_ptr<ModelSource> open_packed_folder(std::unique_ptr<ModelSource> folder, std::string packing,
                                                              IntPacking layout, const LayerScheme& scheme_of,
                                                              const AttentionQuant& attention = {});

}  // namespace arkit::sdk
