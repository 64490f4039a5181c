#include "presets.h"

#include <algorithm>
#include <array>
#include <string>

#include <arkit/str.h>

#include "ggml_rows.h"

namespace arkit::gguf_k {
namespace {

std::string upper(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? char(c - 'a' + 'A') : c; });
  return out;
}

}  // namespace

std::vector<Preset> make_presets() {
  struct Named {
    std::string_view name;
    BlockType type;
  };
  static constexpr std::array<Named, 25> kFiles{
      {{"Q2_K", BlockType::q2_k},   {"Q2_K_S", BlockType::q2_k},   {"Q2_K_MIXED", BlockType::q2_k},
       {"Q3_K_S", BlockType::q3_k}, {"Q3_K_M", BlockType::q3_k},   {"Q3_K_L", BlockType::q3_k},
       {"Q4_0", BlockType::q4_0},   {"Q4_1", BlockType::q4_1},     {"Q4_K_S", BlockType::q4_k},
       {"Q4_K_M", BlockType::q4_k}, {"Q5_0", BlockType::q5_0},     {"Q5_1", BlockType::q5_1},
       {"Q5_K_S", BlockType::q5_k}, {"Q5_K_M", BlockType::q5_k},   {"Q6_K", BlockType::q6_k},
       {"Q8_0", BlockType::q8_0},   {"IQ4_NL", BlockType::iq4_nl}, {"IQ4_XS", BlockType::iq4_xs},
       {"Q4_K", BlockType::q4_k},   {"MXFP4", BlockType::mxfp4},   {"NVFP4", BlockType::nvfp4},
       {"TQ1_0", BlockType::tq1_0}, {"TQ2_0", BlockType::tq2_0},   {"Q3_K", BlockType::q3_k},
       {"Q5_K", BlockType::q5_k}}};
  std::vector<Preset> presets;
  for (const auto& [name, type] : kFiles) {
    Preset preset;
    preset.name = str("GGUF:", name);
    preset.summary = str("blocks of type ", upper(sdk::name_of(type)), ", as files called ", name, " have most");
    preset.quant.weight = sdk::quant_of(type);
    preset.quant.act.group_size = preset.quant.weight.group_size;
    presets.push_back(std::move(preset));
  }
  return presets;
}

}  // namespace arkit::gguf_k
