// The slow, obvious twin of int_kernels_impl.h: one element at a time, standard library, every formula written as in
// docs/spec/integers.md 1 to 5 and docs/spec/rtn.md 3 to 6. Ground truth of the tests and nothing else.

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "int_kernels.h"
#include "int_search.h"

namespace arkit::int_scheme {
namespace {

float read(const void* data, Dtype dtype, int64_t i) {
  if (dtype == Dtype::f32) return static_cast<const float*>(data)[i];
  const uint16_t bits = static_cast<const uint16_t*>(data)[i];
  return dtype == Dtype::bf16 ? sdk::bfloat16_to_float(bits) : sdk::float16_to_float(bits);
}

void write(void* data, Dtype dtype, int64_t i, float x) {
  if (dtype == Dtype::f32)
    static_cast<float*>(data)[i] = x;
  else if (dtype == Dtype::bf16)
    static_cast<uint16_t*>(data)[i] = sdk::float_to_bfloat16(x);
  else
    static_cast<uint16_t*>(data)[i] = sdk::float_to_float16(x);
}

float cast(Dtype dtype, float x) {
  if (dtype == Dtype::bf16) return sdk::round_to_bfloat16(x);
  return dtype == Dtype::f16 ? sdk::round_to_float16(x) : x;
}

// torch's type promotion.
Dtype promote(Dtype a, Dtype b) {
  return a == b ? a : Dtype::f32;
}

struct Sum16 {
  std::array<float, 16> lane{};
  void add(int64_t i, float x) { lane[static_cast<size_t>(i % 16)] += x; }
  float total() const {
    std::array<float, 16> l = lane;
    for (size_t half = 8; half > 0; half /= 2)
      for (size_t i = 0; i < half; ++i) l[i] += l[i + half];
    return l[0];
  }
};

struct Part {
  int64_t offset, length, grouped;
};
Part part_of(const Groups& g, int64_t i) {
  const int64_t start = (i % g.per_row) * g.group;
  return {(i / g.per_row) * g.in + start, std::min(g.group, g.in - start), i * g.group};
}

struct Scale {
  float s, zp, before_floor, wmin, wmax;
};

float floor_of(Dtype scale) {
  return scale == Dtype::f32 ? 1e-8F : cast(scale, 1e-5F);
}

float apply_floor(float s, float floor) {
  return s < 0 ? std::min(s, -floor) : std::max(s, floor);
}

Scale sym_scale(const WeightArgs& a, int64_t i, float group_min, float group_max) {
  const auto maxq = static_cast<float>(1 << (a.formula.bits - 1));
  Scale r{};
  if (a.given_scale != nullptr) {
    r.s = r.before_floor = a.given_scale[i];
    return r;
  }
  const Dtype dtype = a.min_scale != nullptr ? Dtype::f32 : a.formula.weight;
  r.wmin = a.min_scale != nullptr ? group_min * a.min_scale[i] : group_min;
  r.wmax = a.min_scale != nullptr ? group_max * a.max_scale[i] : group_max;
  if (a.formula.rule == ScaleRule::gptq) {
    const float high = std::max(std::abs(r.wmin), r.wmax), low = r.wmin < 0 ? -high : r.wmin;
    r.before_floor = cast(a.formula.scale, cast(dtype, cast(dtype, high - low) / (2 * maxq - 1)));
    r.s = std::max(r.before_floor, floor_of(a.formula.scale));
    return r;
  }
  if (a.formula.rule == ScaleRule::power_of_two) {
    const float peak = std::max(std::abs(r.wmin), r.wmax);
    const int exponent = peak > 0 ? std::max(std::ilogb(peak), -126) : 0;
    const float s = std::ldexp(1.0F, exponent + 2 - a.formula.bits);
    r.s = r.before_floor = a.formula.scale == Dtype::f16 ? std::clamp(s, 0x1p-24F, 0x1p15F) : s;
    return r;
  }
  const float neg = -r.wmin, pos = r.wmax, sign = pos < neg ? 1.0F : -1.0F;
  float scale = cast(dtype, sign * std::max(pos, neg) / maxq);
  if (a.init_scale != nullptr) scale = a.init_scale[i] * (a.max_scale != nullptr ? a.max_scale[i] : 1.0F);
  r.before_floor = cast(a.formula.scale, scale);
  r.s = apply_floor(r.before_floor, floor_of(a.formula.scale));
  return r;
}

Scale asym_scale(const WeightArgs& a, int64_t i, float group_min, float group_max) {
  const auto maxq = static_cast<float>((1 << a.formula.bits) - 1);
  const Dtype dtype = a.min_scale != nullptr ? Dtype::f32 : a.formula.weight;
  Scale r{};
  if (a.given_scale != nullptr) {
    r.s = r.before_floor = a.given_scale[i];
    const float from_min = std::nearbyint(-group_min / r.s), from_max = maxq - std::nearbyint(group_max / r.s);
    r.zp = a.given_zero_point != nullptr ? a.given_zero_point[i] : -group_min <= group_max ? from_min : from_max;
    return r;
  }
  r.wmin = a.min_scale != nullptr ? group_min * a.min_scale[i] : group_min;
  r.wmax = a.min_scale != nullptr ? group_max * a.max_scale[i] : group_max;
  r.before_floor = cast(a.formula.scale, cast(dtype, cast(dtype, r.wmax - r.wmin) / maxq));
  r.s = std::max(r.before_floor, floor_of(a.formula.scale));
  r.zp = std::nearbyint(cast(promote(dtype, a.formula.scale), -r.wmin / r.s));
  return r;
}

Scale scale_of(const WeightArgs& a, int64_t i) {
  float low = 0, high = 0;
  if (a.weight_min != nullptr) {
    low = read(a.weight_min, a.formula.weight, i);
    high = read(a.weight_max, a.formula.weight, i);
  } else {
    const Part p = part_of(a.groups, i);
    for (int64_t j = 0; j < p.length; ++j) {
      low = std::min(low, read(a.weight, a.formula.weight, p.offset + j));
      high = std::max(high, read(a.weight, a.formula.weight, p.offset + j));
    }
  }
  return a.formula.sym ? sym_scale(a, i, low, high) : asym_scale(a, i, low, high);
}

struct Element {
  float u, r, q;  // q with zp for asym
  bool inside;
};

Element element_of(const WeightArgs& a, const Scale& scale, const Part& p, int64_t j) {
  const float w = read(a.weight, a.formula.weight, p.offset + j);
  Element e{};
  e.u = cast(promote(a.formula.weight, a.formula.scale), w / scale.s);
  e.r = std::nearbyint(a.v != nullptr ? e.u + a.v[p.grouped + j] : e.u);
  const auto half = static_cast<float>(1 << (a.formula.bits - 1));
  const float low = a.formula.sym ? -half : 0.0F, high = a.formula.sym ? half - 1 : 2 * half - 1;
  const float shifted = a.formula.sym ? e.r : e.r + scale.zp;
  e.inside = low <= shifted && shifted <= high;
  e.q = std::clamp(shifted, low, high);
  return e;
}

bool group_range(const void* weight, Dtype dtype, const Groups& groups, int64_t begin, int64_t end, void* min,
                 void* max) {
  bool finite = true;
  for (int64_t i = begin; i < end; ++i) {
    const Part p = part_of(groups, i);
    float low = 0, high = 0;
    for (int64_t j = 0; j < p.length; ++j) {
      const float w = read(weight, dtype, p.offset + j);
      finite = finite && std::isfinite(w);
      low = w < low ? w : low;
      high = w > high ? w : high;
    }
    write(min, dtype, i, low);
    write(max, dtype, i, high);
  }
  return finite;
}

void fake_quant(const WeightArgs& a, void* out, Dtype out_dtype, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    const Part p = part_of(a.groups, i);
    const Scale scale = scale_of(a, i);
    for (int64_t j = 0; j < p.length; ++j) {
      const float q = element_of(a, scale, p, j).q;
      write(out, out_dtype, p.offset + j, scale.s * (a.formula.sym ? q : q - scale.zp));
    }
  }
}

bool quantize(const WeightArgs& a, const CodesOut& out, int64_t begin, int64_t end) {
  const auto offset = static_cast<float>(a.formula.sym ? 1 << (a.formula.bits - 1) : 0);
  bool finite = true;
  for (int64_t i = begin; i < end; ++i) {
    const Part p = part_of(a.groups, i);
    const Scale scale = scale_of(a, i);
    write(out.scale, a.formula.scale, i, scale.s);
    if (out.zero_point != nullptr) out.zero_point[i] = scale.zp;
    for (int64_t j = 0; j < p.length; ++j) {
      const float q = element_of(a, scale, p, j).q;
      finite = finite && std::isfinite(read(a.weight, a.formula.weight, p.offset + j));
      out.codes[p.offset + j] = std::isnan(q) ? uint8_t{0} : static_cast<uint8_t>(q + offset);
    }
  }
  return finite;
}

// autograd's cast of a gradient to the scale's dtype, where it may overflow (docs/spec/signround.md 11).
float cast_gradient(Dtype scale, float x) {
  return cast(scale, x);
}

struct ScaleGradient {
  float d_min, d_max;
};

// s of int_sym_gptq is 2 peak / (2^bits - 1), or half of it without negative values; of mx_uint proportional to peak.
ScaleGradient rule_gradient(const WeightArgs& a, int64_t i, const Scale& scale, float ds) {
  const float neg = -scale.wmin, pos = scale.wmax, peak = std::max(neg, pos);
  float slope = peak > 0 ? scale.s / peak : 0.0F;
  if (a.formula.rule == ScaleRule::gptq) {
    const float range = scale.wmin < 0 ? 2.0F : 1.0F;
    slope =
        scale.before_floor < floor_of(a.formula.scale) ? 0.0F : range / static_cast<float>((1 << a.formula.bits) - 1);
  }
  const float d = ds * slope, share = pos == neg ? 0.5F : 1.0F;
  return {neg >= pos ? -(d * share) * read(a.weight_min, a.formula.weight, i) : 0.0F,
          pos >= neg ? d * share * read(a.weight_max, a.formula.weight, i) : 0.0F};
}

// y = s q, s = floor(cast(sign max(pos, neg) / maxq)).
ScaleGradient sym_gradient(const WeightArgs& a, int64_t i, const Scale& scale, float ds) {
  if (a.formula.rule != ScaleRule::full_range) return rule_gradient(a, i, scale, ds);
  const Dtype type = a.formula.scale;
  const float floor = floor_of(type);
  if (std::abs(scale.before_floor) < floor || (scale.before_floor == 0)) ds = 0;
  if (a.init_scale != nullptr) return {0.0F, ds * a.init_scale[i]};
  const float d_max_v = ds / static_cast<float>(1 << (a.formula.bits - 1));
  const float neg = -scale.wmin, pos = scale.wmax;
  const float d_larger = pos < neg ? d_max_v : -d_max_v;
  const float share = neg == pos ? 0.5F : 1.0F;  // torch.max splits the gradient of a tie
  ScaleGradient d{0.0F, 0.0F};
  if (neg >= pos) d.d_min = -(d_larger * share) * read(a.weight_min, a.formula.weight, i);
  if (pos >= neg) d.d_max = d_larger * share * read(a.weight_max, a.formula.weight, i);
  return d;
}

// y = s (q - zp), s = floor(cast((wmax - wmin) / maxq)), zp = round(-wmin / s).
ScaleGradient asym_gradient(const WeightArgs& a, int64_t i, const Scale& scale, float ds, float outside) {
  const Dtype type = a.formula.scale;
  ds = cast_gradient(type, ds + cast_gradient(type, outside * (-scale.wmin / scale.s)));
  if (scale.before_floor < floor_of(type)) ds = 0;
  const float d_range = ds / static_cast<float>((1 << a.formula.bits) - 1);
  return {(outside - d_range) * read(a.weight_min, a.formula.weight, i),
          d_range * read(a.weight_max, a.formula.weight, i)};
}

void put(float* to, bool accumulate, float x) {
  if (to != nullptr) *to = accumulate ? *to + x : x;
}

void backward(const WeightArgs& a, const BackwardArgs& b, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    const Part p = part_of(a.groups, i);
    const Scale scale = scale_of(a, i);
    Sum16 ratio, code, outside;
    for (int64_t j = 0; j < p.length; ++j) {
      const Element e = element_of(a, scale, p, j);
      const float g = read(b.grad_out, b.grad_dtype, p.offset + j);
      if (e.inside)
        ratio.add(j, g * e.u);
      else
        outside.add(j, g);
      code.add(j, g * (a.formula.sym ? e.q : e.q - scale.zp));
      if (b.grad_v != nullptr) put(b.grad_v + p.grouped + j, b.accumulate_v, e.inside ? g * scale.s : 0.0F);
    }
    if (b.grad_v != nullptr)
      for (int64_t j = p.length; j < a.groups.group; ++j) put(b.grad_v + p.grouped + j, b.accumulate_v, 0.0F);
    if (b.grad_min_scale == nullptr && b.grad_max_scale == nullptr) continue;
    const Dtype type = a.formula.scale;
    const float ds = cast_gradient(type, cast_gradient(type, code.total()) + cast_gradient(type, -ratio.total()));
    const ScaleGradient d =
        a.formula.sym ? sym_gradient(a, i, scale, ds) : asym_gradient(a, i, scale, ds, outside.total());
    put(b.grad_min_scale == nullptr ? nullptr : b.grad_min_scale + i, b.accumulate_scale, d.d_min);
    put(b.grad_max_scale == nullptr ? nullptr : b.grad_max_scale + i, b.accumulate_scale, d.d_max);
  }
}

