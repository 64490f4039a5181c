#include "hadamard_orders.h"

#include <array>
#include <bit>
#include <cstddef>
#include <string_view>

namespace arkit::rotation {
namespace {

using Signs = std::vector<int8_t>;

bool is_prime(int64_t n) {
  if (n < 2) return false;
  for (int64_t d = 2; d * d <= n; ++d)
    if (n % d == 0) return false;
  return true;
}

// +1 for squares modulo the odd prime p, -1 for other numbers, 0 for multiples of p.
int legendre(int64_t a, int64_t p) {
  int64_t power = 1, base = ((a % p) + p) % p;
  if (base == 0) return 0;
  for (int64_t e = (p - 1) / 2; e > 0; e /= 2) {
    if (e % 2 == 1) power = power * base % p;
    base = base * base % p;
  }
  return power == 1 ? 1 : -1;
}

// chi(element j - element i) of a field with p or p^2 elements. In the larger one, a + b sqrt(r) is a square when its
// norm a^2 - r b^2 is one modulo p.
class Field {
 public:
  static std::optional<Field> of(int64_t q) {
    if (q % 2 == 1 && is_prime(q)) return Field(q, false);
    for (int64_t p = 3; p * p <= q; p += 2)
      if (p * p == q && is_prime(p)) return Field(p, true);
    return std::nullopt;
  }
  [[nodiscard]] int chi(int64_t i, int64_t j) const {
    if (!square_) return legendre(j - i, p_);
    const int64_t a = j / p_ - i / p_, b = j % p_ - i % p_;
    return legendre(a * a - non_square_ * b * b, p_);
  }

