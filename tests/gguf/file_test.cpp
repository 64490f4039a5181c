// Whole files: llama-quantize's types and bytes, and what a file says of its model when it is opened again.
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/engine/jobs.h>
#include <arkit/engine/resolved_options.h>
#include <arkit/engine/tokenizer.h>
#include <arkit/json.h>
#include <arkit/mapped_file.h>
#include <arkit/model_source.h>
#include <arkit/scheme.h>
#include <arkit/sdk/gguf_blocks.h>
#include <arkit/str.h>

#include "gguf_file.h"
#include "gguf_rules.h"
#include "jobs/job_testing.h"
#include "jobs/written_model.h"
#include "util/sha256.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;
using testing::contains;
using testing::refusal;
using testing::registry;
using testing::TemporaryFolder;

const fs::path kSource = fs::path(ARKIT_SHARED_DIR) / "vectors/gguf_tiny/source-llama-bf16";

class GgufFile : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(kSource / "model.safetensors"))
      GTEST_SKIP() << "needs ../shared/vectors/gguf_tiny with the weights of its source";
  }

  // The one file of a run.
  fs::path write(const std::string& format, QuantizeOptions options = {}) {
    if (options.model.empty()) options.model = kSource.string();
    options.formats = {format};
    options.recipe = "rtn";
    options.tuning.disable_opt_rtn = true;
    options.output_dir = folder_.path() / format.substr(format.find(':') + 1);
    testing::Recorder recorder;
    report_ = quantize(options, registry(), recorder);
    warnings_ = recorder.warnings;
    for (const fs::directory_entry& entry : fs::directory_iterator(options.output_dir))
      if (entry.path().extension() == ".gguf") return entry.path();
    ADD_FAILURE() << "no file";
    return {};
  }

  TemporaryFolder folder_;
  json::Value report_;
  std::vector<std::string> warnings_;
};

std::string digest(const MappedFile& map) {
  const gguf::File file = gguf::parse_gguf(map.bytes(), "'file'");
  std::string text;
  for (const gguf::TensorEntry& tensor : file.tensors) {
    Sha256 hash;
    hash.update(map.bytes().subspan(static_cast<size_t>(tensor.offset), static_cast<size_t>(tensor.bytes)));
    text += tensor.name + " " + hash.hex() + "\n";
  }
  return sha256_hex(text);
}

// Every tensor of 16 files, in its place.
TEST_F(GgufFile, HasTheTensorsOfLlamaQuantize) {
  const json::Value digests = json::read_file(fs::path(ARKIT_TEST_DATA) / "gguf/llama_quantize_digests.json");
  ASSERT_EQ(digests.as_object().size(), 16U);
  for (const auto& [kind, expected] : digests.as_object()) {
    const fs::path path = write("gguf:" + std::string(kind));
    EXPECT_EQ(digest(MappedFile(path)), expected.as_string()) << kind;
    EXPECT_TRUE(warnings_.empty()) << warnings_.front();
  }
}

// bf16 would lose bits of float16 and float32 on the way.
TEST_F(GgufFile, IsRoundedFromTheNumbersAsTheyAreStored) {
  const std::string layer = "model.layers.3.mlp.up_proj";
  const TensorQuant quant = sdk::quant_of(sdk::BlockType::q8_0);
  const Scheme& scheme = registry().scheme_for(quant.data_type);
  for (const at::ScalarType stored : {at::kHalf, at::kFloat}) {
    TensorMap tensors = testing::tensors_of(kSource.string());
    for (auto& [name, tensor] : tensors) tensor = tensor.to(at::kFloat).mul(1.001F).to(stored);
    const at::Tensor weight = tensors.at(layer + ".weight").to(at::kFloat);
    const fs::path model = folder_.path() / c10::toString(stored);
    fs::copy(kSource, model);
    fs::remove(model / "model.safetensors");
    testing::write_tensors(model / "model.safetensors", tensors);
    QuantizeOptions options;
    options.force = true;
    options.model = model.string();
    const auto written = open_source(write("gguf:q8_0", options).string(), registry());
    const QuantizedWeight expected = scheme.quantize_rtn(weight, quant, RtnMode::plain, {}, 0, {});
    EXPECT_TRUE(
        written->plain()->weights().load(layer + ".weight").equal(scheme.dequantize(expected, quant, at::kFloat)))
        << stored;
  }
}

