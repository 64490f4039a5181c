#include <arkit/sdk/row_layouts.h>

#include <cstring>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <arkit/error.h>
#include <arkit/sdk/bit_decode.h>
#include <arkit/sdk/bit_pack.h>
#include <arkit/str.h>

namespace arkit::sdk {
namespace {

constexpr int64_t kRowGrain = 16;  // rows a thread packs at least
constexpr int64_t kBlock = 32;     // codes that fill whole words for every number of bits

}  // namespace

int64_t row_words(int64_t n, int bits) {
  return (checked_mul(n, bits, "row of packed codes") + 31) / 32;
}

at::Tensor pack_rows(const at::Tensor& codes, int bits) {
  ARKIT_CHECK(bits >= 1 && bits <= kMaxPackBits, str("cannot pack ", bits, "-bit codes"));
  ARKIT_CHECK(codes.dim() == 2 && codes.scalar_type() == at::kByte && codes.is_contiguous(),
              "codes must be a contiguous u8 matrix");
  const int64_t rows = codes.size(0), n = codes.size(1), words = row_words(n, bits);
  at::Tensor packed = at::empty({rows, words}, at::kInt);
  const auto* source = codes.const_data_ptr<uint8_t>();
  auto* target = static_cast<uint8_t*>(packed.data_ptr());
  const int64_t full = n / kBlock * kBlock;  // codes that fill whole words; the rest goes through a padded copy
  at::parallel_for(0, rows, kRowGrain, [&](int64_t begin, int64_t end) {
    uint8_t rest[kBlock], last[kBlock];
    for (int64_t r = begin; r < end; ++r) {
      uint8_t* row = target + r * words * 4;
      if (full > 0) pack_row(source + r * n, full, bits, row);
      if (full == n) continue;
      std::memset(rest, 0, sizeof rest);
      std::memcpy(rest, source + r * n + full, static_cast<size_t>(n - full));
      pack_row(rest, kBlock, bits, last);
      std::memcpy(row + full / 8 * bits, last, static_cast<size_t>(words * 4 - full / 8 * bits));
    }
  });
  return packed;
}

at::Tensor decode_rows(const at::Tensor& words, int64_t n, int bits) {
  ARKIT_CHECK(words.dim() == 2 && words.element_size() == 4 && words.is_contiguous(),
              "words must be a contiguous matrix of 32 bits");
  ARKIT_CHECK(words.size(1) >= row_words(n, bits), "a row has too few words");
  const int64_t rows = words.size(0), stride = words.size(1);
  at::Tensor codes = at::empty({rows, n}, at::kByte);
  const auto* source = static_cast<const uint32_t*>(words.const_data_ptr());
  auto* target = static_cast<uint8_t*>(codes.data_ptr());
  at::parallel_for(0, rows, kRowGrain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) stream_codes(source + r * stride, n, bits, target + r * n);
  });
  return codes;
}

}  // namespace arkit::sdk
