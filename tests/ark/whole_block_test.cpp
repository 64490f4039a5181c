// Exports of the reference through the ark backend: layer by layer and in whole blocks, against torch.
#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/engine/open_source.h>
#include <arkit/error.h>
#include <arkit/scheme.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/sdk/paged_hook.h>

#include "inference/backend_choice.h"
#include "inference/engine.h"
#include "inference/generator.h"
#include "inference/support.h"

namespace arkit {
namespace {

// The size of a difference beside that of what is expected.
double distance(const at::Tensor& got, const at::Tensor& expected) {
  return ((got.to(at::kFloat) - expected.to(at::kFloat)).norm() / expected.to(at::kFloat).norm()).item<double>();
}

at::Tensor random_ids(const Engine& engine, int64_t count) {
  at::manual_seed(11);
  return at::randint(0, engine.model().vocab_size(), {count}, at::kLong);
}

// With its weights: in the repository, or beside it. Empty = nowhere.
std::string folder_of(const std::string& name) {
  for (const std::string folder : {ARKIT_TEST_DATA "/golden/", ARKIT_SHARED_DIR "/golden/"})
    if (std::filesystem::exists(folder + name + "/model.safetensors")) return folder + name;
  return {};
}

std::unique_ptr<ModelSource> export_of(const std::string& name) {
  return open_source(folder_of(name), tests::registry());
}

// Sequences that grow in a cache, as a batcher has them.
class Growing {
 public:
  Growing(Engine& engine, int64_t page_size, int64_t pages)
      : engine_(engine), cache_(page_size, pages), paged_(engine.layers(), cache_) {}
  int64_t add() { return cache_.add(); }
  // Logits of all new tokens.
  at::Tensor feed(const std::vector<std::pair<int64_t, at::Tensor>>& tokens) {
    std::vector<sdk::NewTokens> fed;
    for (const auto& [sequence, ids] : tokens) {
      const auto count = static_cast<size_t>(ids.numel());
      EXPECT_TRUE(cache_.reserve(sequence, ids.numel()));
      fed.push_back({sequence, {ids.const_data_ptr<int64_t>(), count}});
    }
    Engine::WholeStep shared;
    const auto whole = [&](int64_t block, at::Tensor& x, const ForwardContext& context) {
      return engine_.run_whole(block, x, context, cache_, shared);
    };
    return engine_.logits(sdk::feed(engine_.model(), paged_, cache_, fed, false, whole)).select(0, 0);
  }

 private:
  Engine& engine_;
  sdk::SequenceCache cache_;
  sdk::PagedHook paged_;
};

struct Export {
  const char* name;
  bool whole;          // its blocks are taken whole
  double most = 0.03;  // distance of logits, layer by layer and whole

