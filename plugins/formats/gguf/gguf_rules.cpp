#include "gguf_rules.h"

#include <algorithm>
#include <array>

#include <arkit/str.h>

namespace arkit::gguf {
namespace {

using sdk::BlockType;

constexpr std::array kKinds{FileKind{"q2_k", 10, BlockType::q2_k},       FileKind{"q2_k_s", 21, BlockType::q2_k},
                            FileKind{"q2_k_mixed", 21, BlockType::q2_k}, FileKind{"q3_k_s", 11, BlockType::q3_k},
                            FileKind{"q3_k_m", 12, BlockType::q3_k},     FileKind{"q3_k_l", 13, BlockType::q3_k},
                            FileKind{"q4_0", 2, BlockType::q4_0},        FileKind{"q4_1", 3, BlockType::q4_1},
                            FileKind{"q4_k_s", 14, BlockType::q4_k},     FileKind{"q4_k_m", 15, BlockType::q4_k},
                            FileKind{"q5_0", 8, BlockType::q5_0},        FileKind{"q5_1", 9, BlockType::q5_1},
                            FileKind{"q5_k_s", 16, BlockType::q5_k},     FileKind{"q5_k_m", 17, BlockType::q5_k},
                            FileKind{"q6_k", 18, BlockType::q6_k},       FileKind{"q8_0", 7, BlockType::q8_0},
                            FileKind{"iq4_nl", 25, BlockType::iq4_nl},   FileKind{"iq4_xs", 30, BlockType::iq4_xs},
                            FileKind{"tq1_0", 36, BlockType::tq1_0},     FileKind{"tq2_0", 37, BlockType::tq2_0},
                            FileKind{"mxfp4", 38, BlockType::mxfp4},     FileKind{"nvfp4", 39, BlockType::nvfp4}};

// Is this block one of those that get more bits: the first and the last eighth, and every third between?
bool is_favoured(int64_t block, int64_t blocks) {
  const int64_t eighth = blocks / 8;
  return block < eighth || block >= 7 * blocks / 8 || (block - eighth) % 3 == 2;
}

BlockType value_type(const FileKind& kind, const RuleModel& model, int64_t block) {
  const bool few_heads = model.heads / std::max<int64_t>(1, model.kv_heads) >= 4;
  BlockType type = kind.base;
  switch (kind.id) {
    case 10:
      type = few_heads ? BlockType::q4_k : BlockType::q3_k;
      break;
    case 21:
      type = few_heads ? BlockType::q4_k : BlockType::q2_k;
      break;
    case 12:
      type = block < 2 ? BlockType::q5_k : BlockType::q4_k;
      break;
    case 13:
      type = BlockType::q5_k;
      break;
    case 14:
      type = block < 4 ? BlockType::q5_k : BlockType::q4_k;
      break;
    case 15:
    case 17:
      type = is_favoured(block, model.blocks) ? BlockType::q6_k : kind.base;
      break;
    case 25:
    case 30:
      type = few_heads ? BlockType::q5_k : kind.base;
      break;
    default:
      break;
  }
  if (model.experts == 8) return BlockType::q8_0;  // little beside the experts
  // The models of 70 billion weights: eight value heads serve 64.
  const bool large = model.blocks == 80 && ((model.is_llama && model.heads != model.kv_heads) || model.is_qwen2);
  return large && (type == BlockType::q3_k || type == BlockType::q4_k) ? BlockType::q5_k : type;
}

BlockType down_type(const FileKind& kind, const RuleModel& model, int64_t block) {
  const bool first_eighth = block < model.blocks / 8;
  switch (kind.id) {
    case 2:
    case 8:
      // Without importance such blocks may do worse with a minimum than without.
      if (!model.importance || !first_eighth) return kind.base;
      return kind.base == BlockType::q4_0 ? BlockType::q4_1 : BlockType::q5_1;
    case 10:
      return BlockType::q3_k;
    case 21:
      return first_eighth ? BlockType::q4_k : BlockType::q2_k;
    case 12:
      if (block < model.blocks / 16) return BlockType::q5_k;
      return model.is_falcon && !is_favoured(block, model.blocks) ? BlockType::q3_k : BlockType::q4_k;
    case 13:
      return model.is_falcon ? BlockType::q4_k : BlockType::q5_k;
    case 14:
      return first_eighth && !model.is_falcon ? BlockType::q5_k : BlockType::q4_k;
    case 15:
      if (model.is_falcon && block >= model.blocks / 16)
        return is_favoured(block, model.blocks) ? BlockType::q5_k : BlockType::q4_k;
      [[fallthrough]];
    case 17:
      return is_favoured(block, model.blocks) ? BlockType::q6_k : kind.base;
    case 25:
    case 30:
      return first_eighth && !model.importance ? BlockType::q5_k : kind.base;
    default:
      return kind.base;
  }
}

// Files of 4-bit floats keep what lies outside the blocks in 8 bits.
bool is_of_floats(const FileKind& kind) {
  return kind.base == BlockType::mxfp4 || kind.base == BlockType::nvfp4;
}

BlockType embedding_type(const FileKind& kind) {
  if (is_of_floats(kind)) return BlockType::q8_0;
  return kind.base == BlockType::tq1_0 || kind.base == BlockType::tq2_0 ? BlockType::q4_k : kind.base;
}

BlockType attention_output_type(const FileKind& kind, const RuleModel& model) {
  if (model.is_falcon) return kind.id == 13 ? BlockType::q4_k : kind.base;
  if (model.experts == 8) {
    constexpr std::array<uint32_t, 7> kRaised{10, 11, 12, 14, 15, 25, 30};
    return std::find(kRaised.begin(), kRaised.end(), kind.id) == kRaised.end() ? kind.base : BlockType::q5_k;
  }
  switch (kind.id) {
    case 10:
      return BlockType::q3_k;
    case 12:
      return BlockType::q4_k;
    case 13:
      return BlockType::q5_k;
    default:
      return kind.base;
  }
}

}  // namespace

std::span<const FileKind> file_kinds() {
  return kKinds;
}

const FileKind* find_kind(std::string_view name) {
  const std::string wanted = lower(name);
  const auto it = std::find_if(kKinds.begin(), kKinds.end(), [&](const FileKind& kind) { return kind.name == wanted; });
  return it == kKinds.end() ? nullptr : &*it;
}

std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return out;
}

