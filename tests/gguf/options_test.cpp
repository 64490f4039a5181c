// What users ask of a file beside its kind: types by name, whose rules, parts.
#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/engine/jobs.h>
#include <arkit/mapped_file.h>
#include <arkit/model_source.h>

#include "gguf_file.h"
#include "gguf_parts.h"
#include "jobs/job_testing.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;
using testing::contains;
using testing::refusal;
using testing::registry;
using testing::TemporaryFolder;
using testing::tiny_model;

// Two blocks of 128, with 256 between: a row of ffn_down is one super-block, all others are none.
class GgufOptions : public ::testing::Test {
 protected:
  GgufOptions() {
    options_.model = tiny_model("source-llama-bf16");
    options_.formats = {"gguf:q4_k_m"};
    options_.recipe = "rtn";
    options_.tuning.disable_opt_rtn = true;
    options_.output_dir = folder_.path() / "out";
    options_.force = true;
  }

  std::map<std::string, std::string> write() {
    testing::Recorder recorder;
    report_ = quantize(options_, registry(), recorder);
    warnings_ = recorder.warnings;
    files_.clear();
    for (const fs::directory_entry& entry : fs::directory_iterator(options_.output_dir))
      if (entry.path().extension() == ".gguf") files_.push_back(entry.path());
    std::sort(files_.begin(), files_.end());
    std::map<std::string, std::string> types;
    if (files_.empty()) return types;
    const gguf::Parts parts = gguf::open_parts(files_.front());
    for (const gguf::TensorEntry& tensor : parts.file.tensors) types[tensor.name] = tensor.type->name;
    return types;
  }
  std::string refused(ErrorCode code) {
    testing::Recorder recorder;
    std::string message = refusal(code, [&] { (void)quantize(options_, registry(), recorder); });
    EXPECT_FALSE(fs::exists(options_.output_dir)) << "before anything is written";
    options_.format_options = {};
    return message;
  }

  TemporaryFolder folder_;
  QuantizeOptions options_;
  json::Value report_;
  std::vector<std::string> warnings_;
  std::vector<fs::path> files_;
};

TEST_F(GgufOptions, RulesDecideAboutRowsThatHoldNoWholeBlocks) {
  options_.formats = {"gguf:q5_k_s"};
  EXPECT_EQ(write().at("blk.0.attn_q.weight"), "Q5_1");
  options_.format_options.type_rules = "auto_round";
  const auto types = write();
  EXPECT_EQ(types.at("blk.0.attn_q.weight"), "Q5_0");
  EXPECT_EQ(types.at("blk.0.ffn_down.weight"), "Q5_K");
}

TEST_F(GgufOptions, TypesByName) {
  options_.format_options.tensor_type = {"ATTN_[qk]=Q8_0", "attn_k=q4_0", R"(blk\.\d\.ffn_up=f16)", "ffn_down=bf16"};
  options_.format_options.tensor_type_file = folder_.write("types.txt", "ffn_gate=iq4_nl\n\n attn_v=q5_1 ");
  options_.format_options.output_tensor_type = "F32";
  options_.format_options.token_embedding_type = "q4_1";
  const auto types = write();
  EXPECT_TRUE(warnings_.empty()) << warnings_.front();
  const std::pair<const char*, const char*> wanted[] = {
      {"attn_q", "Q8_0"}, {"attn_k", "Q8_0"},     {"attn_v", "Q5_1"},  {"attn_output", "Q5_0"},
      {"ffn_up", "F16"},  {"ffn_gate", "IQ4_NL"}, {"ffn_down", "BF16"}};
  for (const auto& [name, type] : wanted)
    for (const char* block : {"blk.0.", "blk.1."}) EXPECT_EQ(types.at(block + std::string(name) + ".weight"), type);
  EXPECT_EQ(types.at("output.weight"), "F32");
  EXPECT_EQ(types.at("token_embd.weight"), "Q4_1");
  // They are what the file holds: F32 of a bfloat16 head is the head.
  const auto source = open_source(options_.model, registry());
  const auto written = open_source(files_.front().string(), registry());
  EXPECT_TRUE(
      at::equal(written->weights().load("lm_head.weight"), source->weights().load("lm_head.weight").to(at::kFloat)));
}

// llama.cpp counts the layers that its rules choose for; AutoRound's go by the block.
TEST_F(GgufOptions, RulesCountWhatIsLeftToThem) {
  options_.formats = {"gguf:q3_k_m"};
  options_.format_options.tensor_type = {"blk.0.attn_v=q8_0"};
  EXPECT_EQ(write().at("blk.1.attn_v.weight"), "Q5_1") << "Q5_K, of the first two, in rows of 128";
}