float reciprocal(Dtype dtype, float x) {
  return std::abs(x) >= cast(dtype, dtype == Dtype::f16 ? 1e-5F : 1e-30F) ? cast(dtype, 1.0F / x) : 0.0F;
}

// docs/spec/rtn.md 3. `size` counts the padding, whose weight is 0 and whose importance is 1e-5.
std::vector<float> repaired(Dtype dtype, const std::vector<float>& w, std::vector<float> importance, int64_t size,
                            int bits) {
  const auto zeros = std::count_if(importance.begin(), importance.end(), [](float x) { return x <= 1e-30F; });
  if (zeros == 0) return importance;
  if (zeros > size / 2) {
    float squares = 0;
    for (const float x : w) squares += cast(dtype, x * x);
    const float extra = bits <= 3 ? 0.0F : cast(dtype, std::sqrt(cast(dtype, cast(dtype, squares) / 32.0F)));
    for (size_t j = 0; j < w.size(); ++j) importance[j] = cast(dtype, std::abs(w[j]) + extra);
    return importance;
  }
  float total = 0;
  for (const float x : importance) total += x;
  total += 1e-5F * static_cast<float>(size - static_cast<int64_t>(w.size()));
  for (float& x : importance)
    if (x <= 1e-30F) x = total / static_cast<float>(size - zeros);
  return importance;
}

