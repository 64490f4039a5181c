#include "rotation_spec.h"

#include <algorithm>
#include <array>
#include <bit>
#include <string_view>

#include <arkit/error.h>
#include <arkit/json.h>
#include <arkit/str.h>

namespace arkit::rotation {
namespace {

using Kind = RotationSpec::Kind;

constexpr std::string_view kWhere = "rotation";
constexpr int64_t kLargestSize = int64_t{1} << 24;

[[noreturn]] void refuse_training() {
  throw_unsupported(
      "rotation 'spinquant' trains its matrices, which arkit does not do; use 'quarot', the same rotations with fixed "
      "Hadamard matrices");
}

RotationSpec fused(bool random_r1, bool random_r2) {
  RotationSpec spec;
  spec.kind = Kind::model;
  spec.online_r1 = false;
  spec.random_r1 = random_r1;
  spec.random_r2 = random_r2;
  return spec;
}

// The reference draws Q for the residual stream of "inplace_quarot_hadamard" too; the heads' matrices are fixed there.
RotationSpec named(const std::string& name) {
  if (name == "default" || name == "hadamard") return {};
  if (name == "random_hadamard") return {.random_signs = true};
  if (name == "quarot") return {.kind = Kind::model};
  if (name == "inplace_hadamard") return fused(false, false);
  if (name == "inplace_random") return fused(true, true);
  if (name == "inplace_quarot_hadamard" || name == "quarot_hadamard") return fused(true, false);
  if (name == "spinquant") refuse_training();
  throw_usage(
      unknown_name(kWhere, name, rotation_names(),
                   str("expected ", quoted_list(rotation_names()), " or a JSON object, see docs/ROTATIONS.md")));
}

// Reads fields and remembers which were asked for; whatever is left is unknown.
class Fields {
 public:
  explicit Fields(const json::Object& object) : object_(object) {}
  [[nodiscard]] bool has(std::string_view key) {
    known_.emplace_back(key);
    return json::find(object_, key) != nullptr;
  }
  bool flag(std::string_view key, bool fallback) {
    return has(key) ? *checked([&] { return json::get_bool(object_, key, kWhere); }) : fallback;
  }
  std::optional<int64_t> size(std::string_view key) {
    if (!has(key)) return std::nullopt;
    const int64_t value = *checked([&] { return json::get_int(object_, key, kWhere); });
    if (value < 2 || value > kLargestSize || !std::has_single_bit(static_cast<uint64_t>(value)))
      throw_usage(str("rotation: '", key, "' is ", value, ", expected a power of two, or none for all features"));
    return value;
  }
  std::string text(std::string_view key, const std::string& fallback) {
    return has(key) ? *checked([&] { return json::get_string(object_, key, kWhere); }) : fallback;
  }
  uint64_t seed() {
    if (!has("seed")) return RotationSpec{}.seed;
    const int64_t value = *checked([&] { return json::get_int(object_, "seed", kWhere); });
    if (value < 0) throw_usage(str("rotation: 'seed' is ", value, ", expected a number of at least 0"));
    return static_cast<uint64_t>(value);
  }
  void expect_nothing_else() const {
    for (const auto& member : object_) {
      const std::string key(member.key());
      if (std::find(known_.begin(), known_.end(), key) == known_.end())
        throw_usage(unknown_name("rotation field", key, known_, str("fields here: ", quoted_list(known_))));
    }
  }

