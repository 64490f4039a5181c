#include "hf_texts.h"

#include <arkit/error.h>
#include <arkit/sdk/quant_config.h>
#include <arkit/str.h>

namespace arkit::sdk {
namespace {

void set_dtype(json::Object& config, const std::string& name, bool both) {
  const bool has_new = config.contains("dtype");
  const bool has_old = config.contains("torch_dtype");
  if (has_new || both) config["dtype"] = name;
  // Every transformers release reads the old spelling; it is the one to add where the source has neither.
  if (has_old || both || !has_new) config["torch_dtype"] = name;
}

}  // namespace

json::Object export_config(const ExportRequest& request, const HfFormat& format) {
  json::Object config = request.source.config();
  for (const char* old : {"quantization_config", "quantization"}) config.erase(old);  // mlx keeps it in the latter
  // Without a model family nothing was cast: what the source says of its dtype still holds, unless its format said it.
  if (!request.run.model_free || request.run.converted || format.declared_dtype)
    set_dtype(config, dtype_name(format.declared_dtype.value_or(request.model_dtype)),
              format.declared_dtype.has_value());
  if (!format.quantization_config.empty()) config["quantization_config"] = format.quantization_config;
  if (format.edit_config) format.edit_config(config);
  return config;
}

std::string export_generation_config(const std::string& text) {
  json::Value value = json::parse(text, "'generation_config.json'", true);
  if (!value.is_object()) throw_input("'generation_config.json': is not an object; copy it again");
  value.get_object()["do_sample"] = true;
  return json::dump(value, 2) + "\n";
}

}  // namespace arkit::sdk
