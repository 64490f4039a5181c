#include "gguf_source.h"

#include <cmath>
#include <cstdlib>
#include <ctime>
#include <map>
#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/scheme.h>
#include <arkit/str.h>

#include "gguf_architecture.h"
#include "gguf_tensor_scales.h"
#include "gguf_testing.h"
#include "rope_factors.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;
using testing::gguf_text;
using testing::gguf_u32;
using testing::GgufBuilder;
using testing::TempDir;

const fs::path kTinyFile = fs::path(ARKIT_TEST_DATA) / "gguf/llama_quantize-q4_k_m.gguf";

std::string fnv1a64(const at::Tensor& tensor) {
  const auto* bytes = static_cast<const uint8_t*>(tensor.const_data_ptr());
  uint64_t hash = 0xcbf29ce484222325;
  for (size_t i = 0; i < tensor.nbytes(); ++i) hash = (hash ^ bytes[i]) * 0x100000001b3;
  char text[17];
  std::snprintf(text, sizeof(text), "%016lx", hash);
  return text;
}

TEST(GgufSource, ReadsTheTinyModelLikeGgufPy) {
  const auto packed = gguf::open_gguf(kTinyFile);
  const auto source = packed->plain();
  const json::Value expected = json::read_file(fs::path(ARKIT_TEST_DATA) / "gguf/expected.json");
  for (const json::Value& entry : expected.at("tensors").as_array()) {
    const std::string name(entry.at("name").as_string());
    const at::Tensor tensor = source->weights().load(name);
    ASSERT_EQ(tensor.scalar_type(), at::kFloat) << name;
    ASSERT_EQ(tensor.dim(), static_cast<int64_t>(entry.at("shape").as_array().size())) << name;
    EXPECT_EQ(tensor.size(0), entry.at("shape").at(0).as_int64()) << name;
    EXPECT_EQ(fnv1a64(tensor), entry.at("fnv1a64").as_string()) << name;
    source->weights().release(name);
    EXPECT_EQ(fnv1a64(source->weights().load(name)), entry.at("fnv1a64").as_string()) << name;
  }
  EXPECT_EQ(source->weights().tensors().size(), 75u);
  EXPECT_EQ(source->weights().find("model.layers.0.mlp.gate_proj.weight")->stored_type, "Q4_K");
  EXPECT_ERROR(source->weights().load("blk.0.attn_q.weight"), "input", "is not in");
}

// Some rows are those of the whole, q and k in the model's order among them; packed layers and plain numbers are no codes
// that rows are made of.
TEST(GgufSource, MakesNumbersOfSomeRows) {
  const auto packed = gguf::open_gguf(kTinyFile);
  const auto plain = packed->plain();
  const WeightSource& weights = plain->weights();
  int64_t decoded = 0;
  for (const TensorInfo& info : weights.tensors()) {
    SCOPED_TRACE(info.name);
    const at::Tensor whole = weights.load(info.name);
    EXPECT_EQ(weights.decodes_rows(info.name), info.shape.size() == 2) << "vectors are F32 in the file";
    EXPECT_EQ(packed->weights().decodes_rows(info.name), info.name == "model.embed_tokens.weight");
    decoded += weights.decodes_rows(info.name) ? 1 : 0;
    const int64_t rows = info.shape[0];
    for (const auto& [first, count] : {std::pair<int64_t, int64_t>{0, 1}, {3, rows - 3}, {rows / 2, 7}, {rows - 1, 1}})
      EXPECT_TRUE(at::equal(weights.load_rows(info.name, first, count), whole.narrow(0, first, count))) << first;
  }
  EXPECT_EQ(decoded, 58);
  EXPECT_THROW((void)weights.load_rows("model.embed_tokens.weight", 319, 2), Error);
  EXPECT_ERROR(weights.load_rows("nothing", 0, 1), "input", "is not in");
}

