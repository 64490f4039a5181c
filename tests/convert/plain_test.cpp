// Models of which nothing is packed, from folder to GGUF file and back, and GGUF files as folders.
#include <array>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/engine/jobs.h>
#include <arkit/engine/open_source.h>
#include <arkit/engine/tokenizer.h>
#include <arkit/json.h>
#include <arkit/str.h>

#include "convert_testing.h"
#include "util/sha256.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;
using testing::contains;
using testing::refusal;
using testing::registry;

const fs::path kQuantized = fs::path(ARKIT_TEST_DATA) / "gguf/llama_quantize-q4_k_m.gguf";

std::string text_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

// GPT-2's letter of a byte, as UTF-8.
std::string letter_of(int byte) {
  const auto shown = [](int b) { return (b > 32 && b < 127) || (b > 160 && b < 173) || b > 173; };
  int code = byte;
  if (!shown(byte)) {
    code = 256;
    for (int b = 0; b < byte; ++b) code += shown(b) ? 0 : 1;
  }
  if (code < 128) return {static_cast<char>(code)};
  return {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 63))};
}

// A tokenizer of 256 bytes for models that bring none.
void add_byte_tokenizer(const fs::path& folder) {
  json::Object vocab;
  for (int byte = 0; byte < 256; ++byte) vocab[letter_of(byte)] = byte;
  const json::Object level{
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  const json::Object root{{"version", "1.0"},
                          {"truncation", nullptr},
                          {"padding", nullptr},
                          {"added_tokens", json::Array{}},
                          {"normalizer", nullptr},
                          {"pre_tokenizer", level},
                          {"post_processor", nullptr},
                          {"decoder", level},
                          {"model", json::Object{{"type", "BPE"}, {"vocab", vocab}, {"merges", json::Array{}}}}};
  std::ofstream(folder / "tokenizer.json") << json::dump(root);
  std::ofstream(folder / "tokenizer_config.json") << R"({"tokenizer_class": "PreTrainedTokenizerFast"})";
}

class PlainConversion : public ::testing::Test {
 protected:
  json::Object convert(const fs::path& from, const std::string& name, const std::string& format,
                       const std::string& dtype = "auto") {
    ConvertOptions options;
    options.model = from.string();
    options.formats = {format};
    options.output_dir = path(name);
    options.dtype = dtype;
    options.command_line = "arkit convert";
    recorder_.warnings.clear();
    return arkit::convert(options, registry(), recorder_);
  }
  [[nodiscard]] fs::path path(const std::string& name) const { return folder_.path() / name; }
  // A golden model of a family, with a tokenizer.
  fs::path family(const std::string& name) {
    const fs::path to = path(name);
    fs::copy(fs::path(ARKIT_TEST_DATA) / "models" / name, to);
    add_byte_tokenizer(to);
    return to;
  }
  [[nodiscard]] static fs::path only_gguf(const fs::path& folder) {
    for (const fs::directory_entry& entry : fs::directory_iterator(folder))
      if (entry.path().extension() == ".gguf") return entry.path();
    ADD_FAILURE() << "no file in " << folder;
    return {};
  }

  testing::TemporaryFolder folder_;
  testing::Recorder recorder_;
};

void expect_same_tokens(const fs::path& a, const fs::path& b) {
  const auto tokenizer = [](const fs::path& model) {
    const auto source = open_source(model.string(), registry());
    return Tokenizer(source->tokenizer()->tokenizer_json(), source->tokenizer()->tokenizer_config());
  };
  const Tokenizer ours = tokenizer(a), theirs = tokenizer(b);
  for (const char* text : {"Once upon a time", "  two  blanks", "caf\u00e9 \U0001F680", "", "line\nline", "x<s>y"}) {
    EXPECT_EQ(ours.encode(text), theirs.encode(text)) << text;
    EXPECT_EQ(ours.decode(ours.encode(text)), theirs.decode(theirs.encode(text))) << text;
  }
}

// Weights come back with every bit, rows of q and k in their order, and the configuration says what it said.
TEST_F(PlainConversion, FoldersComeBackFromAGgufFile) {
  for (const char* name : {"llama", "llama31", "qwen2", "qwen3", "mistral"}) {
    SCOPED_TRACE(name);
    const fs::path source = family(name), file = path(str(name, "-gguf")), back = path(str(name, "-back"));
    const json::Object report = convert(source, file.filename(), "gguf", "float32");
    EXPECT_TRUE(recorder_.warnings.empty()) << recorder_.warnings.front();
    EXPECT_TRUE(contains(only_gguf(file).filename(), "-F32.gguf"));
    (void)convert(only_gguf(file), back.filename(), "hf");
    EXPECT_TRUE(recorder_.warnings.empty()) << recorder_.warnings.front();
    EXPECT_EQ(testing::tensor_difference(source, back), "");
    expect_same_tokens(source, back);
    const json::Value before = json::read_file(source / "config.json"), after = json::read_file(back / "config.json");
    for (const char* key : {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
                            "num_attention_heads", "num_key_value_heads", "max_position_embeddings", "rms_norm_eps"})
      EXPECT_EQ(before.at(key), after.at(key)) << key;
    EXPECT_EQ(after.at("torch_dtype"), "float32");
    EXPECT_TRUE(contains(std::string(report.at("outputs").at(0).at("proof").as_string()), "tensors equal"));
  }
}

// Through a wider type and back to the model's own, vectors included.
TEST_F(PlainConversion, BfloatComesBackFromAnyWiderType) {
  for (const char* name : {"source-llama-bf16", "source-qwen3-bf16"})
    for (const char* dtype : {"float32", "auto"}) {
      SCOPED_TRACE(str(name, " ", dtype));
      const fs::path source = testing::tiny_model(name), file = path(str(name, dtype)),
                     back = path(str(name, dtype, 2));
      (void)convert(source, file.filename(), "gguf", dtype);
      (void)convert(only_gguf(file), back.filename(), "hf", "bfloat16");
      EXPECT_EQ(testing::tensor_difference(source, back), "");
      expect_same_tokens(source, back);
    }
}

// A quantized file is a folder in the type the model came in, and says what it was.
TEST_F(PlainConversion, CodesBecomeWhatTheyStandFor) {
  const json::Object report = convert(kQuantized, "hf", "hf");
  const auto file = open_source(kQuantized.string(), registry());
  const auto folder = open_source(path("hf").string(), registry());
  const auto plain = file->plain();
  ASSERT_EQ(folder->weights().tensors().size(), plain->weights().tensors().size());
  for (const TensorInfo& info : plain->weights().tensors()) {
    const at::Tensor wanted = plain->weights().load(info.name), got = folder->weights().load(info.name);
    EXPECT_EQ(got.scalar_type(), at::kBFloat16) << info.name;
    EXPECT_TRUE(at::equal(wanted.to(at::kBFloat16), got)) << info.name;
  }
  expect_same_tokens(kQuantized, path("hf"));
  EXPECT_GT(report.at("proofs").at(0).at("rounded_tensors").as_int64(), 0);
  const json::Value record = json::read_file(path("hf") / "arkit-run.json");
  const json::Value& from = record.at("converted_from");
  EXPECT_EQ(from.at("kind"), "gguf");
  EXPECT_EQ(from.at("files").at(0).at("name"), "llama_quantize-q4_k_m.gguf");
  const std::string hash(from.at("files").at(0).at("sha256").as_string()), card = text_of(path("hf") / "README.md");
  EXPECT_EQ(hash, sha256_hex(text_of(kQuantized)));
  EXPECT_TRUE(contains(card, hash) && contains(card, "Q4_K") && contains(card, "llama_quantize-q4_k_m.gguf")) << card;
}

// In float32 nothing is lost, and rounding the folder gives the bytes that rounding the file gives: strips of a file's
// embeddings are the rows of the whole.
TEST_F(PlainConversion, RoundingAFileIsRoundingItsNumbers) {
  (void)convert(kQuantized, "plain", "hf", "float32");
  const auto round = [&](const fs::path& model, const std::string& name) {
    QuantizeOptions options;
    options.model = model.string();
    options.formats = {"gguf:q5_k_m"};
    options.recipe = "rtn";
    options.tuning.disable_opt_rtn = true;
    options.output_dir = path(name);
    (void)quantize(options, registry(), recorder_);
    return open_source(only_gguf(path(name)).string(), registry());
  };
  const auto a = round(kQuantized, "a"), b = round(path("plain"), "b");
  ASSERT_EQ(a->weights().tensors().size(), b->weights().tensors().size());
  for (const TensorInfo& info : a->weights().tensors()) {
    const at::Tensor x = a->weights().load(info.name), y = b->weights().load(info.name);
    EXPECT_EQ(b->weights().find(info.name)->stored_type, info.stored_type) << info.name;
    EXPECT_TRUE(at::equal(x, y)) << info.name;
  }
}

TEST_F(PlainConversion, ADryRunTellsTheSize) {
  ConvertOptions options;
  options.model = kQuantized.string();
  options.formats = {"hf", "gguf"};
  options.output_dir = path("no");
  options.dry_run = true;
  const json::Object report = arkit::convert(options, registry(), recorder_);
  EXPECT_FALSE(fs::exists(path("no")));
  (void)convert(kQuantized, "hf", "hf");
  const auto written = static_cast<int64_t>(fs::file_size(path("hf") / "model.safetensors"));
  EXPECT_NEAR(static_cast<double>(report.at("outputs").at(0).at("bytes").as_int64()), static_cast<double>(written),
              0.02 * static_cast<double>(written));
  (void)convert(kQuantized, "gguf", "gguf");
  EXPECT_EQ(report.at("outputs").at(1).at("bytes").to_number<uintmax_t>(), fs::file_size(only_gguf(path("gguf"))))
      << "to the byte";
}

TEST_F(PlainConversion, RefusesWhatItDoesNotDo) {
  const auto refused = [&](ErrorCode code, const fs::path& from, const std::string& format, const std::string& dtype) {
    const std::string message = refusal(code, [&] { (void)convert(from, "no", format, dtype); });
    EXPECT_FALSE(fs::exists(path("no")));
    return message;
  };
  const std::string packed_only = refused(ErrorCode::unsupported, kQuantized, "auto_gptq", "auto");
  EXPECT_TRUE(contains(packed_only, "holds no packed layers to convert") && contains(packed_only, "'gguf', 'hf'"))
      << packed_only;
  EXPECT_TRUE(contains(refused(ErrorCode::unsupported, kQuantized, "gguf:q4_k_m", "auto"),
                       "format 'gguf:q4_k_m' rounds layers ('model.layers.0.self_attn.q_proj' to "));
  const fs::path export_folder = testing::tiny_model("auto_round-W4A16");
  EXPECT_TRUE(contains(refused(ErrorCode::usage, export_folder, "auto_gptq", "float32"),
                       "--dtype is for models of which nothing is packed"));
  EXPECT_TRUE(contains(refused(ErrorCode::unsupported, export_folder, "hf", "auto"), "of which nothing is rounded"));
  QuantizeOptions options;
  options.model = testing::tiny_model("source-llama-bf16");
  options.formats = {"hf"};
  options.recipe = "rtn";
  options.output_dir = path("no");
  EXPECT_TRUE(contains(refusal(ErrorCode::unsupported, [&] { (void)quantize(options, registry(), recorder_); }),
                       "--format fake writes rounded weights in full size"));
}

// float16 ends at 65504.
TEST_F(PlainConversion, RefusesNumbersBeyondTheType) {
  testing::rewrite(testing::tiny_model("source-llama-bf16"), path("large"), [](TensorMap& tensors) {
    at::Tensor& weight = tensors.at("model.layers.0.mlp.up_proj.weight");
    weight = weight.clone();
    weight[3][5] = 1e6;
  });
  const std::string message = refusal(ErrorCode::input, [&] { (void)convert(path("large"), "no", "gguf", "float16"); });
  EXPECT_TRUE(contains(message, "'model.layers.0.mlp.up_proj.weight': holds ") &&
              contains(message, "which Half does not; write it with --dtype float32"))
      << message;
  EXPECT_FALSE(fs::exists(path("no")));
}

}  // namespace
}  // namespace arkit