TEST_F(GgufFile, SaysOfItsModelWhatTheSourceSays) {
  const fs::path path = write("gguf:q8_0");
  EXPECT_EQ(path.filename(), "source-llama-bf16-3.3M-Q8_0.gguf");
  const auto source = open_source(kSource.string(), registry());
  const auto written = open_source(path.parent_path().string(), registry());  // the folder of one file is that file
  for (const char* key : {"model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
                          "num_attention_heads", "num_key_value_heads", "head_dim", "max_position_embeddings",
                          "rms_norm_eps", "tie_word_embeddings", "bos_token_id", "eos_token_id"})
    EXPECT_EQ(written->config().at(key), source->config().at(key)) << key;
  const auto tokenizer = [](const ModelSource& model) {
    return Tokenizer(model.tokenizer()->tokenizer_json(), model.tokenizer()->tokenizer_config());
  };
  const Tokenizer ours = tokenizer(*source), theirs = tokenizer(*written);
  for (const char* text : {"Once upon a time", "  two  blanks", "caf\u00e9 \U0001F680", "", "line\nline"}) {
    EXPECT_EQ(ours.encode(text), theirs.encode(text)) << text;
    EXPECT_EQ(theirs.decode(theirs.encode(text)), ours.decode(ours.encode(text))) << text;
  }
  const at::Tensor q = written->plain()->weights().load("model.layers.3.self_attn.q_proj.weight");
  const at::Tensor stored = source->weights().load("model.layers.3.self_attn.q_proj.weight").to(at::kFloat);
  EXPECT_LT((q - stored).norm().item<double>(), 0.01 * stored.norm().item<double>()) << "rows in another order";
}

// Equal as sets but for the name, which the converter was told, and who wrote the file.
TEST_F(GgufFile, HasTheKeysOfTheConverter) {
  const MappedFile own(write("gguf:q4_k_m")), other(fs::path(ARKIT_TEST_DATA) / "gguf/llama_quantize-q4_k_m.gguf");
  const auto keys = [](const MappedFile& map) {
    std::map<std::string, std::string> texts;
    const gguf::File file = gguf::parse_gguf(map.bytes(), "'file'");
    for (const auto& [key, value] : file.metadata.values())
      if (key != "general.name" && key != "general.quantized_by")
        texts[key] = std::to_string(static_cast<int>(value.type)) + " " +
                     std::string(reinterpret_cast<const char*>(value.payload.data()), value.payload.size());
    return texts;
  };
  const auto ours = keys(own), theirs = keys(other);
  EXPECT_EQ(theirs.size(), 27U);
  for (const auto& [key, text] : theirs) {
    ASSERT_TRUE(ours.contains(key)) << key;
    EXPECT_EQ(ours.at(key), text) << key;
  }
  for (const auto& [key, text] : ours) EXPECT_TRUE(theirs.contains(key)) << key;
}

// What the plan says is what the file has; layers that are fixed stay as they are.
TEST_F(GgufFile, LeavesAloneWhatTheUserFixed) {
  QuantizeOptions options;
  options.ignore_layers = {"model.layers.0.self_attn.v_proj"};
  options.layer_config = R"({"model.layers.1.mlp.down_proj": {"scheme": "GGUF:Q3_K_M"}})";
  const MappedFile map(write("gguf:q4_k_m", options));
  const gguf::File file = gguf::parse_gguf(map.bytes(), "'file'");
  std::map<std::string, std::string_view> types;
  for (const gguf::TensorEntry& tensor : file.tensors) types[tensor.name] = tensor.type->name;
  EXPECT_EQ(types.at("blk.0.attn_v.weight"), "BF16");
  EXPECT_EQ(types.at("blk.1.ffn_down.weight"), "Q3_K");
  EXPECT_EQ(types.at("blk.7.ffn_down.weight"), "Q6_K");
  EXPECT_EQ(types.at("blk.0.attn_norm.weight"), "F32");
}