float candidate_loss(const SearchArgs& a, const std::vector<float>& w, const std::vector<float>& importance, float is,
                     float s) {
  const auto nmax = static_cast<float>(1 << (a.bits - 1));
  Sum16 loss;
  for (size_t j = 0; j < w.size(); ++j) {
    const float q = std::clamp(std::nearbyint(cast(a.weight_dtype, is * w[j])), -nmax, nmax - 1);
    const float d = cast(a.weight_dtype, cast(a.weight_dtype, s * q) - w[j]);
    loss.add(static_cast<int64_t>(j), d * d * importance[j]);
  }
  return loss.total();
}

struct Samples {
  std::vector<float> w, importance;
};

Samples samples_of(const SearchArgs& a, int64_t i) {
  const Part p = part_of(a.groups, i);
  Samples x;
  for (int64_t j = 0; j < p.length; ++j) {
    x.w.push_back(read(a.weight, a.weight_dtype, p.offset + j));
    x.importance.push_back(a.imatrix == nullptr ? 1.0F : a.imatrix[p.offset % a.groups.in + j]);
  }
  if (a.imatrix != nullptr && a.repair)
    x.importance = repaired(a.weight_dtype, x.w, x.importance, a.groups.group, a.bits);
  return x;
}

void search(const SearchArgs& a, int64_t begin, int64_t end) {
  const SearchGrid grid = search_grid(a.bits);
  for (int64_t i = begin; i < end; ++i) {
    const auto [w, importance] = samples_of(a, i);
    const float peak =
        *std::max_element(w.begin(), w.end(), [](float x, float y) { return std::abs(x) < std::abs(y); });
    float best = 0, best_loss = INFINITY;
    for (int c = -1; c < grid.count; ++c) {
      const float factor = c < 0 ? grid.start : grid.factor[c];
      const float is = cast(a.weight_dtype, factor * reciprocal(a.weight_dtype, peak)),
                  s = reciprocal(a.weight_dtype, is);
      const float loss = candidate_loss(a, w, importance, is, s);
      if (c >= 0 && !(loss < best_loss)) continue;
      best = s;
      best_loss = loss;
    }
    a.scale[i] = apply_floor(best, a.floor);
  }
}

