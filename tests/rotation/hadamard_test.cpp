// Matrices against docs/spec/rotations.md 2 and 3: check sums, orthogonality, the fast transform against the dense
// product.
#include <arkit/sdk/hadamard.h>

#include <cmath>
#include <cstdint>
#include <utility>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/error.h>
#include <arkit/sdk/testing.h>

namespace arkit {
namespace {

uint32_t crc32(const at::Tensor& signs) {
  const at::Tensor bytes = signs.gt(0).to(at::kByte).contiguous();
  const auto* data = bytes.const_data_ptr<uint8_t>();
  uint32_t crc = 0xffffffffu;
  for (int64_t i = 0; i < bytes.numel(); ++i) {
    crc ^= data[i];
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1u) != 0 ? 0xedb88320u : 0u);
  }
  return ~crc;
}

TEST(HadamardSigns, EqualTheReferencesTable) {
  const std::pair<int64_t, uint32_t> known[] = {
      {12, 0x8618799e}, {20, 0x56eb54fd},  {28, 0xb24eed0d},  {36, 0x5474afe3},  {40, 0x552f8d47}, {52, 0xc2379c36},
      {60, 0xe6ddea02}, {108, 0x8d484371}, {140, 0xa7addc59}, {156, 0x0a0deb8f}, {172, 0xed8c3e26}};
  for (const auto& [order, expected] : known) EXPECT_EQ(crc32(hadamard_signs(order)), expected) << "order " << order;
}

TEST(HadamardSigns, RowsAreOrthogonalForEveryOrder) {
  int constructed = 0;
  for (int64_t order = 4; order <= 256; order += 4) {
    if (!has_hadamard(order)) {
      EXPECT_TRUE(order == 188 || order == 236) << "order " << order;
      EXPECT_THROW((void)hadamard_signs(order), Error);
      continue;
    }
    ++constructed;
    const at::Tensor h = hadamard_signs(order).to(at::kDouble);
    EXPECT_TRUE(h.abs().eq(1).all().item<bool>());
    EXPECT_TRUE(sdk::close(at::matmul(h, h.t()), at::eye(order, at::kDouble).mul(order), 0.0)) << "order " << order;
  }
  EXPECT_EQ(constructed, 62);
}

TEST(HadamardRotation, IsTheKroneckerProduct) {
  const at::Tensor x = at::randn({3, 5 * 48}, at::kDouble);
  for (const int64_t size : {2, 16, 12, 24, 40, 48, 80, 240}) {
    const int64_t factor = hadamard_factor(size).value();
    at::Tensor m = at::kron(factor > 1 ? hadamard_signs(factor).to(at::kDouble) : at::ones({1, 1}, at::kDouble),
                            hadamard_signs(size / factor).to(at::kDouble));
    m = m / std::sqrt(static_cast<double>(size));
    const at::Tensor expected = at::matmul(x.reshape({-1, size}), m.t()).reshape(x.sizes());
    EXPECT_TRUE(sdk::close(HadamardRotation(size).apply(x), expected, 1e-12)) << "size " << size;
  }
}

TEST(HadamardRotation, IsOrthogonalAndKeepsTypeAndShape) {
  for (const int64_t size : {32, 576, 1536, 4096, 2960}) {  // 2960 = 148 * 20 has no table; 148 is Paley's
    if (!hadamard_factor(size)) continue;
    const HadamardRotation rotation(size, 7);
    const at::Tensor x = at::randn({2, 3, size}, at::kDouble);
    const at::Tensor y = rotation.apply(x);
    EXPECT_EQ(y.sizes(), x.sizes());
    EXPECT_TRUE(sdk::close(y.norm(), x.norm(), 1e-9));
    const at::Tensor half = x.to(at::kBFloat16);
    EXPECT_EQ(rotation.apply(half).scalar_type(), at::kBFloat16);
    EXPECT_TRUE(sdk::close(rotation.apply(half), rotation.apply(half.to(at::kDouble)), 1e-2, 8e-3));
  }
}

TEST(HadamardRotation, SignsAreItsMatrix) {
  const HadamardRotation rotation(48, 3);
  const at::Tensor x = at::randn({4, 96}, at::kDouble);
  EXPECT_TRUE(sdk::close(matrix_rotation(rotation.signs(), "test")->apply(x), rotation.apply(x), 1e-12));
  EXPECT_FALSE(HadamardRotation(48, 4).signs().equal(rotation.signs()));
  EXPECT_TRUE(HadamardRotation(48, 3).signs().equal(rotation.signs()));
}

TEST(HadamardRotation, HasAGradient) {
  for (const int64_t size : {4, 24, 64}) {
    const HadamardRotation rotation(size, 1);
    const at::Tensor x = at::randn({2, 2 * size}, at::kDouble).requires_grad_(),
                     w = at::randn({2, 2 * size}, at::kDouble);
    rotation.apply(x).mul(w).sum().backward();
    const at::Tensor r = rotation.signs().to(at::kDouble) / std::sqrt(static_cast<double>(size));
    EXPECT_TRUE(sdk::close(x.grad(), at::matmul(w.reshape({-1, size}), r.t()).reshape(w.sizes()), 1e-12)) << size;
  }
}

TEST(HadamardRotation, IsTheSameInSinglePrecision) {
  for (const int64_t size : {1, 2, 4, 8, 32, 1024, 576}) {
    const at::Tensor x = at::randn({70, 2 * size});
    const HadamardRotation rotation(size, 5);
    EXPECT_TRUE(sdk::close(rotation.apply(x).to(at::kDouble), rotation.apply(x.to(at::kDouble)), 2e-6, 1e-5)) << size;
    const at::Tensor strided = at::randn({2 * size, 70}).t();  // not contiguous
    EXPECT_TRUE(sdk::close(rotation.apply(strided), rotation.apply(strided.contiguous()), 0.0)) << size;
  }
}

TEST(HadamardRotation, RefusesSizesWithoutAMatrix) {
  for (const int64_t size : {0, -8, 6, 188, 236, 9 * 64 + 2}) EXPECT_THROW(HadamardRotation{size}, Error) << size;
}

TEST(MatrixRotation, RefusesWhatIsNoRotation) {
  EXPECT_THROW((void)matrix_rotation(at::ones({4, 4}), "m"), Error);
  EXPECT_THROW((void)matrix_rotation(at::eye(4).slice(0, 0, 3), "m"), Error);
  EXPECT_THROW((void)matrix_rotation(at::full({2, 2}, NAN), "m"), Error);
  EXPECT_THROW((void)matrix_rotation(at::ones({2, 2}, at::kChar), "m"), Error);
}

}  // namespace
}  // namespace arkit