 private:
  Field(int64_t p, bool square) : p_(p), square_(square) {
    while (legendre(non_square_, p_) != -1) ++non_square_;
  }
  int64_t p_;
  bool square_;
  int64_t non_square_ = 2;
};

// Order q + 1, q = 3 modulo 4: row 0 = (+, -, ..., -), column 0 = +, core +1 on the diagonal and -chi(j - i) beside it.
std::optional<Signs> paley_one(int64_t order) {
  const int64_t q = order - 1;
  const auto field = q % 4 == 3 ? Field::of(q) : std::nullopt;
  if (!field) return std::nullopt;
  Signs h(static_cast<size_t>(order * order));
  for (int64_t i = 0; i < order; ++i)
    for (int64_t j = 0; j < order; ++j) {
      int sign = j == 0 ? 1 : -1;
      if (i > 0 && j > 0) sign = i == j ? 1 : -field->chi(i, j);
      h[static_cast<size_t>(i * order + j)] = static_cast<int8_t>(sign);
    }
  return h;
}

// Order 2 (q + 1), q = 1 modulo 4: [[A, B], [B, -A]], both with +1 borders and core chi(j - i); corner and diagonal are
// +1 in A, -1 in B.
std::optional<Signs> paley_two(int64_t order) {
  const int64_t half = order / 2, q = half - 1;
  const auto field = order % 2 == 0 && q % 4 == 1 ? Field::of(q) : std::nullopt;
  if (!field) return std::nullopt;
  Signs h(static_cast<size_t>(order * order));
  for (int64_t i = 0; i < order; ++i)
    for (int64_t j = 0; j < order; ++j) {
      const int64_t row = i % half, column = j % half;
      const bool is_a = (i < half) == (j < half);
      int sign = row == column ? (is_a ? 1 : -1) : 1;
      if (row != column && row > 0 && column > 0) sign = field->chi(row - 1, column - 1);
      if (i >= half && j >= half) sign = -sign;
      h[static_cast<size_t>(i * order + j)] = static_cast<int8_t>(sign);
    }
  return h;
}

// Four symmetric circulants by their first rows: [[A,B,C,D],[-B,A,-D,C],[-C,D,A,-B],[-D,-C,B,A]]. The rows of 52, 156
// and 172 are those of Sloane's library; 92 and 116 were found by searching squares of spectra that add up to 4 s.
struct Williamson {
  int64_t order;
  std::array<std::string_view, 4> rows;
};

constexpr std::array<Williamson, 5> kWilliamson = {
    {{52, {"+-+--++++--+-", "+---++++++---", "++-+--++--+-+", "+----+--+----"}},
     {92, {"+-+++--++-+--+-++--+++-", "+-+--+++++----+++++--+-", "+--++-+-+------+-+-++--", "+++++-++---++---++-++++"}},
     {116,
      {"++-+++--+-++------++-+--+++-+", "+--+++--++-+------+-++--+++--", "++-+-+++-++-+----+-++-+++-+-+",
       "+++-+---++++-++++-++++---+-++"}},
     {156,
      {"+++--+-+-----+--++----++--+-----+-+--++", "++++---+--++----+-+--+-+----++--+---+++",
       "+++--++-+---+-+--+----+--+-+---+-++--++", "+---++-+-+-----+++-++-+++-----+-+-++---"}},
     {172,
      {"+---++--++++-+-+++-++--++-+++-+-++++--++---", "++-++++++----+-+--++-++-++--+-+----++++++-+",
       "+++-+-++--+-+-++++-+----+-++++-+-+--++-+-++", "++---++++-+--+--++--------++--+--+-++++---+"}}}};

std::optional<Signs> williamson(int64_t order) {
  static constexpr int kBlock[4][4] = {{0, 1, 2, 3}, {1, 0, 3, 2}, {2, 3, 0, 1}, {3, 2, 1, 0}};
  static constexpr int kSign[4][4] = {{1, 1, 1, 1}, {-1, 1, -1, 1}, {-1, 1, 1, -1}, {-1, -1, 1, 1}};
  for (const Williamson& known : kWilliamson) {
    if (known.order != order) continue;
    const int64_t s = order / 4;
    Signs h(static_cast<size_t>(order * order));
    for (int64_t i = 0; i < order; ++i)
      for (int64_t j = 0; j < order; ++j) {
        const std::string_view row = known.rows[static_cast<size_t>(kBlock[i / s][j / s])];
        const int sign = row[static_cast<size_t>(((j - i) % s + s) % s)] == '+' ? 1 : -1;
        h[static_cast<size_t>(i * order + j)] = static_cast<int8_t>(sign * kSign[i / s][j / s]);
      }
    return h;
  }
  return std::nullopt;
}

// [[P, P], [P, -P]].
std::optional<Signs> doubled(int64_t order) {
  const int64_t half = order / 2;
  const auto p = half % 4 == 0 ? construct_hadamard(half) : std::nullopt;
  if (!p) return std::nullopt;
  Signs h(static_cast<size_t>(order * order));
  for (int64_t i = 0; i < order; ++i)
    for (int64_t j = 0; j < order; ++j) {
      const int sign = (*p)[static_cast<size_t>(i % half * half + j % half)];
      h[static_cast<size_t>(i * order + j)] = static_cast<int8_t>(i >= half && j >= half ? -sign : sign);
    }
  return h;
}

// Is q a prime, not the square of one? Orders of the table come from primes where a table has them too.
bool from_prime(int64_t order) {
  return is_prime(order - 1) || is_prime(order / 2 - 1);
}

}  // namespace

std::optional<Signs> construct_hadamard(int64_t order) {
  constexpr int64_t kLargest = 256;
  if (order < 12 || order > kLargest || order % 4 != 0 || std::has_single_bit(static_cast<uint64_t>(order)))
    return std::nullopt;
  // The order of attempts is what makes the matrices equal to the reference's.
  if (from_prime(order)) {
    if (auto h = paley_one(order)) return h;
    if (auto h = paley_two(order)) return h;
  }
  if (auto h = doubled(order)) return h;
  if (auto h = williamson(order)) return h;
  return paley_two(order);
}

}  // namespace arkit::rotation
