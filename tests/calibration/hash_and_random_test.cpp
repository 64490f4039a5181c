// SHA-256 against FIPS 180-4's examples, numpy's permutation against numpy 2.

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "util/numpy_random.h"
#include "util/sha256.h"

namespace {

TEST(Sha256, HashesTheStandardsExamples) {
  EXPECT_EQ(arkit::sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(arkit::sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(arkit::sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(arkit::sha256_hex(std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, PiecesOfAnySizeGiveTheSameHash) {
  const std::string text(300, 'x');
  for (size_t piece = 1; piece <= 130; ++piece) {
    arkit::Sha256 hash;
    for (size_t at = 0; at < text.size(); at += piece) hash.update(std::string_view(text).substr(at, piece));
    EXPECT_EQ(hash.hex(), arkit::sha256_hex(text)) << "pieces of " << piece;
  }
}

TEST(NumpyRandom, PermutationIsNumpys) {
  using Order = std::vector<int64_t>;
  EXPECT_EQ(arkit::numpy_permutation(0, 12), (Order{9, 2, 7, 4, 5, 11, 0, 3, 6, 10, 8, 1}));
  EXPECT_EQ(arkit::numpy_permutation(42, 12), (Order{0, 7, 6, 9, 11, 3, 5, 2, 4, 10, 1, 8}));
  EXPECT_EQ(arkit::numpy_permutation(123456789012, 12), (Order{4, 7, 6, 8, 1, 11, 3, 0, 10, 5, 2, 9}));
  EXPECT_EQ(arkit::numpy_permutation(1, 0), Order{});
}

}  // namespace
