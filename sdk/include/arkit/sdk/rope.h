#pragma once
// Rotary position embedding tables for every rope_type of docs/spec/decoder.md 4, and the reading of old and new config
// layouts.

#include <cstdint>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include <arkit/json.h>
#include <arkit/model_layout.h>

namespace arkit::sdk {

// What a configuration says of its rotary embedding, as transformers 5 chooses: rope_scaling, whole, if there is anything
// in it, else rope_parameters; null where neither is an object. Points into `config`.
[[nodiscard]] const json::Object* counting_rope(const json::Object& config);

// The one-dict layout of transformers 5 made from either layout: rope_parameters, or rope_theta + rope_scaling +
// partial_rotary_factor at top level. The result always has rope_type and rope_theta. Where there is a set for each
// kind of layer, that of `kind` ("sliding_attention"); without one they must be equal, or ErrorCode::unsupported.
[[nodiscard]] json::Object normalise_rope(const json::Object& config, double default_theta, std::string_view what,
                                          std::string_view kind = {});
// Is there a set of this kind?
[[nodiscard]] bool has_rope_of_kind(const json::Object& config, std::string_view kind);

// Checks and reads a normalised dict. Throws ErrorCode::unsupported for an unknown rope_type, ErrorCode::input for
// values that make no sense. `partial` = whether `default` honours partial_rotary_factor (phi3 does, llama does not).
[[nodiscard]] Rope read_rope(const json::Object& rope_parameters, int64_t head_dim, int64_t max_positions, bool partial,
                             std::string_view what);

struct RopeFrequencies {
  at::Tensor inv_freq;  // f32 [dim / 2]
  double attention_factor = 1.0;
};

// `length` is the largest position of the call + 1; only `dynamic` and `longrope` look at it. Unlike the reference,
// `dynamic` keeps no memory of longer calls: equal inputs give equal outputs.
[[nodiscard]] RopeFrequencies rope_frequencies(const Rope& config, int64_t length);
[[nodiscard]] bool rope_depends_on_length(const Rope& config) noexcept;

struct RopeTables {
  at::Tensor cos, sin;  // [rows, seqlen, dim / 2] in `dtype`; rows is 1 when all of the batch shares the positions
};

// position_ids int64 [rows, seqlen].
[[nodiscard]] RopeTables rope_tables(const RopeFrequencies& frequencies, const at::Tensor& position_ids,
                                     at::ScalarType dtype);

}  // namespace arkit::sdk