  friend std::ostream& operator<<(std::ostream& out, const Export& one) { return out << one.name; }
};

// A CPU that the backend has no kernels for.
std::string missing() {
  const Availability here = tests::registry().backend("ark").probe();
  return here.score > 0 ? std::string() : "needs another machine: " + here.why_not;
}

class ArkExport : public testing::TestWithParam<Export> {
 protected:
  void SetUp() override {
    if (!missing().empty()) GTEST_SKIP() << missing();
    if (folder_of(GetParam().name).empty())
      GTEST_SKIP() << "needs ../shared/golden/" << GetParam().name << " with its weights";
  }
};

class ArkWholeBlocks : public testing::Test {
 protected:
  void SetUp() override {
    if (!missing().empty()) GTEST_SKIP() << missing();
  }
};

TEST_P(ArkExport, GivesTheLogitsOfTorch) {
  const auto source = export_of(GetParam().name);
  Engine torch(*source, tests::registry(), at::kFloat, "torch");
  torch.load_all();
  const at::Tensor ids = random_ids(torch, 70);
  const at::Tensor expected = torch.forward(ids.unsqueeze(0), {}, {}, false).select(0, 0);

  Engine layers(*source, tests::registry(), at::kFloat, "ark");
  layers.load_all();
  EXPECT_LT(distance(layers.forward(ids.unsqueeze(0), {}, {}, false).select(0, 0), expected), GetParam().most);

  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    // Activations of 4 bits fall on other steps whenever anything is rounded in another place.
    if (dtype == at::kBFloat16 && !GetParam().whole) continue;
    Engine whole(*source, tests::registry(), dtype, "ark");
    whole.use_whole_blocks(16);
    EXPECT_EQ(whole.whole_blocks(), GetParam().whole ? whole.model().num_blocks() : 0);
    whole.load_all();
    Growing growing(whole, 16, 8);
    const int64_t one = growing.add();
    EXPECT_LT(distance(growing.feed({{one, ids}}), expected), GetParam().most + (dtype == at::kBFloat16 ? 0.02 : 0.0));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Golden, ArkExport,
    testing::Values(Export{"auto_round-W4A16", true}, Export{"auto_round-W2A16-asym", true},
                    Export{"auto_round-W3A16", true}, Export{"auto_round-W5A16-asym", true},
                    Export{"auto_round-W6A16G32-asym", true}, Export{"auto_round-W7A16G32-asym", true},
                    Export{"auto_round-W8A16", true}, Export{"auto_round-W4A16-pc", true},
                    Export{"auto_gptq-W4A16G32-bias-fp32", true}, Export{"auto_gptq-W3A16G32-asym", true},
                    Export{"auto_awq-W4A16G32-asym", true}, Export{"mlx-W4A16G32", true},
                    Export{"llm_compressor-W4A16G32-asym", true}, Export{"llm_compressor-INT8_W8A8", true},
                    Export{"auto_round-MXINT4", false}, Export{"auto_round-MXFP4", false},
                    Export{"auto_round-NVFP4", false}, Export{"mixed-auto_round-W4A16", false},
                    Export{"lmhead-auto_round-W4A16", true}, Export{"qwen3tied-auto_round-W4A16", true},
                    Export{"qwen3tied-llm_compressor-INT8_W8A8", true}, Export{"auto_round-FPW8A16", true},
                    Export{"auto_round-FP8_STATIC", true}, Export{"llm_compressor-FP8_STATIC", true},
                    Export{"auto_round-FP8_BLOCK", true, 0.04}, Export{"fp8-FP8_BLOCK", true},
                    Export{"llm_compressor-MXFP8", true}, Export{"llm_compressor-MXFP8_RCEIL", false}),
    [](const auto& info) {
      std::string name = info.param.name;
      for (char& c : name)
        if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
      return name;
    });

// Whoever asks for all digits gets what torch gives up to its rounding, from the same packed weights.
TEST_F(ArkWholeBlocks, WithFloatsGiveTheLogitsOfTorch) {
  // 8-bit activations fall on other steps where sums were rounded in another order.
  for (const auto& [name, whole, most] :
       {Export{"auto_round-W4A16", true, 1e-5}, Export{"auto_round-W2A16-asym", true, 1e-5},
        Export{"auto_round-W7A16G32-asym", true, 1e-5}, Export{"mlx-W4A16G32", true, 1e-5},
        Export{"auto_gptq-W4A16G32-bias-fp32", true, 1e-5}, Export{"llm_compressor-INT8_W8A8", false, 0.01},
        Export{"auto_round-MXFP4", false, 1e-5}, Export{"auto_round-NVFP4", false, 1e-5},
        Export{"auto_round-FPW8A16", true, 1e-5}}) {
    SCOPED_TRACE(name);
    if (folder_of(name).empty()) continue;
    const auto source = export_of(name);
    Engine torch(*source, tests::registry(), at::kFloat, "torch");
    torch.load_all();
    const at::Tensor ids = random_ids(torch, 20);
    const at::Tensor expected = torch.forward(ids.unsqueeze(0), {}, {}, false).select(0, 0);
    BackendWish wish("ark");
    wish.compute = "float";
    Reporter nobody;
    Engine layers(*source, tests::registry(), at::kFloat, wish, nobody);
    layers.load_all();
    EXPECT_LT(distance(layers.forward(ids.unsqueeze(0), {}, {}, false).select(0, 0), expected), most);
    Engine blocks(*source, tests::registry(), at::kFloat, wish, nobody);
    blocks.use_whole_blocks(16);
    EXPECT_EQ(blocks.whole_blocks(), whole ? blocks.model().num_blocks() : 0);
    blocks.load_all();
    Growing growing(blocks, 16, 8);
    EXPECT_LT(distance(growing.feed({{growing.add(), ids}}), expected), most);
  }
}

// Keys and values in 8 bits cost little, and nothing depends on how a text was cut or where its pages lie.
TEST_F(ArkWholeBlocks, KeepKeysAndValuesInEightBits) {
  for (const char* const name : {"auto_round-W4A16", "qwen3tied-auto_round-W4A16"}) {
    SCOPED_TRACE(name);
    const auto source = export_of(name);
    const auto engine_with = [&](const char* dtype) {
      auto engine = std::make_unique<Engine>(*source, tests::registry(), at::kFloat, "ark");
      engine->use_whole_blocks(16, dtype);
      engine->load_all();
      return engine;
    };
    const auto floats = engine_with("float32"), bytes = engine_with("int8"), halves = engine_with("bfloat16");
    const at::Tensor ids = random_ids(*bytes, 100);
    const auto all_of = [&](Engine& engine) {
      Growing growing(engine, 128, 1);
      return growing.feed({{growing.add(), ids}});
    };
    const at::Tensor expected = all_of(*floats), got = all_of(*bytes);
    EXPECT_LT(distance(got, expected), 0.03);
    EXPECT_GT(distance(got, expected), 0);
    EXPECT_LT(distance(all_of(*halves), expected), 0.02);
    EXPECT_GT(distance(all_of(*halves), expected), 0);
    EXPECT_EQ(bytes->page_size(50), 64);
    EXPECT_EQ(floats->page_size(50), 50);
    Growing parts(*bytes, 16, 16);
    const int64_t one = parts.add(), beside = parts.add();
    std::vector<at::Tensor> rows;
    for (const auto& [first, count] : {std::pair(0, 37), std::pair(37, 1), std::pair(38, 62)}) {
      const at::Tensor logits = parts.feed({{beside, ids.narrow(0, 5, 3)}, {one, ids.narrow(0, first, count)}});
      rows.push_back(logits.narrow(0, 3, count));
    }
    EXPECT_LT(distance(at::cat(rows), got), 1e-6);  // the head is torch's
  }
}

TEST_F(ArkWholeBlocks, SayWhereKeysAndValuesCannotBeKept) {
  const auto source = export_of("auto_round-W4A16");
  Engine torch(*source, tests::registry(), at::kFloat, "torch");
  try {
    torch.use_whole_blocks(16, "int8");
    FAIL() << "torch runs no blocks";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    EXPECT_NE(std::string(error.what()).find("blocks run layer by layer"), std::string::npos) << error.what();
  }
  torch.use_whole_blocks(16, "float32");  // as they are anyway
}

// With the families that are files.
const Registry& families() {
  static const Registry kRegistry(
      PluginSearch{.named = {}, .folders = {ARKIT_PLUGIN_BUILD_DIR}, .families = {ARKIT_SOURCE_FAMILIES}});
  return kRegistry;
}

// A checkpoint whose blocks' layers are packed when it is opened.
class PackedBlocks final : public sdk::ForwardingSource, private PackedLayers {
 public:
  explicit PackedBlocks(const std::string& family)
      : ForwardingSource(open_hf_folder(ARKIT_TEST_DATA "/families/" + family)) {
    Scheme& scheme = families().scheme("int");
    const ModelLayout layout = adapter_for(*this, families()).layout(*this);
    for (const BlockLayout& block : layout.blocks)
      for (const LayerPlan& plan : block.layers) {
        const TensorQuant quant{.bits = 4, .group_size = 16, .sym = false};
        const at::Tensor weight = weights().load(plan.name + ".weight").to(at::kFloat);
        codes_.emplace(plan.name, scheme.quantize_rtn(weight, quant, RtnMode::plain, {}, 0, {}));
        specs_.push_back({.name = plan.name,
                          .packing = "test",
                          .out_features = plan.out_features,
                          .in_features = plan.in_features,
                          .has_bias = plan.has_bias,
                          .quant = {.weight = quant}});
      }
  }
  const PackedLayers* packed() const override { return this; }