TEST_F(GgufOptions, RefusesWhatItCannotDo) {
  FormatOptions& format = options_.format_options;
  format.tensor_type = {"attn_q"};
  EXPECT_TRUE(contains(refused(ErrorCode::usage), "'attn_q' is not REGEX=TYPE"));
  format.tensor_type = {"attn_q=q4_k_m"};
  EXPECT_TRUE(contains(refused(ErrorCode::usage), "unknown tensor type 'q4_k_m'"));
  format.tensor_type = {"attn_(=q4_k"};
  EXPECT_TRUE(contains(refused(ErrorCode::usage), "attn_("));
  format.tensor_type = {"self_attn.q_proj=q4_k"};
  EXPECT_TRUE(contains(refused(ErrorCode::usage), "is found in no name of a matrix"));
  format.tensor_type = {"attn_norm=f16"};
  EXPECT_TRUE(contains(refused(ErrorCode::usage), "is found in no name of a matrix"));
  format.output_tensor_type = "q9";
  EXPECT_TRUE(contains(refused(ErrorCode::usage), "--output_tensor_type: unknown tensor type 'q9'"));
  format.type_rules = "ollama";
  EXPECT_TRUE(contains(refused(ErrorCode::usage), "'ollama' is not one of 'llama.cpp', 'auto_round'"));
  format.tensor_type_file = folder_.path() / "none.txt";
  EXPECT_TRUE(contains(refused(ErrorCode::input), "none.txt"));
  format.format_option = {"colour=blue"};
  EXPECT_TRUE(contains(refused(ErrorCode::usage), "--colour: no format of this run has this option"));
  format.format_option = {"colour"};
  EXPECT_TRUE(contains(refused(ErrorCode::usage), "'colour' is not NAME=VALUE"));
  format.split_max_size = 1000;
  EXPECT_TRUE(contains(refused(ErrorCode::usage), "--split_max_size 1000: what the model and its tokenizer say"));
  format.split_max_size = 60000;
  EXPECT_TRUE(contains(refused(ErrorCode::usage), "tensor '")) << "one that is larger than a part";
  options_.formats = {"auto_round"};
  format.tensor_type = {"attn_q=q4_k"};
  const std::string message = refused(ErrorCode::usage);
  EXPECT_TRUE(contains(message, "--tensor_type: no format of this run has this option")) << message;
  EXPECT_TRUE(contains(message, "'gguf'")) << message;
}

// A slip in one pattern of many may be let through, and is said.
TEST_F(GgufOptions, UnmatchedPatternsMayBeAllowed) {
  options_.format_options.tensor_type = {"no_such=q4_k"};
  options_.allow_unmatched = true;
  (void)write();
  ASSERT_EQ(warnings_.size(), 1U);
  EXPECT_TRUE(contains(warnings_.front(), "no_such=q4_k")) << warnings_.front();
}

// The two ways to say a layer's type must agree.
TEST_F(GgufOptions, LayerConfigDecidesALayersType) {
  options_.layer_config = R"({"model.layers.1.mlp.down_proj": {"scheme": "GGUF:Q2_K"}})";
  EXPECT_EQ(write().at("blk.1.ffn_down.weight"), "Q2_K");
  fs::remove_all(options_.output_dir);
  options_.format_options.tensor_type = {"blk.1.ffn_down=q6_k"};
  const std::string message = refused(ErrorCode::unsupported);
  EXPECT_TRUE(contains(message, "is to be Q6_K by the options of tensors")) << message;
  options_.format_options.tensor_type = {"blk.1.ffn_down=q2_k"};
  EXPECT_EQ(write().at("blk.1.ffn_down.weight"), "Q2_K");
}

