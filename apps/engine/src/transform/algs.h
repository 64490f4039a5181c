#pragma once
// What --algs says: transforms in their order, then how what they leave is rounded.

#include <optional>
#include <string>
#include <vector>

#include <arkit/engine/jobs.h>
#include <arkit/export.h>
#include <arkit/json.h>
#include <arkit/registry.h>

namespace arkit {

struct AlgChoice {
  std::string name;       // of a transform
  json::Object settings;  // complete
};

struct Algs {
  std::string rotation;  // what --rotation would say; empty = nothing
  std::vector<AlgChoice> transforms;
  std::optional<bool> tunes;  // signround or rtn; unset = --algs was not given
};

// "awq", "awq,signround", "awq{\"n_grid\": 40},rtn". Without a last word the rest is rounded (rtn), as in the reference.
// Throws ErrorCode::usage for what is no list of names, ErrorCode::unsupported for an unknown name.
[[nodiscard]] ARKIT_INTERNAL Algs parse_algs(const std::string& text, const Registry& registry);

// Sets iters to 0 where `algs` end in rounding, and the option of a transform of checkpoints they name. Throws ErrorCode::usage where the options say otherwise.
ARKIT_INTERNAL void apply_algs(const Algs& algs, QuantizeOptions& options);

}  // namespace arkit