 private:
  // A wrong type on the command line is not a damaged file.
  template <typename Read>
  static auto checked(const Read& read) -> decltype(read()) {
    try {
      return read();
    } catch (const Error& error) {
      throw_usage(error.what());
    }
  }
  const json::Object& object_;
  std::vector<std::string> known_;
};

// {"algorithm": "hadamard", "hadamard_type", "block_size", ...}
RotationSpec read_hadamard(Fields& fields, const std::string& algorithm) {
  RotationSpec spec = named(fields.text("hadamard_type", algorithm));
  const std::string backend = fields.text("backend", "auto");
  if (backend != "auto" && backend != "inplace" && backend != "transform")
    throw_usage(str("rotation: 'backend' is '", backend, "', expected auto, inplace or transform"));
  const bool fuse = fields.flag("fuse_online_to_weight", false) || backend == "inplace";
  if (fuse && spec.kind == Kind::per_layer) spec = fused(spec.random_signs, spec.random_signs);
  const auto block = fields.size("block_size");
  (spec.kind == Kind::model ? spec.rotation_size : spec.block_size) = block;
  spec.from_group_size = !block;
  const bool online = fields.flag("allow_online_rotation", true);
  if (!online && spec.kind == Kind::per_layer)
    throw_usage(
        "rotation: 'allow_online_rotation' is false, but a rotation of single layers happens at run time; use "
        "'inplace_hadamard', which is fused into the weights");
  (void)fields.flag("layerwise", false);  // layers are always rotated one by one as they are loaded
  spec.seed = fields.seed();
  return spec;
}

// {"algorithm": "spinquant" or "quarot", "r1" ... "r4", ...}
RotationSpec read_model_rotation(Fields& fields) {
  RotationSpec spec{.kind = Kind::model};
  if (fields.flag("trainable_rotation", false) || fields.flag("trainable_smooth", false)) refuse_training();
  spec.r1 = fields.flag("r1", spec.r1);
  spec.r2 = fields.flag("r2", spec.r2);
  spec.r3 = fields.flag("r3", spec.r3);
  spec.r4 = fields.flag("r4", spec.r4);
  spec.online_r1 = fields.flag("online_r1_rotation", spec.online_r1);
  spec.rotation_size = fields.size("rotation_size");
  spec.random_r1 = fields.flag("random_r1", false);
  spec.random_r2 = fields.flag("random_r2", false);
  if (fields.flag("random_r3", false))
    throw_unsupported(
        "rotation: 'random_r3' is recorded by no format, so its models could not be loaded; leave it out");
  spec.random_r4 = fields.flag("random_r4", false);
  for (const char* key : {"fuse_rmsnorm", "untie_embeddings"})
    if (!fields.flag(key, true) && spec.fuses_r1())
      throw_unsupported(str("rotation: '", key, "' is false, but R1 in the residual stream is only right with it"));
  (void)fields.flag("layerwise", false);
  spec.seed = fields.seed();
  for (const char* key : {"iters", "lr", "smooth_lr", "batch_size", "loss_type", "kl_top_k"})
    if (fields.has(key)) throw_unsupported(str("rotation: '", key, "' belongs to training, which arkit does not do"));
  if (!spec.r1 && !spec.r2 && !spec.r3 && !spec.r4) throw_usage("rotation: none of r1, r2, r3 and r4 is on");
  return spec;
}

RotationSpec read_object(const json::Object& object) {
  Fields fields(object);
  const std::string algorithm = fields.text("algorithm", "hadamard");
  const bool of_model = algorithm == "spinquant" || algorithm == "quarot";
  RotationSpec spec = of_model ? read_model_rotation(fields) : read_hadamard(fields, algorithm);
  fields.expect_nothing_else();
  return spec;
}

}  // namespace

const std::vector<std::string>& rotation_names() {
  static const std::vector<std::string> kNames = {
      "default",          "hadamard",       "random_hadamard",        "quarot",
      "inplace_hadamard", "inplace_random", "inplace_quarot_hadamard"};
  return kNames;
}

RotationSpec parse_rotation(const std::string& text) {
  RotationSpec spec;
  if (text.find('{') == std::string::npos) {
    spec = named(lower(text));
  } else {
    json::Value value;
    try {
      value = json::parse(text, "rotation");
    } catch (const Error& error) {
      throw_usage(error.what());
    }
    if (!value.is_object()) throw_usage("rotation: expected a name or a JSON object");
    spec = read_object(value.get_object());
  }
  spec.text = text;
  return spec;
}

}  // namespace arkit::rotation
