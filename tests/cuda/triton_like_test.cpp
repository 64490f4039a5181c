// The kernels of plugins/backends/triton_like on the emulator: every kind of weights, a few rows and many.
#include "kernel_testing.h"
#include "triton_like_kernels.h"

namespace arkit::cuda::tests {
namespace {

struct Kind {
  const char* name;
  int bits;
  Numbers numbers;
};
const Kind kKinds[] = {{"2", 2, Numbers::integers}, {"3", 3, Numbers::integers}, {"4", 4, Numbers::integers},
                       {"5", 5, Numbers::integers}, {"6", 6, Numbers::integers}, {"7", 7, Numbers::integers},
                       {"8", 8, Numbers::integers}, {"e2m1", 4, Numbers::e2m1},  {"e4m3", 8, Numbers::e4m3},
                       {"e5m2", 8, Numbers::e5m2}};

TileKernels kernels_for(const Kind& kind, const LayerCase& c, bool large) {
  return tile_kernels(std::string("triton_like_") + kind.name, "triton_like", c, large ? 2 : 0,
                      kind.numbers == Numbers::integers);
}

TEST(TritonLike, MultipliesAllKindsOnTensorCores) {
  const int64_t groups[] = {16, 32, 48, 128, -1};
  const int64_t sizes[][3] = {{1, 64, 64}, {5, 176, 70}, {17, 104, 130}, {66, 96, 260}};
  uint64_t seed = 0;
  for (const Kind& kind : kKinds)
    for (const bool half : {true, false})
      for (const int64_t group : groups) {
        const auto& size = sizes[seed % 4];
        LayerCase c;
        c.bits = kind.bits;
        c.numbers = kind.numbers;
        c.half = half;
        c.group = group;
        c.rows = size[0];
        c.inputs = size[1];
        c.outputs = size[2];
        c.zeros = kind.numbers == Numbers::integers && seed % 3 != 0;
        c.act_order = seed % 4 == 1;
        c.bias = seed % 2 == 0;
        c.parts = 1 + static_cast<int>(seed % 2);
        if (!half && seed % 5 == 4) c.x_type = RowType::float32;
        c.seed = seed++ % 5;
        check_tiles(c, kernels_for(kind, c, false));
        check_tiles(c, kernels_for(kind, c, true));
      }
}

std::vector<std::byte> run_gemv(const LayerCase& c, const RandomLayer& layer, const Kind& kind) {
  const TileWeight weight(layer.numbers);
  const std::vector<std::byte> x = stored(layer.x, c.x_type);
  std::vector<Words4> words((weight.words.size() + 3) / 4);
  std::memcpy(words.data(), weight.words.data(), weight.words.size() * 4);
  std::vector<std::byte> y(static_cast<size_t>(c.rows * c.outputs) * (c.x_type == RowType::float32 ? 4 : 2));
  std::vector<float> partial(c.parts > 1 ? static_cast<size_t>(c.parts * c.rows * weight.columns) : 0);
  emulated::Memory memory;
  memory.add(x.data(), x.size(), emulated::Use::read);
  memory.add(words.data(), words.size() * 16, emulated::Use::read);
  memory.add(weight.factors.data(), weight.factors.size(), emulated::Use::read);
  memory.add(weight.zeros.data(), weight.zeros.size() * 4, emulated::Use::read);
  memory.add(weight.order.data(), weight.order.size() * 4, emulated::Use::read);
  memory.add(weight.bias.data(), weight.bias.size() * 4, emulated::Use::read);
  if (c.parts > 1)
    memory.add(partial.data(), partial.size() * 4, emulated::Use::write);
  else
    memory.add(y.data(), y.size(), emulated::Use::write);
  triton_like::GemvArgs args{};
  args.x = x.data();
  args.order = weight.order.empty() ? nullptr : weight.order.data();
  args.weight = reinterpret_cast<const uint32_t*>(words.data());
  args.factors = weight.factors.data();
  args.zeros = weight.zeros.empty() ? nullptr : weight.zeros.data();
  args.bias = weight.bias.empty() || c.parts > 1 ? nullptr : weight.bias.data();
  args.y = y.data();
  args.partial = c.parts > 1 ? partial.data() : nullptr;
  args.width = c.inputs;
  args.rows = static_cast<int32_t>(c.rows);
  args.n = static_cast<int32_t>(c.outputs);
  args.columns = static_cast<int32_t>(weight.columns);
  args.tiles = static_cast<int32_t>(weight.steps * 2);
  args.group_tiles = static_cast<int32_t>(weight.group_tiles);
  args.factor_type = weight.factor_type;
  args.x_type = c.x_type;
  args.parts = c.parts;
  const int most = c.rows == 1 ? 1 : 4;
  const auto* kernel = emulated::kernels().at(std::string("triton_like_") + kind.name + "_gemv" + std::to_string(most));
  emulated::launch(*kernel, {static_cast<int>(weight.columns / kTileN), c.parts, 1},
                   static_cast<size_t>(triton_like::gemv_shared(most)), &args, memory, c.seed);
  if (c.parts == 1) return y;
  emulated::Memory after;
  after.add(partial.data(), partial.size() * 4, emulated::Use::read);
  after.add(weight.bias.data(), weight.bias.size() * 4, emulated::Use::read);
  after.add(y.data(), y.size(), emulated::Use::write);
  AddArgs sum{};
  sum.partial = partial.data();
  sum.bias = weight.bias.empty() ? nullptr : weight.bias.data();
  sum.y = y.data();
  sum.rows = c.rows;
  sum.n = args.n;
  sum.columns = args.columns;
  sum.splits = c.parts;
  sum.parts = 1;
  sum.type = c.x_type;
  const auto blocks = static_cast<int>((c.rows * c.outputs + 255) / 256);
  emulated::launch(*emulated::kernels().at("triton_like_add"), {blocks, 1, 1}, 0, &sum, after, c.seed);
  return y;
}

TEST(TritonLike, MultipliesAFewRowsInFloat) {
  const int64_t groups[] = {16, 24, 128, -1};
  uint64_t seed = 0;
  for (const Kind& kind : kKinds)
    for (const RowType type : {RowType::float32, RowType::float16, RowType::bfloat16})
      for (const int64_t group : groups) {
        LayerCase c;
        c.bits = kind.bits;
        c.numbers = kind.numbers;
        c.x_type = type;
        c.group = group;
        c.rows = 1 + static_cast<int64_t>(seed % 4);
        c.inputs = 150 + static_cast<int64_t>(seed % 3) * 21;
        c.outputs = 64 + static_cast<int64_t>(seed % 5) * 13;
        c.zeros = kind.numbers == Numbers::integers && seed % 3 != 0;
        c.act_order = seed % 4 == 1;
        c.bias = seed % 2 == 0;
        c.parts = 1 + static_cast<int>(seed % 3);
        c.seed = seed++ % 5;
        const RandomLayer layer(c);
        try {
          expect_product(c, layer, run_gemv(c, layer, kind), type);
        } catch (const std::exception& error) {
          ADD_FAILURE() << c.name() << ": " << error.what();
        }
      }
}

// Every code of every width comes back from its planes.
TEST(TritonLike, FindsEveryCodeInItsPlanes) {
  for (const Kind& kind : kKinds) {
    LayerCase c;
    c.bits = kind.bits;
    c.numbers = kind.numbers;
    c.inputs = 48;
    c.outputs = 100;
    const RandomLayer layer(c);
    const TileWeight weight(layer.numbers);
    for (int64_t n = 0; n < c.outputs; ++n)
      for (int64_t k = 0; k < c.inputs; ++k) {
        unsigned code = 0;
        for (const int plane : {8, 4, 2, 1}) {
          if (!has_plane(c.bits, plane)) continue;
          const Spot spot = spot_of(c.bits, plane, static_cast<int>(k % 16), static_cast<int>(n % 64));
          const uint32_t word = weight.words[static_cast<size_t>((k / 16 * 2 + n / 64) * 32 * c.bits + spot.word)];
          code |= (word >> spot.bit & ((1U << plane) - 1)) << plane_shift(c.bits, plane);
        }
        ASSERT_EQ(code, layer.numbers.codes[static_cast<size_t>(n * c.inputs + k)]) << kind.name;
      }
  }
}

}  // namespace
}  // namespace arkit::cuda::tests
