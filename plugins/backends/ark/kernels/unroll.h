#pragma once
// Loops whose counter is a constant, without the standard library.

#define ARK_INLINE inline __attribute__((always_inline))
#define ARK_INLINE_LAMBDA __attribute__((always_inline))

namespace arkit::ark {
namespace {

template <int V>
struct Number {};
template <int... I>
struct Numbers {};
template <int N, int... I>
struct Upto : Upto<N - 1, N - 1, I...> {};
template <int... I>
struct Upto<0, I...> {
  using type = Numbers<I...>;
};

}  // namespace
}  // namespace arkit::ark