double relative_error(const at::Tensor& got, const at::Tensor& wanted) {
  return ((got - wanted).norm() / wanted.norm()).item<double>();
}

// Files of 4-bit floats and of three values: what lies where, and what is read from it.
TEST_F(GgufFile, HoldsTheOtherTypes) {
  const auto source = open_source(kSource.string(), registry());
  const std::string layer = "model.layers.3.self_attn.q_proj";
  const at::Tensor wanted = source->weights().load(layer + ".weight").to(at::kFloat);
  struct Kind {
    const char *name, *type, *embedding, *head;
    double most;  // error of a weight relative to its norm
  };
  for (const Kind& kind : {Kind{"mxfp4", "MXFP4", "Q8_0", "Q8_0", 0.13}, Kind{"nvfp4", "NVFP4", "Q8_0", "Q8_0", 0.09},
                           Kind{"tq1_0", "TQ1_0", "Q4_K", "Q6_K", 0.9}, Kind{"tq2_0", "TQ2_0", "Q4_K", "Q6_K", 0.9}}) {
    SCOPED_TRACE(kind.name);
    const MappedFile map(write(str("gguf:", kind.name)));
    EXPECT_TRUE(warnings_.empty()) << warnings_.front();
    const gguf::File file = gguf::parse_gguf(map.bytes(), "'file'");
    int scales = 0;
    for (const gguf::TensorEntry& tensor : file.tensors) {
      const std::string_view expected = tensor.name == "token_embd.weight" ? kind.embedding
                                        : tensor.name == "output.weight"   ? kind.head
                                        : tensor.shape.size() == 2         ? kind.type
                                                                           : "F32";
      EXPECT_EQ(tensor.type->name, expected) << tensor.name;
      if (!tensor.name.ends_with(".scale")) continue;
      ++scales;
      EXPECT_EQ(tensor.type->name, "F32");
      EXPECT_EQ(tensor.shape, std::vector<int64_t>{1});
    }
    EXPECT_EQ(scales, kind.type == std::string("NVFP4") ? 8 * 7 : 0);
    const auto written = open_source(map.path().string(), registry());
    const at::Tensor plain = written->plain()->weights().load(layer + ".weight");
    EXPECT_LT(relative_error(plain, wanted), kind.most);
    const QuantizedWeight codes = written->packed()->unpack(layer);
    const at::Tensor spread = codes.scale.repeat_interleave(plain.size(1) / codes.scale.size(1), 1);
    EXPECT_TRUE(at::equal(spread * (codes.codes.to(at::kFloat) - 128), plain)) << "codes and numbers disagree";
  }
}

// The same bits a weight, closer than blocks of 32 with one scale: the scale of the tensor puts every group's into reach.
TEST_F(GgufFile, NvFp4IsNoWorseThanQ4) {
  const auto source = open_source(kSource.string(), registry());
  const auto error_of = [&](const char* format) {
    const auto opened = open_source(write(format).string(), registry());
    const auto written = opened->plain();
    double sum = 0;
    for (const char* name : {"self_attn.q_proj", "self_attn.v_proj", "mlp.up_proj", "mlp.down_proj"}) {
      const std::string weight = str("model.layers.3.", name, ".weight");
      sum += relative_error(written->weights().load(weight), source->weights().load(weight).to(at::kFloat));
    }
    return sum;
  };
  EXPECT_LT(error_of("gguf:nvfp4"), error_of("gguf:q4_0"));
}

