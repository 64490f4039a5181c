#include "gguf_types.h"

#include <algorithm>
#include <array>
#include <string>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::gguf_k {
namespace {

// In the order of BlockType.
constexpr std::array<std::string_view, 12> kNames{"q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "iq4_nl",
                                                  "q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "iq4_xs"};

std::string upper(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](char c) { return c >= 'a' && c <= 'z' ? char(c - 'a' + 'A') : c; });
  return out;
}

}  // namespace

std::span<const std::string_view> data_types() {
  return kNames;
}

std::string_view name_of(BlockType type) {
  return kNames.at(static_cast<size_t>(type));
}

std::optional<BlockType> find_type(std::string_view data_type) {
  const auto it = std::find(kNames.begin(), kNames.end(), data_type);
  if (it == kNames.end()) return std::nullopt;
  return static_cast<BlockType>(it - kNames.begin());
}

TensorQuant quant_of(BlockType type) {
  const BlockShape shape = shape_of(type);
  TensorQuant quant;
  quant.data_type = name_of(type);
  quant.bits = shape.bits;
  quant.group_size = shape.group;
  quant.sym = !shape.minima;
  quant.super_bits = shape.scale_bits;
  quant.super_group_size = shape.scale_bits > 0 ? shape.block / shape.group : 0;
  return quant;
}

std::vector<Preset> make_presets() {
  struct Named {
    std::string_view name;
    BlockType type;
  };
  static constexpr std::array<Named, 18> kFiles{{{"Q2_K", BlockType::q2_k},     {"Q2_K_S", BlockType::q2_k},
                                                 {"Q3_K_S", BlockType::q3_k},   {"Q3_K_M", BlockType::q3_k},
                                                 {"Q3_K_L", BlockType::q3_k},   {"Q4_0", BlockType::q4_0},
                                                 {"Q4_1", BlockType::q4_1},     {"Q4_K_S", BlockType::q4_k},
                                                 {"Q4_K_M", BlockType::q4_k},   {"Q5_0", BlockType::q5_0},
                                                 {"Q5_1", BlockType::q5_1},     {"Q5_K_S", BlockType::q5_k},
                                                 {"Q5_K_M", BlockType::q5_k},   {"Q6_K", BlockType::q6_k},
                                                 {"Q8_0", BlockType::q8_0},     {"IQ4_NL", BlockType::iq4_nl},
                                                 {"IQ4_XS", BlockType::iq4_xs}, {"Q4_K", BlockType::q4_k}}};
  std::vector<Preset> presets;
  for (const auto& [name, type] : kFiles) {
    Preset preset;
    preset.name = str("GGUF:", name);
    preset.summary = str("blocks of type ", upper(name_of(type)), ", as files called ", name, " have most");
    preset.quant.weight = quant_of(type);
    preset.quant.act.group_size = preset.quant.weight.group_size;
    presets.push_back(std::move(preset));
  }
  return presets;
}

}  // namespace arkit::gguf_k