TEST_F(GgufOptions, FilesAreCutIntoPartsThatAreOneModel) {
  const auto whole = write();
  ASSERT_EQ(files_.size(), 1U);
  const auto alone = open_source(files_.front().string(), registry());
  const fs::path kept = folder_.path() / "whole";
  fs::rename(options_.output_dir, kept);
  options_.format_options.split_max_size = 100'000;
  EXPECT_EQ(write(), whole);
  ASSERT_GT(files_.size(), 2U);
  EXPECT_TRUE(contains(files_.back().filename().string(),
                       "-0000" + std::to_string(files_.size()) + "-of-0000" + std::to_string(files_.size()) + ".gguf"));
  int64_t tensors = 0;
  for (const fs::path& file : files_) {
    EXPECT_LE(fs::file_size(file), 100'000U) << file;
    const MappedFile map(file);
    const gguf::File part = gguf::parse_gguf(map.bytes(), "'part'");
    EXPECT_EQ(part.metadata.integer("split.no"), &file - files_.data());
    EXPECT_EQ(part.metadata.integer("split.count"), static_cast<int64_t>(files_.size()));
    EXPECT_EQ(part.metadata.integer("split.tensors.count"), static_cast<int64_t>(whole.size()));
    tensors += static_cast<int64_t>(part.tensors.size());
  }
  EXPECT_EQ(tensors, static_cast<int64_t>(whole.size()));
  // Any part names the model, and so does their folder.
  for (const std::string& name : {files_.front().string(), files_.back().string(), options_.output_dir.string()}) {
    const auto source = open_source(name, registry());
    EXPECT_EQ(source->config(), open_source(kept.string(), registry())->config());
    const auto plain = source->plain(), expected = alone->plain();
    ASSERT_EQ(plain->weights().tensors().size(), expected->weights().tensors().size());
    for (const TensorInfo& info : expected->weights().tensors())
      EXPECT_TRUE(at::equal(plain->weights().load(info.name), expected->weights().load(info.name))) << info.name;
  }
}

// As AutoRound's: of the K types where the file is of them, else without super-blocks where there is one.
TEST_F(GgufOptions, LayerConfigSaysBits) {
  const std::string name = "model.layers.1.mlp.down_proj";
  const auto type = [&](const std::string& format, const std::string& fields) {
    options_.formats = {format};
    options_.layer_config = "{\"" + name + "\": {" + fields + "}}";
    return write().at("blk.1.ffn_down.weight");
  };
  const std::map<std::string, std::string> of_k = {{"2", "Q2_K"}, {"3", "Q3_K"}, {"4", "Q4_K"},
                                                   {"5", "Q5_K"}, {"6", "Q6_K"}, {"8", "Q8_0"}};
  for (const auto& [bits, wanted] : of_k) EXPECT_EQ(type("gguf:q4_k_m", "\"bits\": " + bits), wanted);
  EXPECT_EQ(type("gguf:q4_0", R"("bits": 5)"), "Q5_0");
  EXPECT_EQ(type("gguf:q4_1", R"("bits": 5)"), "Q5_1");
  EXPECT_EQ(type("gguf:q5_1", R"("bits": 6)"), "Q6_K");
  EXPECT_EQ(type("gguf:q8_0", R"("bits": 4)"), "Q4_0");
  EXPECT_EQ(type("gguf:iq4_xs", R"("bits": 4)"), "IQ4_XS");
  EXPECT_EQ(type("gguf:q4_0", R"("bits": 2, "scheme": "GGUF:Q5_K")"), "Q2_K");
  EXPECT_EQ(type("gguf:q4_k_m", R"("bits": 16)"), "BF16");
  fs::remove_all(options_.output_dir);
  options_.layer_config = R"({"model.layers.1.mlp.down_proj": {"bits": 7}})";
  EXPECT_EQ(
      refused(ErrorCode::usage),
      "layer_config 'model.layers.1.mlp.down_proj': no type of blocks has 7 bits; choose 2, 3, 4, 5, 6 or 8, or 16 for "
      "none");
  options_.layer_config = R"({"model.layers.1.mlp.down_proj": {"bits": 4, "group_size": 64}})";
  EXPECT_TRUE(contains(refused(ErrorCode::unsupported), "bits, groups and scales of 'q4_k' are fixed"));
}

// A file's name says more than bits do.
TEST_F(GgufOptions, BitsOfAPresetAreItsOwn) {
  const auto types = write();
  options_.overrides.bits = 6;
  EXPECT_EQ(write(), types);
  ASSERT_EQ(warnings_.size(), 1U);
  EXPECT_EQ(warnings_.front(), "the preset of the file says bits and groups itself: --bits has no effect");
}

// To the byte, of one file and of parts.
TEST_F(GgufOptions, ADryRunTellsTheSizeOfTheFiles) {
  for (const char* format : {"gguf:q4_k_m", "gguf:q8_0", "gguf:f16"})
    for (const bool parts : {false, true}) {
      SCOPED_TRACE(format);
      options_.formats = {format};
      options_.format_options = {};
      if (parts) options_.format_options.split_max_size = 150'000;
      options_.dry_run = true;
      testing::Recorder recorder;
      const json::Object dry = quantize(options_, registry(), recorder);
      const auto told = dry.at("outputs").at(0).at("bytes").to_number<int64_t>();
      options_.dry_run = false;
      (void)write();
      EXPECT_EQ(files_.size() > 1, parts);
      int64_t bytes = 0;
      for (const fs::path& file : files_) bytes += static_cast<int64_t>(fs::file_size(file));
      EXPECT_EQ(told, bytes);
    }
}

TEST_F(GgufOptions, PartsThatAreNotOneModelAreRefused) {
  options_.format_options.split_max_size = 100'000;
  (void)write();
  const auto opened = [&] { return refusal(ErrorCode::input, [&] { (void)open_source(files_.front(), registry()); }); };
  const fs::path aside = folder_.path() / "aside.gguf";
  fs::rename(files_[1], aside);
  EXPECT_TRUE(contains(opened(), "part 2 of ")) << opened();
  EXPECT_TRUE(contains(opened(), "is missing")) << opened();
  fs::copy_file(files_[2], files_[1]);
  EXPECT_TRUE(contains(opened(), "says that it is part 3 of ")) << opened();
  fs::remove(files_[1]);
  fs::rename(aside, files_[1]);
  fs::rename(files_[0], aside);
  const std::string message = refusal(ErrorCode::input, [&] { (void)open_source(files_.back().string(), registry()); });
  EXPECT_TRUE(contains(message, "part 1 of ")) << message;
  const std::string renamed = refusal(ErrorCode::input, [&] { (void)open_source(aside.string(), registry()); });
  EXPECT_TRUE(contains(renamed, "the others are not found by its name")) << renamed;
}

}  // namespace
}  // namespace arkit
