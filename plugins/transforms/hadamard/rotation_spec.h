#pragma once
// What --rotation asks for: a name or the fields of a JSON object (docs/spec/rotations.md 1), checked before anything
// is opened.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <arkit/export.h>

namespace arkit::rotation {

struct RotationSpec {
  enum class Kind {
    per_layer,  // docs/spec/rotations.md 4: the input of every quantized layer, in blocks, at run time
    model       // docs/spec/rotations.md 5: R1 to R4, fused into the weights where they can be
  };
  std::string text;  // as typed
  Kind kind = Kind::per_layer;
  uint64_t seed = 42;  // of random signs

  // per_layer
  std::optional<int64_t> block_size;  // unset = see block_size_for
  bool from_group_size = false;       // an object without block_size: the group size of the scheme, where it is usable
  bool random_signs = false;

  // model
  bool r1 = true, r2 = true, r3 = false, r4 = false;
  bool online_r1 = true;  // false: fused into the residual stream
  bool random_r1 = false, random_r2 = false, random_r4 = false;
  std::optional<int64_t> rotation_size;  // block of R1 and R4; unset = all features

  [[nodiscard]] bool fuses_r1() const noexcept { return kind == Kind::model && r1 && !online_r1; }
  // Does the model need something at run time?
  [[nodiscard]] bool online() const noexcept { return kind == Kind::per_layer || (r1 && online_r1) || r3 || r4; }
};

// Names --rotation takes, in the order to list them.
[[nodiscard]] const std::vector<std::string>& rotation_names();

// Throws ErrorCode::usage for an unknown name, field or value, ErrorCode::unsupported for what arkit does not do
// (training, random R3) naming what to use instead.
[[nodiscard]] RotationSpec parse_rotation(const std::string& text);

}  // namespace arkit::rotation