float clipped_loss(const Samples& x, float s, float low, float high) {
  Sum16 loss;
  for (size_t j = 0; j < x.w.size(); ++j) {
    const float d = s * std::clamp(std::nearbyint(x.w[j] / s), low, high) - x.w[j];
    loss.add(static_cast<int64_t>(j), d * d * x.importance[j]);
  }
  return loss.total();
}

struct Found {
  float loss = INFINITY, part = 1, zero_point = 0, sign = 1;
};

// Every candidate that a scale leaves open, one after the other. True when one of them is the best so far.
bool try_scale(const NeuqiArgs& a, const Samples& x, float s, float part, Found& best) {
  const auto half = static_cast<float>(1 << (a.bits - 1));
  bool won = false;
  const auto offer = [&](float loss, float zero_point, float sign) {
    if (!(loss < best.loss)) return;
    best = {loss, part, zero_point, sign};
    won = true;
  };
  if (a.sym) {
    const float plain = clipped_loss(x, s, -half, half - 1), mirror = clipped_loss(x, s, 1 - half, half);
    offer(std::min(plain, mirror), 0, mirror < plain ? -1.0F : 1.0F);
    return won;
  }
  for (float zp = 0; zp < 2 * half; ++zp) offer(clipped_loss(x, s, -zp, 2 * half - 1 - zp), zp, 1);
  return won;
}