// Codes, scales and offsets of a layer are its numbers; the embeddings are no layer.
TEST(GgufSource, ShowsItsLinearLayersPacked) {
  const auto source = gguf::open_gguf(kTinyFile);
  const auto plain = source->plain();
  const PackedLayers* packed = source->packed();
  ASSERT_NE(packed, nullptr);
  EXPECT_EQ(plain->packed(), nullptr);
  std::map<std::string, int> packings;
  for (const LinearSpec& spec : packed->layers()) {
    SCOPED_TRACE(spec.name);
    ++packings[spec.packing];
    const QuantizedWeight weight = packed->unpack(spec.name);
    const TensorQuant& quant = spec.quant.weight;
    ASSERT_EQ(weight.codes.sizes(), at::IntArrayRef({spec.out_features, spec.in_features}));
    EXPECT_EQ(weight.offset.defined(), !quant.sym);
    EXPECT_LT(weight.codes.max().item<int>(), 1 << quant.bits);
    const int64_t groups = spec.in_features / quant.group_size;
    const at::Tensor codes = weight.codes.to(at::kFloat).view({spec.out_features, groups, quant.group_size});
    const at::Tensor zero = at::full({}, quant.sym ? 1 << (quant.bits - 1) : 0, at::kFloat);
    at::Tensor numbers = (codes - zero) * weight.scale.unsqueeze(-1);
    if (weight.offset.defined()) numbers = numbers + weight.offset.unsqueeze(-1);
    EXPECT_TRUE(at::equal(numbers.view_as(weight.codes), plain->weights().load(spec.name + ".weight")));
    const TensorInfo* stored = source->weights().find(spec.name + ".weight");
    ASSERT_NE(stored, nullptr);
    EXPECT_EQ(stored->dtype, at::kByte);
    EXPECT_TRUE(at::equal(packed->tensors(spec.name).at("weight"), source->weights().load(stored->name)));
  }
  EXPECT_EQ(packings.size(), 2u);
  EXPECT_GT(packings["gguf:Q4_K"], 0);
  EXPECT_GT(packings["gguf:Q6_K"], 0);
  EXPECT_EQ(source->weights().load("model.embed_tokens.weight").scalar_type(), at::kFloat);
  EXPECT_ERROR(packed->unpack("model.embed_tokens"), "input", "no packed layer");
}

// The configuration says what the source's config.json said, rope parameters in the older spelling.
TEST(GgufSource, RebuildsTheConfiguration) {
  const auto source = gguf::open_gguf(kTinyFile);
  const json::Value original = json::read_file(fs::path(ARKIT_TEST_DATA) / "gguf/source-llama-bf16/config.json");
  for (const char* key :
       {"architectures", "model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
        "num_attention_heads", "num_key_value_heads", "head_dim", "max_position_embeddings", "rms_norm_eps",
        "hidden_act", "tie_word_embeddings", "attention_bias", "mlp_bias", "bos_token_id", "eos_token_id"})
    EXPECT_EQ(source->config().at(key), original.at(key)) << key;
  EXPECT_EQ(source->config().at("rope_theta"), original.at("rope_parameters").at("rope_theta"));
  EXPECT_TRUE(source->config().at("rope_scaling").is_null());
  EXPECT_EQ(source->config().at("torch_dtype"), "bfloat16");
  EXPECT_EQ(source->kind(), "gguf");
}

// Opens a GGUF built by hand.
std::unique_ptr<ModelSource> open(const TempDir& dir, const GgufBuilder& file) {
  return gguf::open_gguf(dir.write("m.gguf", file.bytes()));
}

TEST(GgufSource, UndoesTheRowOrderOfQAndK) {
  const TempDir dir;
  GgufBuilder file = testing::tiny_gguf();
  std::string bytes = file.bytes();
  // Row r of attn_q (8 x 8, the last 256 bytes) holds r everywhere: 2 heads of 4 rows.
  for (size_t row = 0; row < 8; ++row)
    for (size_t column = 0; column < 8; ++column) {
      const auto value = static_cast<float>(row);
      std::memcpy(bytes.data() + bytes.size() - 256 + (row * 8 + column) * 4, &value, 4);
    }
  const auto source = gguf::open_gguf(dir.write("m.gguf", bytes));
  const at::Tensor q = source->weights().load("model.layers.0.self_attn.q_proj.weight");
  const std::vector<float> expected{0, 2, 1, 3, 4, 6, 5, 7};
  for (int64_t row = 0; row < 8; ++row) EXPECT_EQ(q[row][5].item<float>(), expected[static_cast<size_t>(row)]);
  EXPECT_EQ(source->config().at("tie_word_embeddings"), true);
  EXPECT_EQ(source->config().at("num_key_value_heads"), 2);
  EXPECT_EQ(source->tokenizer()->tokenizer_json(), "");
  ASSERT_EQ(source->companions().size(), 1u);
}

