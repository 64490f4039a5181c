#pragma once
// What numbers of a configuration may be: far above any model there is, far below what overflows a product of two.

#include <array>
#include <cstdint>
#include <string_view>

namespace arkit::sdk {

inline constexpr int64_t kMaxWidth = int64_t{1} << 22;
inline constexpr int64_t kMaxVocab = int64_t{1} << 26;
inline constexpr int64_t kMaxBlocks = 4096;
inline constexpr int64_t kMaxHeads = 65536;
inline constexpr int64_t kMaxPositions = int64_t{1} << 32;
inline constexpr double kMaxScale = 1e6;
inline constexpr double kMaxTheta = 1e15;

// Keys of config.json that a family may spell in its own way.
inline constexpr std::array<std::string_view, 10> kFamilyKeys = {
    "vocab_size",          "hidden_size", "intermediate_size",       "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "head_dim",    "max_position_embeddings", "rms_norm_eps",      "hidden_act"};

inline constexpr std::string_view kActivations = "silu, gelu, gelu_pytorch_tanh, gelu_new or relu";

}  // namespace arkit::sdk