TEST_F(GgufFile, RefusesBrokenScalesOfTensors) {
  const fs::path path = write("gguf:nvfp4");
  std::string bytes;
  {
    std::ifstream in(path, std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(in), {});
  }
  const size_t name = bytes.find("blk.2.ffn_up.scale");
  ASSERT_NE(name, std::string::npos);
  const auto refused = [&](size_t at, std::string_view by) {
    std::string broken = bytes;
    broken.replace(at, by.size(), by);
    const fs::path copy = folder_.path() / "broken.gguf";
    std::ofstream(copy, std::ios::binary) << broken;
    return refusal(ErrorCode::input, [&] { (void)open_source(copy.string(), registry()); });
  };
  EXPECT_TRUE(contains(refused(name, "blk.2.ffn_no.scale"), "'blk.2.ffn_no.weight', expected a linear layer in blocks"))
      << refused(name, "blk.2.ffn_no.scale");
  const MappedFile map(path);
  for (const gguf::TensorEntry& tensor : gguf::parse_gguf(map.bytes(), "'file'").tensors)
    if (tensor.name == "blk.2.ffn_up.scale") {
      const auto at = static_cast<size_t>(tensor.offset);
      for (const std::string_view number : {std::string_view("\0\0\0\0", 4), std::string_view("\0\0\xc0\x7f", 4)})
        EXPECT_TRUE(contains(refused(at, number), "one number of type F32, finite and not 0")) << refused(at, number);
    }
}

// AutoRound's search: the same types as with ggml's, other bytes.
TEST_F(GgufFile, IsSearchedAsAutoRoundDoes) {
  QuantizeOptions options;
  const std::string usual = digest(MappedFile(write("gguf:q4_k_m", options)));
  options.force = true;
  options.overrides.scale_search = "ggml";
  EXPECT_EQ(digest(MappedFile(write("gguf:q4_k_m", options))), usual);
  options.overrides.scale_search = "auto_round";
  const MappedFile map(write("gguf:q4_k_m", options));
  EXPECT_NE(digest(map), usual);
  std::map<std::string, std::string_view> types;
  const gguf::File file = gguf::parse_gguf(map.bytes(), "'file'");
  for (const gguf::TensorEntry& tensor : file.tensors) types[tensor.name] = tensor.type->name;
  EXPECT_EQ(types.at("blk.1.ffn_down.weight"), "Q4_K");
  EXPECT_EQ(types.at("blk.7.ffn_down.weight"), "Q6_K");
  const auto source = open_source(kSource.string(), registry());
  const auto opened = open_source(map.path().string(), registry());
  const auto written = opened->plain();
  const std::string down = "model.layers.1.mlp.down_proj.weight";
  EXPECT_LT(relative_error(written->weights().load(down), source->weights().load(down).to(at::kFloat)), 0.08);
  const auto refused = [&](const char* format, const char* search) {
    options.overrides.scale_search = search;
    return refusal(ErrorCode::usage, [&] { (void)write(format, options); });
  };
  EXPECT_TRUE(contains(refused("gguf:iq4_xs", "auto_round"), "'iq4_xs' finds scales in one way alone"));
  EXPECT_TRUE(contains(refused("gguf:q4_k_m", "autoround"), "auto_round")) << refused("gguf:q4_k_m", "autoround");
}

// Files without blocks: as exact as their type, and numbers that it has not are no infinities in the file.
TEST_F(GgufFile, WithoutBlocksHoldsEveryMatrixInOneType) {
  const auto source = open_source(kSource.string(), registry());
  const std::string layer = "model.layers.3.mlp.down_proj.weight";
  const at::Tensor weight = source->weights().load(layer);
  for (const auto& [format, dtype] :
       {std::pair{"gguf:f16", at::kHalf}, {"gguf:bf16", at::kBFloat16}, {"gguf:f32", at::kFloat}}) {
    const auto written = open_source(write(format).string(), registry());
    const at::Tensor loaded = written->weights().load(layer);
    EXPECT_EQ(loaded.scalar_type(), dtype) << format;
    EXPECT_TRUE(at::equal(loaded, weight.to(dtype))) << format;
    EXPECT_EQ(written->weights().load("model.norm.weight").scalar_type(), at::kFloat) << format;
  }
}

