#pragma once
// Hadamard matrices and the rotations made of them (docs/spec/rotations.md 2). A rotation turns the input of a linear
// layer, x' = x R, and the same function turns the rows of its weight, W' = W R, so that the product stays the same.

#include <cstdint>
#include <memory>
#include <optional>

#include <ATen/core/Tensor.h>

#include <arkit/model_source.h>

namespace arkit {

// +1 and -1, int8 [order, order], rows orthogonal. Powers of two are Sylvester's; other orders are Paley's, doublings
// and Williamson's, and equal AutoRound's for the orders it rebuilds (12, 20, 28, 36, 40, 52, 60, 108, 140, 156, 172).
// Throws ErrorCode::unsupported naming an order arkit cannot construct.
[[nodiscard]] at::Tensor hadamard_signs(int64_t order);
[[nodiscard]] bool has_hadamard(int64_t order);

// size = K * 2^m as the fast transform takes it: K = 1 for powers of two, else the first of AutoRound's orders (172
// down to 12) that fits, else the largest constructible order up to 256 that does. Nullopt when none fits.
[[nodiscard]] std::optional<int64_t> hadamard_factor(int64_t size);

// Does AutoRound rebuild the rotation of this size from the size alone?
[[nodiscard]] bool is_reference_hadamard(int64_t size);

// R = diag(s) M^T with M = kron(H_K, Sylvester) / sqrt(size). Without a seed s is all ones: the deterministic rotation,
// which is symmetric for powers of two.
class HadamardRotation final : public InputRotation {
 public:
  // Throws ErrorCode::unsupported naming a size without a factor.
  explicit HadamardRotation(int64_t size, std::optional<uint64_t> seed = std::nullopt);

  [[nodiscard]] int64_t size() const override { return size_; }
  // Computed in float64 for float64, else in float32 and rounded once.
  [[nodiscard]] at::Tensor apply(const at::Tensor& x) const override;
  // R * sqrt(size), int8 [size, size]: what checkpoints store of a rotation with random signs.
  [[nodiscard]] at::Tensor signs() const;

 private:
  [[nodiscard]] at::Tensor transform(at::Tensor x) const;  // x M^T, blocks along the last dimension

  int64_t size_ = 0, factor_ = 1;
  at::Tensor outer_;   // float64 [K, K]; undefined for K = 1
  at::Tensor random_;  // float64 [size]; undefined = all ones
};

// The rotation by a stored matrix: x R with R = matrix, [n, n] of floats, or of int8 signs, then divided by sqrt(n).
// Throws ErrorCode::input naming `what` when it is not square or not orthogonal.
[[nodiscard]] std::shared_ptr<const InputRotation> matrix_rotation(const at::Tensor& matrix, const std::string& what);

}  // namespace arkit
