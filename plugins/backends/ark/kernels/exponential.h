#pragma once

#include "unroll.h"

namespace arkit::ark {
namespace {

// e^x within 2 units of the last place for x from -87 to 88, the nearest of them beyond.
template <class Isa>
ARK_INLINE typename Isa::F exponential(typename Isa::F x) {
  using F = typename Isa::F;
  x = Isa::most(x, Isa::set(-87.0F));
  x = Isa::sub(Isa::set(0.0F), Isa::most(Isa::sub(Isa::set(0.0F), x), Isa::set(-88.0F)));
  const typename Isa::I power = Isa::round(Isa::mul(x, Isa::set(1.44269504F)));
  const F n = Isa::to_float(power);
  F r = Isa::fma(n, Isa::set(-0.693359375F), x);  // ln 2 in two parts, the first with few bits
  r = Isa::fma(n, Isa::set(2.12194440e-4F), r);
  F p = Isa::set(1.0F / 720);  // the series up to r^6, |r| <= ln(2) / 2
  constexpr float kSeries[] = {1.0F / 120, 1.0F / 24, 1.0F / 6, 0.5F, 1.0F, 1.0F};
  for (const float factor : kSeries) p = Isa::fma(p, r, Isa::set(factor));
  return Isa::times_power(p, power);
}

}  // namespace
}  // namespace arkit::ark