void neuqi(const NeuqiArgs& a, int64_t begin, int64_t end) {
  const auto half = static_cast<float>(1 << (a.bits - 1));
  for (int64_t i = begin; i < end; ++i) {
    const Samples x = samples_of(a, i);
    const float min = *std::min_element(x.w.begin(), x.w.end()), max = *std::max_element(x.w.begin(), x.w.end());
    const float range =
        a.sym ? std::max(-min, max) / half : (std::max(max, 0.0F) - std::min(min, 0.0F)) / (2 * half - 1);
    const float s0 = std::max(range, a.floor);
    Found best;
    int winner = a.grid.coarse_count - 1;
    for (int k = 0; k < a.grid.coarse_count; ++k)
      if (try_scale(a, x, s0 * a.grid.coarse[k], a.grid.coarse[k], best)) winner = k;
    const float low = a.grid.coarse[std::max(winner - 1, 0)];
    const float high = a.grid.coarse[std::min(winner + 1, a.grid.coarse_count - 1)];
    for (int k = 0; k < a.grid.fine_count; ++k) {
      const float part = low * (1 - a.grid.fine[k]) + high * a.grid.fine[k];
      try_scale(a, x, s0 * part, part, best);
    }
    a.scale[i] = apply_floor(best.sign * (best.part * s0), a.floor);
    if (a.zero_point != nullptr) a.zero_point[i] = best.zero_point;
  }
}

void dequantize(const DequantArgs& a, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    const Part p = part_of(a.groups, i);
    const float s = read(a.scale, a.scale_dtype, i), zp = a.zero_point == nullptr ? a.offset : a.zero_point[i];
    for (int64_t j = p.offset; j < p.offset + p.length; ++j)
      write(a.out, a.out_dtype, j, s * (static_cast<float>(a.codes[j]) - zp));
  }
}

}  // namespace

const Kernels kernels_ref = {"ref", group_range, fake_quant, quantize, backward, search, neuqi, dequantize};

}  // namespace arkit::int_scheme
