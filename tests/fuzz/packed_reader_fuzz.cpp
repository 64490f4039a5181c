// A packed export: config.json, a line "----", and the header of model.safetensors, whose tensors are filled with a
// pattern. Every reader that claims it opens it, and what it promises can be unpacked, loaded or refused.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/json.h>
#include <arkit/model_source.h>
#include <arkit/registry.h>
#include <arkit/scheme.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/str.h>

#include "fuzz_file.h"

namespace {

using namespace arkit;

constexpr std::string_view kBreak = "\n----\n";
constexpr int64_t kMostBytes = int64_t{1} << 20;

const Registry& readers() {
  static const Registry registry = [] {
    PluginSearch search;
    for (const char* name : {"auto_round", "auto_gptq", "auto_awq", "fp8", "llm_compressor", "mlx"})
      search.named.emplace_back(str(ARKIT_PLUGIN_BUILD_DIR, "/libarkit_exporter_", name, ".so"));
    return Registry(search);
  }();
  return registry;
}

// Where the last tensor ends, as far as the header says so; the readers check it.
int64_t data_bytes(std::string_view header) {
  int64_t end = 0;
  try {
    const json::Value parsed = json::parse(header, "header");
    for (const auto& [name, entry] : json::as_object(parsed, "header"))
      if (const json::Value* offsets = entry.is_object() ? entry.get_object().if_contains("data_offsets") : nullptr)
        if (offsets->is_array() && offsets->get_array().size() == 2 && offsets->get_array()[1].is_int64())
          end = std::max(end, offsets->get_array()[1].get_int64());
  } catch (const Error&) {  // the readers say what is wrong
  }
  return std::clamp<int64_t>(end, 0, kMostBytes);
}

std::string safetensors(std::string_view header) {
  uint64_t size = header.size();
  std::string file(sizeof size, '\0');
  std::memcpy(file.data(), &size, sizeof size);
  file += header;
  const int64_t bytes = data_bytes(header);
  for (int64_t i = 0; i < bytes; ++i) file += static_cast<char>(i % 61);
  return file;
}

void read(const ModelReader& reader, const std::filesystem::path& folder) {
  const auto source = reader.open(folder);
  for (const LinearSpec& spec : sdk::packed_layers(*source)) {
    try {
      const QuantizedWeight weight = sdk::packed_of(*source).unpack(spec.name);
      if (weight.codes.defined() && weight.codes.numel() < spec.out_features * spec.in_features) std::abort();
    } catch (const Error&) {  // refused: fine
    }
  }
  for (const TensorInfo& tensor : source->weights().tensors()) {
    try {
      (void)source->weights().load(tensor.name);
    } catch (const Error&) {  // refused: fine
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t at = text.find(kBreak);
  if (at == std::string_view::npos) return 0;
  const fuzz::File config("config.json", text.substr(0, at));
  const fuzz::File weights("model.safetensors", safetensors(text.substr(at + kBreak.size())));
  try {
    const json::Value value = json::read_file(config.path());
    const json::Object& object = json::as_object(value, "config");
    for (const std::string& name : readers().names(Kind::reader)) {
      const ModelReader& reader = readers().reader(name);
      if (!reader.matches(config.path().parent_path(), &object)) continue;
      try {
        read(reader, config.path().parent_path());
      } catch (const Error&) {  // refused: fine
      }
    }
  } catch (const Error&) {  // no configuration
  }
  return 0;
}