TEST(GgufSource, RefusesWhatItCannotRead) {
  const TempDir dir;
  const auto with = [&](const char* key, const std::string& value) {
    GgufBuilder file = testing::tiny_gguf();
    bool replaced = false;
    for (auto& pair : file.pairs)
      if (pair.first == key) {
        pair.second = value;
        replaced = true;
      }
    if (!replaced) file.pairs.emplace_back(key, value);
    return open(dir, file);
  };
  EXPECT_NE(open(dir, testing::tiny_gguf()), nullptr);
  EXPECT_ERROR(with("general.architecture", gguf_text("mamba")), "unsupported", "architecture 'mamba'");
  EXPECT_ERROR(with("general.architecture", gguf_u32(1)), "input", "not a string");
  EXPECT_ERROR(with("llama.block_count", gguf_u32(0)), "input", "'llama.block_count' is 0");
  EXPECT_ERROR(with("llama.block_count", gguf_u32(4000000000)), "input", "expected 1 to 10000");
  EXPECT_ERROR(with("llama.attention.head_count", gguf_u32(3)), "input", "not divisible");
  EXPECT_ERROR(with("llama.attention.head_count", testing::gguf_i32s({2, 3})), "unsupported", "differs between blocks");
  EXPECT_ERROR(with("llama.attention.head_count_kv", gguf_u32(0)), "input", "expected 1 to 2");
  EXPECT_ERROR(with("llama.attention.layer_norm_rms_epsilon", testing::gguf_f32(NAN)), "input", "positive number");
  EXPECT_ERROR(with("llama.expert_count", gguf_u32(8)), "unsupported", "mixture-of-experts");
  EXPECT_ERROR(with("split.count", gguf_u32(3)), "input", "is part 1 of 3, and the others are not found by its name");
  EXPECT_ERROR(with("llama.rope.scaling.type", gguf_text("longrope")), "unsupported", "rope scaling 'longrope'");
  EXPECT_ERROR(with("llama.attention.key_length", gguf_u32(8)), "input", "expected 2 heads of 8");
  GgufBuilder file = testing::tiny_gguf();
  file.tensors[1].name = "blk.1.attn_q.weight";
  EXPECT_ERROR(open(dir, file), "unsupported", "tensor 'blk.1.attn_q.weight'");
  file.tensors[1].name = "output.weight";
  file.tensors[0].name = "token_embd.bias";
  EXPECT_ERROR(open(dir, file), "input", "'token_embd.weight' is missing");
  EXPECT_ERROR(gguf::open_gguf(dir.path()), "input", "is a folder; a file is expected");
}

// Heads of a bias were rows of one block: d = 1 / 2 rows, and a division by it.
TEST(GgufSource, RefusesVectorsInBlocks) {
  const TempDir dir;
  GgufBuilder file = testing::tiny_gguf();
  file.pairs.emplace_back("llama.attention.key_length", gguf_u32(16));
  file.tensors[1].dims = {8, 32};
  file.tensors.push_back({"blk.0.attn_q.bias", {32}, 8, 128 + 1024});
  file.data_bytes = 128 + 1024 + 34;
  EXPECT_ERROR(open(dir, file), "unsupported",
               "tensor 'blk.0.attn_q.bias' has 1 dimensions and type Q8_0, which arkit reads for matrices alone");
  file.tensors[2].type = 0;
  file.data_bytes = 128 + 1024 + 128;
  EXPECT_EQ(open(dir, file)->weights().load("model.layers.0.self_attn.q_proj.bias").numel(), 32);
}

// Matrices in blocks that are no layers: what says nothing to rounding, and biases.
TEST(GgufSource, KnowsLayersByTheirNames) {
  const TempDir dir;
  GgufBuilder file = testing::tiny_gguf();
  for (const char* name : {"blk.0.ffn_up.input_scale", "rope_freqs.weight", "blk.0.ffn_up.bias"}) {
    SCOPED_TRACE(name);
    file.tensors[1] = {name, {32, 2}, 8, 128};
    file.data_bytes = 128 + 2 * 34;
    if (std::string_view(name) == "rope_freqs.weight")
      EXPECT_ERROR(open(dir, file), "input", "'rope_freqs.weight' is no vector of F32");
    else
      EXPECT_EQ(open(dir, file)->packed(), nullptr);
  }
}

// Each scale is looked for among the layers once: tens of thousands of both are no work.
TEST(GgufSource, FindsTheLayersOfManyScales) {
  gguf::File file{.metadata = gguf::Metadata("'f'")};
  const int count = 32768;
  for (int i = 0; i < count; ++i) {
    const std::string name = str("layer-with-a-name-of-usual-length.", i);
    file.tensors.push_back({.name = name + ".weight", .type = gguf::find_type(8), .shape = {1, 32}, .bytes = 34});
    file.tensors.push_back({.name = name + ".scale", .type = gguf::find_type(0), .shape = {1}, .bytes = 4});
  }
  const float scale = 2;
  const std::clock_t start = std::clock();
  const gguf::TensorScales scales = gguf::read_tensor_scales(
      file, [&](const gguf::TensorEntry&) { return reinterpret_cast<const std::byte*>(&scale); });
  EXPECT_EQ(scales.size(), static_cast<size_t>(count));
  EXPECT_LT(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC, 2.0);
}

