#include <arkit/sdk/rope.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/fixed_order.h>
#include <arkit/sdk/config_reader.h>
#include <arkit/str.h>

#include "fixed_kernels.h"

namespace arkit::sdk {
namespace {

constexpr double kMaxTheta = 1e15;  // the largest base in use is 1e9 .. 1e11
constexpr double kMaxFactor = 1e6;  // context extensions are below 1000
constexpr int64_t kMaxLength = int64_t{1} << 32;
constexpr std::array<std::string_view, 7> kTypes = {"default", "linear",   "dynamic",     "llama3",
                                                    "yarn",    "longrope", "proportional"};

// f32 on purpose, operation by operation as the reference: double differs in the last bit, which shows in bf16 tables
// at large positions (docs/spec/decoder.md 4).
at::Tensor powers_of_base(double base, int64_t dim) {
  const at::Tensor exponent = at::arange(0, dim, 2, at::kFloat) / static_cast<double>(dim);
  if (!FixedOrder::active()) return at::pow(base, exponent);
  at::Tensor powers = at::empty_like(exponent);
  kernels::fixed_powers(base, exponent.const_data_ptr<float>(), powers.mutable_data_ptr<float>(), exponent.numel());
  return powers;
}

at::Tensor llama3_frequencies(const Rope& c, const at::Tensor& f) {
  const double o = static_cast<double>(c.original_max_positions);
  const at::Tensor wavelength = 2.0 * std::numbers::pi / f;
  const double longest = o / c.low_freq_factor, shortest = o / c.high_freq_factor;
  const at::Tensor smooth = (o / wavelength - c.low_freq_factor) / (c.high_freq_factor - c.low_freq_factor);
  const at::Tensor between = (1.0 - smooth) * f / c.factor + smooth * f;
  const at::Tensor scaled = at::where(wavelength > longest, f / c.factor, f);
  return at::where((wavelength >= shortest).logical_and(wavelength <= longest), between, scaled);
}

double yarn_mscale(double scale, double mscale) {
  return scale <= 1.0 ? 1.0 : 0.1 * mscale * std::log(scale) + 1.0;
}

RopeFrequencies yarn_frequencies(const Rope& c) {
  const double dim = static_cast<double>(c.dim), o = static_cast<double>(c.original_max_positions);
  const auto correction = [&](double rotations) {
    return dim * std::log(o / (rotations * 2.0 * std::numbers::pi)) / (2.0 * std::log(c.theta));
  };
  double low = correction(c.beta_fast), high = correction(c.beta_slow);
  if (c.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1.0);
  if (low == high) high += 0.001;
  const at::Tensor ramp = ((at::arange(c.dim / 2, at::kFloat) - low) / (high - low)).clamp(0, 1);
  const at::Tensor keep = 1.0 - ramp;  // share of the unscaled frequency
  const at::Tensor powers = powers_of_base(c.theta, c.dim);
  RopeFrequencies out;
  out.inv_freq = (1.0 / (c.factor * powers)) * (1.0 - keep) + (1.0 / powers) * keep;
  if (c.attention_factor)
    out.attention_factor = *c.attention_factor;
  else if (c.mscale.value_or(0.0) != 0.0 && c.mscale_all_dim.value_or(0.0) != 0.0)
    out.attention_factor = yarn_mscale(c.factor, *c.mscale) / yarn_mscale(c.factor, *c.mscale_all_dim);
  else
    out.attention_factor = yarn_mscale(c.factor, 1.0);
  return out;
}

RopeFrequencies longrope_frequencies(const Rope& c, int64_t length) {
  const std::vector<double>& extension = length > c.original_max_positions ? c.long_factor : c.short_factor;
  std::vector<float> ext(extension.begin(), extension.end());
  RopeFrequencies out;
  out.inv_freq = 1.0 / (at::tensor(ext, at::kFloat) * powers_of_base(c.theta, c.dim));
  if (c.attention_factor)
    out.attention_factor = *c.attention_factor;
  else if (c.factor > 1.0)
    out.attention_factor =
        std::sqrt(1.0 + std::log(c.factor) / std::log(static_cast<double>(c.original_max_positions)));
  return out;
}

at::Tensor dynamic_frequencies(const Rope& c, int64_t length) {
  const double n = static_cast<double>(std::max(length, c.max_positions)), m = static_cast<double>(c.max_positions);
  const double dim = static_cast<double>(c.dim);
  const double base = c.theta * std::pow(c.factor * n / m - (c.factor - 1.0), dim / (dim - 2.0));
  return 1.0 / powers_of_base(base, c.dim);
}

at::Tensor proportional_frequencies(const Rope& c) {
  const int64_t half = c.head_dim / 2;
  const int64_t rotating = static_cast<int64_t>(c.partial_rotary_factor * static_cast<double>(half));
  at::Tensor f = (1.0 / powers_of_base(c.theta, c.head_dim)) / c.factor;
  f.slice(0, rotating, half).zero_();
  return f;
}

std::vector<double> read_factors(const json::Object& rope, std::string_view key, int64_t count, std::string_view what) {
  const json::Value* value = json::find(rope, key);
  if (value == nullptr) throw_input(str(what, ": rope type 'longrope' needs '", key, "'"));
  const json::Array& items = json::as_array(*value, str(what, ": '", key, "'"));
  if (static_cast<int64_t>(items.size()) != count)
    throw_input(str(what, ": '", key, "' has ", items.size(), " entries; expected ", count));
  std::vector<double> out;
  for (const json::Value& item : items) {
    const double factor = item.is_number() ? item.to_number<double>() : 0.0;
    if (!(factor > 0.0 && factor < kMaxFactor))
      throw_input(str(what, ": '", key, "' holds an entry that is not a positive number"));
    out.push_back(factor);
  }
  return out;
}

bool uses_original_length(std::string_view type) {
  return type == "llama3" || type == "yarn" || type == "longrope";
}

// As the reference's `or`: 0 stands for the default.
double number_or(const ConfigReader& in, std::string_view key, double fallback) {
  const double given = in.number(key, fallback, 0.0, kMaxFactor);
  return given == 0.0 ? fallback : given;
}

// What positions are stretched by: no type has a default for it, but two take the ratio of the lengths.
double read_factor(const json::Object& rope, const Rope& c, const ConfigReader& in) {
  if (c.type == "default") return 1.0;
  const bool is_null = rope.contains("factor") && json::find(rope, "factor") == nullptr;
  if (json::find(rope, "factor") == nullptr && (c.type == "longrope" || (c.type == "yarn" && is_null)))
    return static_cast<double>(c.max_positions) / static_cast<double>(c.original_max_positions);
  if (json::find(rope, "factor") == nullptr && c.type != "proportional")
    throw_input(
        str(in.what(), ": rope type '", c.type, "' needs 'factor'; say how much longer than before texts may be"));
  return in.number("factor", 1.0, 1e-3, kMaxFactor);
}

void set_default(json::Object& object, std::string_view key, const json::Value* value) {
  if (json::find(object, key) == nullptr && value != nullptr) object[key] = *value;
}

// transformers 5 may keep a set for each kind of layer: that of `kind`, or the one that all share.
json::Object set_for(const json::Object& given, std::string_view kind, std::string_view what) {
  if (!kind.empty())
    if (const json::Value* own = json::find(given, kind); own != nullptr && own->is_object()) return own->get_object();
  const json::Object* first = nullptr;
  for (const auto& entry : given) {
    if (!entry.value().is_object()) continue;
    if (first != nullptr && *first != entry.value().get_object())
      throw_unsupported(str(what, ": rope parameters differ between kinds of layers ('", printable(entry.key()),
                            "' has its own); this family is known with one set for all"));
    first = &entry.value().get_object();
  }
  return first == nullptr ? given : *first;
}

}  // namespace

const json::Object* counting_rope(const json::Object& config) {
  const auto object = [&config](std::string_view key) -> const json::Object* {
    const json::Value* found = json::find(config, key);
    return found == nullptr ? nullptr : found->if_object();
  };
  const json::Object* scaling = object("rope_scaling");
  return scaling != nullptr && !scaling->empty() ? scaling : object("rope_parameters");
}

bool has_rope_of_kind(const json::Object& config, std::string_view kind) {
  const json::Object* rope = counting_rope(config);
  const json::Value* own = rope == nullptr ? nullptr : json::find(*rope, kind);
  return own != nullptr && own->is_object();
}

json::Object normalise_rope(const json::Object& config, double default_theta, std::string_view what,
                            std::string_view kind) {
  json::Object rope;
  // One of the two counts, whole: rope_scaling, if there is anything in it.
  const json::Value* given = json::find(config, "rope_scaling");
  if (given == nullptr || (given->is_object() && given->get_object().empty()))
    given = json::find(config, "rope_parameters");
  if (given != nullptr) rope = set_for(json::as_object(*given, str(what, ": rope parameters")), kind, what);
  set_default(rope, "rope_theta", json::find(config, "rope_theta"));
  const json::Value fallback(default_theta), plain("default");
  set_default(rope, "rope_theta", &fallback);
  set_default(rope, "partial_rotary_factor", json::find(config, "partial_rotary_factor"));
  set_default(rope, "rope_type", json::find(rope, "type"));
  set_default(rope, "rope_type", &plain);
  if (json::get_string(rope, "rope_type", what) == "mrope") rope["rope_type"] = "default";
  if (json::get_string(rope, "rope_type", what) == "su") rope["rope_type"] = "longrope";
  if (uses_original_length(json::get_string(rope, "rope_type", what).value_or(""))) {
    const json::Value* top = json::find(config, "original_max_position_embeddings");
    if (top != nullptr) rope["original_max_position_embeddings"] = *top;
    set_default(rope, "original_max_position_embeddings", json::find(config, "max_position_embeddings"));
  }
  return rope;
}

Rope read_rope(const json::Object& rope_parameters, int64_t head_dim, int64_t max_positions, bool partial,
               std::string_view what) {
  const ConfigReader in(rope_parameters, str(what, ": rope parameters"));
  Rope c;
  c.type = in.text("rope_type", "default");
  if (std::find(kTypes.begin(), kTypes.end(), c.type) == kTypes.end())
    throw_unsupported(
        unknown_name("rope type", c.type, std::vector<std::string>(kTypes.begin(), kTypes.end()), str("from ", what)));
  c.head_dim = head_dim;
  c.max_positions = max_positions;
  c.theta = in.number("rope_theta", 10000.0, 1.0 + 1e-6, kMaxTheta);
  c.partial_rotary_factor = in.number("partial_rotary_factor", 1.0, 1e-3, 1.0);
  const bool whole = c.type == "proportional" || (c.type == "default" && !partial);
  c.dim = whole ? head_dim : static_cast<int64_t>(static_cast<double>(head_dim) * c.partial_rotary_factor);
  if (c.dim < 2 || c.dim % 2 != 0 || (c.type == "dynamic" && c.dim < 4))
    throw_input(str(in.what(), ": ", c.dim, " rotating channels of head_dim ", head_dim, "; expected an even number"));
  if (uses_original_length(c.type))
    c.original_max_positions = in.positive("original_max_position_embeddings", max_positions, kMaxLength);
  c.factor = read_factor(rope_parameters, c, in);
  if (c.type == "llama3") {
    c.low_freq_factor = in.number("low_freq_factor", 1.0, 1e-3, kMaxFactor);
    c.high_freq_factor = in.number("high_freq_factor", 4.0, 1e-3, kMaxFactor);
    if (c.high_freq_factor <= c.low_freq_factor)
      throw_input(str(in.what(), ": 'high_freq_factor' ", c.high_freq_factor, " must be above 'low_freq_factor' ",
                      c.low_freq_factor));
  }
  if (c.type == "yarn") {
    c.beta_fast = number_or(in, "beta_fast", 32.0);
    c.beta_slow = number_or(in, "beta_slow", 1.0);
    c.truncate = in.flag("truncate", !rope_parameters.contains("truncate"));  // null is as false
    c.mscale = json::get_double(rope_parameters, "mscale", in.what());
    c.mscale_all_dim = json::get_double(rope_parameters, "mscale_all_dim", in.what());
  }
  if (c.type == "longrope") {
    c.short_factor = read_factors(rope_parameters, "short_factor", c.dim / 2, in.what());
    c.long_factor = read_factors(rope_parameters, "long_factor", c.dim / 2, in.what());
  }
  if (json::find(rope_parameters, "attention_factor") != nullptr)
    c.attention_factor = in.number("attention_factor", 1.0, -kMaxFactor, kMaxFactor);
  return c;
}

bool rope_depends_on_length(const Rope& config) noexcept {
  return config.type == "dynamic" || config.type == "longrope";
}

RopeFrequencies rope_frequencies(const Rope& config, int64_t length) {
  if (config.type == "yarn") return yarn_frequencies(config);
  if (config.type == "longrope") return longrope_frequencies(config, length);
  if (config.type == "dynamic") return {dynamic_frequencies(config, length), 1.0};
  if (config.type == "proportional") return {proportional_frequencies(config), 1.0};
  const at::Tensor f = 1.0 / powers_of_base(config.theta, config.dim);
  if (config.type == "linear") return {f / config.factor, 1.0};
  if (config.type == "llama3") return {llama3_frequencies(config, f), 1.0};
  return {f, 1.0};
}

RopeTables rope_tables(const RopeFrequencies& frequencies, const at::Tensor& position_ids, at::ScalarType dtype) {
  const at::Tensor angle = position_ids.to(at::kFloat).unsqueeze(-1) * frequencies.inv_freq;
  at::Tensor cos, sin;
  if (FixedOrder::active()) {
    const at::Tensor dense = angle.contiguous();
    cos = at::empty_like(dense);
    sin = at::empty_like(dense);
    kernels::fixed_cos_sin(dense.const_data_ptr<float>(), cos.mutable_data_ptr<float>(), sin.mutable_data_ptr<float>(),
                           dense.numel());
  } else {
    cos = angle.cos();
    sin = angle.sin();
  }
  if (frequencies.attention_factor != 1.0) {
    cos.mul_(frequencies.attention_factor);
    sin.mul_(frequencies.attention_factor);
  }
  return {cos.to(dtype).contiguous(), sin.to(dtype).contiguous()};
}

}  // namespace arkit::sdk
