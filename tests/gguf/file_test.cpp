// Whole files: llama-quantize's types and bytes, and what a file says of its model when it is opened again.
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/engine/jobs.h>
#include <arkit/engine/tokenizer.h>
#include <arkit/json.h>
#include <arkit/mapped_file.h>
#include <arkit/model_source.h>

#include "gguf_file.h"
#include "jobs/job_testing.h"
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
    options.model = kSource.string();
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
  const auto refused = [&](QuantizeOptions options) {
    options.model = kSource.string();
    options.recipe = "rtn";
    options.output_dir = folder_.path() / "no";
    testing::Recorder recorder;
    const std::string message = refusal(ErrorCode::unsupported, [&] { (void)quantize(options, registry(), recorder); });
    EXPECT_FALSE(fs::exists(options.output_dir));
    return message;
  };
  QuantizeOptions options;
  options.formats = {"gguf"};
  options.scheme = "W4A16";
  EXPECT_TRUE(contains(refused(options), "'int' is no block type of GGUF")) << refused(options);
  options.scheme = "GGUF:Q4_K_M";
  options.model = "";
  options.formats = {"auto_round"};
  EXPECT_FALSE(refused(options).empty());
}

}  // namespace
}  // namespace arkit