BlockType type_of_part(const FileKind& kind, const RuleModel& model, Part part, int64_t block) {
  switch (part) {
    case Part::output:
      if (model.is_falcon && model.rules == RuleSet::llama_cpp) return BlockType::q8_0;
      return kind.base == BlockType::q8_0 || is_of_floats(kind) ? BlockType::q8_0 : BlockType::q6_k;
    case Part::key:
      return model.experts == 8 ? BlockType::q8_0 : kind.base;
    case Part::value:
      return value_type(kind, model, block);
    case Part::down:
      return down_type(kind, model, block);
    case Part::attention_output:
      return attention_output_type(kind, model);
    case Part::embedding:
      return embedding_type(kind);
    case Part::other:
      return kind.base;
  }
  return kind.base;
}

std::optional<RuleSet> find_rules(std::string_view name) {
  for (const RuleSet rules : {RuleSet::llama_cpp, RuleSet::auto_round})
    if (lower(name) == name_of(rules)) return rules;
  return std::nullopt;
}

std::string_view name_of(RuleSet rules) {
  return rules == RuleSet::llama_cpp ? "llama.cpp" : "auto_round";
}

std::optional<BlockType> fitting_type(BlockType wanted, int64_t row, RuleSet rules) {
  if (row % shape_of(wanted).block == 0) return wanted;
  if (row % 32 != 0) return std::nullopt;
  const bool llama = rules == RuleSet::llama_cpp;
  switch (wanted) {
    case BlockType::q2_k:
    case BlockType::q3_k:
      return llama ? BlockType::q4_0 : BlockType::q5_0;
    case BlockType::tq1_0:
    case BlockType::tq2_0:
      return BlockType::q4_0;
    case BlockType::q4_k:
      return BlockType::q5_0;
    case BlockType::q5_k:
      return llama ? BlockType::q5_1 : BlockType::q5_0;
    case BlockType::q6_k:
      return BlockType::q8_0;
    default:
      return BlockType::iq4_nl;  // iq4_xs, nvfp4: those of 32 fit
  }
}

}  // namespace arkit::gguf