// GGUF:Q4_K_M is gguf:q4_k_m, however it is written and whichever option says it.
TEST_F(GgufFile, IsTheSameBySchemeAndByFormat) {
  for (const gguf::FileKind& kind : gguf::file_kinds()) {
    const std::string format = "gguf:" + std::string(kind.name);
    EXPECT_EQ(usual_format(format, registry()), format);
    EXPECT_EQ(usual_format(gguf::upper(format), registry()), format);
  }
  EXPECT_EQ(usual_format("W4A16", registry()), "");
  EXPECT_EQ(usual_format("BF16", registry()), "");  // what gguf:f16 leaves the weights in, too
  const std::string wanted = digest(MappedFile(write("gguf:q3_k_m")));
  QuantizeOptions options;
  options.force = true;
  for (const char* scheme : {"GGUF:Q3_K_M", "gguf:q3_k_m"}) {
    options.scheme = scheme;
    for (const char* format : {"gguf", "gguf:q3_k_m", "GGUF:Q3_K_M"})
      EXPECT_EQ(digest(MappedFile(write(format, options))), wanted) << scheme << " " << format;
  }
  const auto refused = [&](const char* scheme, const char* format) {
    options.scheme = scheme;
    return refusal(ErrorCode::usage, [&] { (void)write(format, options); });
  };
  EXPECT_TRUE(contains(refused("GGUF:Q3_K_M", "gguf:q4_k_m"), "stands for scheme 'GGUF:Q4_K_M'"));
  EXPECT_TRUE(contains(refused("W4A16", "gguf:q4_k_m"), "--scheme asks for 'W4A16'"));
  EXPECT_EQ(refused("gguf:q3_k_m", "auto_round"),
            "scheme 'GGUF:Q3_K_M' is for format 'gguf:q3_k_m', and --format asks for 'auto_round', which cannot store "
            "it; leave --format out or choose another scheme");
}

// Without experts it is a file of Q2_K_S under another name.
TEST_F(GgufFile, Q2KMixedOfADenseModelIsQ2KS) {
  EXPECT_EQ(digest(MappedFile(write("gguf:q2_k_mixed"))), digest(MappedFile(write("gguf:q2_k_s"))));
}

TEST_F(GgufFile, TuningKeepsTheScalesAndLowersTheError) {
  QuantizeOptions options;
  options.model = kSource.string();
  options.formats = {"gguf:q3_k_s"};
  options.tuning.iters = 30;
  options.tuning.nsamples = 8;
  options.tuning.seqlen = 64;
  options.dataset = "self";
  options.output_dir = folder_.path() / "tuned";
  testing::Recorder recorder;
  const json::Value report = quantize(options, registry(), recorder);
  ASSERT_EQ(recorder.blocks.size(), 8U);
  for (const BlockProgress& block : recorder.blocks) EXPECT_LT(block.loss_after, block.loss_before);
  const auto written = open_source(options.output_dir.string(), registry());
  EXPECT_FALSE(written->packed()->layers().empty());
}

TEST_F(GgufFile, RefusesWhatFilesCannotHold) {
  const auto refused = [&](QuantizeOptions options, ErrorCode code) {
    options.model = kSource.string();
    options.recipe = "rtn";
    options.output_dir = folder_.path() / "no";
    testing::Recorder recorder;
    const std::string message = refusal(code, [&] { (void)quantize(options, registry(), recorder); });
    EXPECT_FALSE(fs::exists(options.output_dir));
    return message;
  };
  QuantizeOptions options;
  options.formats = {"gguf"};
  options.scheme = "W4A16";
  const std::string no_block = refused(options, ErrorCode::unsupported);
  EXPECT_TRUE(contains(no_block, "'int' is no block type of GGUF")) << no_block;
  options.scheme = "GGUF:Q4_K_M";
  options.model = "";
  options.formats = {"auto_round"};
  const std::string other = refused(options, ErrorCode::usage);
  EXPECT_TRUE(contains(other, "is for format 'gguf:q4_k_m', and --format asks for 'auto_round'")) << other;
}

}  // namespace
}  // namespace arkit