 private:
  std::span<const LinearSpec> layers() const override { return specs_; }
  TensorMap tensors(std::string_view layer) const override {
    const std::string bias = std::string(layer) + ".bias";
    return weights().find(bias) == nullptr ? TensorMap() : TensorMap{{"bias", weights().load(bias)}};
  }
  QuantizedWeight unpack(std::string_view layer) const override { return codes_.find(layer)->second; }

  std::vector<LinearSpec> specs_;
  std::map<std::string, QuantizedWeight, std::less<>> codes_;
};

// Blocks that differ in more than their numbers: scaled residual sums and scores (granite), norms with an offset and
// another activation (gemma), norms behind sublayers and of queries (gemma3_text), fused layers (phi3). Not taken whole:
// norms over all heads (olmo2), heads of 8 channels (glm), sublayers side by side (cohere).
TEST_F(ArkWholeBlocks, OfOtherFamiliesGiveTheLogitsOfTorch) {
  for (const auto& [family, whole] : {std::pair("granite", true), std::pair("gemma", true), std::pair("olmo2", false),
                                      std::pair("phi3", true), std::pair("glm", false), std::pair("glm4", false),
                                      std::pair("gemma3_text", true), std::pair("cohere", false)}) {
    SCOPED_TRACE(family);
    const PackedBlocks source(family);
    Engine torch(source, families(), at::kFloat, "torch");
    torch.load_all();
    const at::Tensor ids = random_ids(torch, 40);
    const at::Tensor expected = torch.forward(ids.unsqueeze(0), {}, {}, false).select(0, 0);
    Engine engine(source, families(), at::kFloat, "ark");
    engine.use_whole_blocks(16);
    EXPECT_EQ(engine.whole_blocks(), whole ? engine.model().num_blocks() : 0);
    engine.load_all();
    Growing growing(engine, 16, 8);
    EXPECT_LT(distance(growing.feed({{growing.add(), ids}}), expected), 0.03);
  }
}

// Layers of a GGUF file keep their codes, in groups of 16 and 32, most with offsets.
TEST_F(ArkWholeBlocks, OfAGgufFileGiveTheLogitsOfItsNumbers) {
  const auto source = open_source(ARKIT_TEST_DATA "/gguf/llama_quantize-q4_k_m.gguf", tests::registry());
  const auto plain = source->plain();
  ASSERT_NE(plain, nullptr);
  Engine numbers(*plain, tests::registry(), at::kFloat, "torch");
  EXPECT_TRUE(sdk::packed_layers(*plain).empty());
  numbers.load_all();
  const at::Tensor ids = random_ids(numbers, 40);
  const at::Tensor expected = numbers.forward(ids.unsqueeze(0), {}, {}, false).select(0, 0);

  Engine torch(*source, tests::registry(), at::kFloat, "torch");
  EXPECT_FALSE(sdk::packed_layers(*source).empty());
  torch.load_all();
  EXPECT_TRUE(at::equal(torch.forward(ids.unsqueeze(0), {}, {}, false).select(0, 0), expected));

  Engine engine(*source, tests::registry(), at::kFloat, "ark");
  engine.use_whole_blocks(16);
  EXPECT_EQ(engine.whole_blocks(), engine.model().num_blocks());
  engine.load_all();
  Growing growing(engine, 16, 8);
  EXPECT_LT(distance(growing.feed({{growing.add(), ids}}), expected), 0.03);
}

// What came in parts, beside others and over the edges of pages is what came at once, but for the order of sums.
TEST_F(ArkWholeBlocks, GrowAsTheyWouldAtOnce) {
  const auto source = export_of("qwen3tied-auto_round-W4A16");
  Engine engine(*source, tests::registry(), at::kFloat, "ark");
  engine.use_whole_blocks(16);
  engine.load_all();
  const at::Tensor ids = random_ids(engine, 90), others = random_ids(engine, 40).flip(0).contiguous();
  const auto part = [](const at::Tensor& all, int64_t first, int64_t count) {
    return all.narrow(0, first, count).contiguous();
  };
  Growing at_once(engine, 128, 2), in_parts(engine, 4, 64);
  const at::Tensor expected = at_once.feed({{at_once.add(), ids}});
  const at::Tensor beside = at_once.feed({{at_once.add(), others}});

  const int64_t first = in_parts.add(), second = in_parts.add();
  const at::Tensor begun = in_parts.feed({{first, part(ids, 0, 37)}});
  const at::Tensor both = in_parts.feed({{second, part(others, 0, 39)}, {first, part(ids, 37, 52)}});
  const at::Tensor last = in_parts.feed({{first, part(ids, 89, 1)}, {second, part(others, 39, 1)}});
  EXPECT_LT(distance(at::cat({begun, both.narrow(0, 39, 52), last.narrow(0, 0, 1)}), expected), 1e-3);
  EXPECT_LT(distance(at::cat({both.narrow(0, 0, 39), last.narrow(0, 1, 1)}), beside), 1e-3);
}

TEST_F(ArkWholeBlocks, TheHeadInEightBitsIsNearTheOneThatIsStored) {
  for (const char* name : {"auto_round-W4A16", "qwen3tied-auto_round-W4A16"}) {
    const auto source = export_of(name);
    at::Tensor logits[2];
    for (const int64_t bits : {8, 16}) {
      Engine engine(*source, tests::registry(), at::kFloat, "ark");
      engine.use_whole_blocks(bits);
      engine.load_all();
      EXPECT_EQ(engine.has_packed_head(), bits == 8);
      Growing growing(engine, 64, 1);
      logits[bits / 16] = growing.feed({{growing.add(), random_ids(engine, 20)}});
    }
    EXPECT_LT(distance(logits[0], logits[1]), 0.02) << name;
    EXPECT_FALSE(at::equal(logits[0], logits[1])) << name;
  }
}

TEST_F(ArkWholeBlocks, CommandsThatMeasureLeaveItOutUnlessItIsNamed) {
  const auto source = export_of("auto_round-W4A16");
  const LinearSpec layer = sdk::packed_layers(*source).front();
  BackendWish wish;
  EXPECT_EQ(BackendChooser(tests::registry(), wish).choose(layer).backend->info().name, "ark");
  wish.exact = true;
  const BackendChoice choice = BackendChooser(tests::registry(), wish).choose(layer);
  EXPECT_EQ(choice.backend->info().name, "torch");
  const auto ark = std::ranges::find(choice.answers, "ark", &BackendAnswer::name);
  ASSERT_NE(ark, choice.answers.end());
  EXPECT_NE(ark->verdict.why_not.find("'--backend ark' measures with it"), std::string::npos);
  wish.backend = "ark";
  EXPECT_EQ(BackendChooser(tests::registry(), wish).choose(layer).backend->info().name, "ark");
}

// torch runs no blocks: nothing changes for it.
// In groups, which keep most of what six bits lose; and not rounded again where prepared layers are kept.
TEST_F(ArkWholeBlocks, TakeAHeadOfSixBits) {
  const auto source = export_of("auto_round-W4A16");
  const std::filesystem::path kept = std::filesystem::path(testing::TempDir()) / "ark_head_of_six_bits";
  std::filesystem::remove_all(kept);
  std::vector<at::Tensor> logits;
  for (const auto& [bits, folder] : {std::pair(16, std::filesystem::path()), std::pair(6, kept), std::pair(6, kept)}) {
    Reporter nobody;
    Engine engine(*source, tests::registry(), at::kFloat, BackendWish("ark", {}, folder), nobody);
    engine.use_whole_blocks(bits);
    engine.load_all();
    EXPECT_EQ(engine.has_packed_head(), bits == 6);
    if (logits.size() == 2) {
      EXPECT_EQ(engine.prepared_cache()->written(), 0);
      EXPECT_EQ(engine.prepared_cache()->used(), engine.whole_blocks() + 1);
    }
    Growing growing(engine, 64, 1);
    logits.push_back(growing.feed({{growing.add(), random_ids(engine, 20)}}));
  }
  EXPECT_LT(distance(logits[1], logits[0]), 0.04);
  EXPECT_TRUE(at::equal(logits[1], logits[2]));
  std::filesystem::remove_all(kept);
}

TEST_F(ArkWholeBlocks, AreAMatterOfTheBackend) {
  const auto source = export_of("auto_round-W4A16");
  Engine engine(*source, tests::registry(), at::kFloat, "torch");
  engine.use_whole_blocks(8);
  EXPECT_EQ(engine.whole_blocks(), 0);
  EXPECT_FALSE(engine.has_packed_head());
}

}  // namespace
}  // namespace arkit