TEST(GgufSource, NoticesAFileThatWasCut) {
  const TempDir dir;
  const auto source = open(dir, testing::tiny_gguf());
  fs::resize_file(dir.path() / "m.gguf", 600);
  EXPECT_ERROR(source->weights().load("model.embed_tokens.weight"), "input", "when it was opened");
}

TEST(GgufNames, MapAndRefuse) {
  EXPECT_EQ(gguf::hf_tensor_name("blk.11.ffn_down.bias", 12), "model.layers.11.mlp.down_proj.bias");
  EXPECT_EQ(gguf::hf_tensor_name("output_norm.weight", 1), "model.norm.weight");
  for (const char* name :
       {"blk.12.ffn_down.weight", "blk.-1.ffn_up.weight", "blk.01.ffn_up.weight", "blk.1ffn_up.weight", "blk.", "blk.1",
        "blk.99999999999999999999.ffn_up.weight", "ffn_up.weight", "output", "blk.1.output.weight", ""})
    EXPECT_EQ(gguf::hf_tensor_name(name, 12), std::nullopt) << name;
}

TEST(GgufRope, FindsLlama3ParametersAgain) {
  const json::Value vectors = json::read_file(fs::path(ARKIT_TEST_DATA) / "gguf/rope_freqs.json");
  for (const json::Value& vector : vectors.at("cases").as_array()) {
    std::vector<float> factors;
    for (const json::Value& f : vector.at("rope_freqs").as_array()) factors.push_back(f.to_number<float>());
    gguf::HyperParameters p;
    p.head_dim = vector.at("dim").as_int64();
    p.rope_freq_base = vector.at("rope_theta").to_number<double>();
    const json::Value scaling = gguf::llama3_rope_scaling(factors, p, "'f'");
    for (const char* key : {"factor", "low_freq_factor", "high_freq_factor"})
      EXPECT_EQ(scaling.at(key).to_number<double>(), vector.at(key).to_number<double>()) << key;
    EXPECT_EQ(scaling.at("original_max_position_embeddings"), vector.at("original_max_position_embeddings"));
    factors[p.head_dim / 4] *= 1.5F;
    EXPECT_ERROR(gguf::llama3_rope_scaling(factors, p, "'f'"), "unsupported", "no llama3 rope scaling");
    factors.assign(factors.size(), 1.0F);
    EXPECT_TRUE(gguf::llama3_rope_scaling(factors, p, "'f'").is_null());
    for (const float bad : {NAN, INFINITY, 0.0F, -2.0F, 3e38F}) {
      factors.back() = bad;
      EXPECT_ERROR(gguf::llama3_rope_scaling(factors, p, "'f'"), "input", "holds a factor that is not between 0 and");
    }
    factors.pop_back();
    EXPECT_ERROR(gguf::llama3_rope_scaling(factors, p, "'f'"), "input", "factors, expected");
  }
}

TEST(GgufRope, FindsUncommonParametersAgain) {
  // factor 4, low 1, high 8, original 4096 over 64 pairs.
  gguf::HyperParameters p;
  p.head_dim = 128;
  p.rope_freq_base = 10000;
  std::vector<float> factors;
  for (int k = 0; k < 64; ++k) {
    const double wave = 2 * M_PI * std::pow(10000.0, 2.0 * k / 128);
    const double s = (4096 / wave - 1) / 7;
    factors.push_back(static_cast<float>(wave < 512 ? 1 : wave > 4096 ? 4 : 1 / ((1 - s) / 4 + s)));
  }
  const json::Value scaling = gguf::llama3_rope_scaling(factors, p, "'f'");
  EXPECT_EQ(scaling.at("high_freq_factor"), 8.0);
  EXPECT_EQ(scaling.at("original_max_position_embeddings"), 4096);
}

// The real model, when it is on this machine: ARKIT_SMOLLM2_GGUF names the file, ARKIT_SMOLLM2_HF the folder that the
// reference made from it.
TEST(GgufSource, EqualsTheReferenceOnSmolLM2) {
  const char* file = std::getenv("ARKIT_SMOLLM2_GGUF");
  const char* folder = std::getenv("ARKIT_SMOLLM2_HF");
  if (file == nullptr || folder == nullptr) GTEST_SKIP() << "needs ARKIT_SMOLLM2_GGUF and ARKIT_SMOLLM2_HF";
  const auto source = gguf::open_gguf(file);
  const auto reference = open_hf_folder(folder);
  ASSERT_EQ(source->weights().tensors().size(), reference->weights().tensors().size());
  for (const TensorInfo& info : reference->weights().tensors()) {
    const at::Tensor weight = source->weights().load(info.name).to(at::kBFloat16);
    ASSERT_TRUE(at::equal(weight, reference->weights().load(info.name))) << info.name;
  }
}

}  // namespace
}  // namespace arkit
