// AutoScheme with the block types of GGUF: embeddings and head take part, rows get the types that fit them, and the file
// has the bytes that were predicted.
#include <cstring>
#include <fstream>
#include <map>
#include <set>

#include <ATen/ATen.h>

#include <arkit/engine/default_formats.h>
#include <arkit/model_source.h>
#include <arkit/sdk/forwarding_source.h>

#include "autoscheme/score_ends.h"
#include "jobs/job_testing.h"
#include "jobs/tiny_checkpoint.h"
#include "score_testing.h"

namespace arkit {
namespace {

using testing::contains;
using testing::Recorder;
using testing::refusal;
using testing::registry;
namespace fs = std::filesystem;

class GgufMix : public ::testing::Test {
 protected:
  GgufMix() {
    options_.model = testing::tiny_model("source-llama-bf16");
    options_.dataset = "self";
    options_.recipe = "rtn";
    options_.tuning.disable_opt_rtn = true;
    options_.formats = {"gguf"};
    options_.auto_scheme.options = {"GGUF:Q2_K,GGUF:Q3_K,GGUF:Q4_K,GGUF:Q5_K,GGUF:Q6_K"};
    options_.auto_scheme.nsamples = 4;
    options_.auto_scheme.seqlen = 32;
    options_.auto_scheme.use_cache = false;
    options_.output_dir = folder_.path() / "out";
  }

  // The golden model with its embeddings for a head.
  std::string tied() {
    const fs::path original = testing::tiny_model("source-llama-bf16"), copy = folder_.path() / "tied";
    testing::Checkpoint made = testing::tiny_checkpoint("source-llama-bf16");
    made.tensors.erase("lm_head.weight");
    made.config["tie_word_embeddings"] = true;
    (void)made.write(copy);
    for (const char* file : {"tokenizer.json", "tokenizer_config.json"})
      fs::copy_file(original / file, copy / file, fs::copy_options::overwrite_existing);
    return copy.string();
  }

  // Runs, and returns the file that was written.
  fs::path run(int64_t target) {
    options_.auto_scheme.avg_bits.clear();
    options_.auto_scheme.target_size = target;
    options_.output_dir = folder_.path() / std::to_string(++runs_);
    (void)quantize(options_, registry(), recorder_);
    return file();
  }
  [[nodiscard]] fs::path file() const {
    for (const fs::directory_entry& entry : fs::directory_iterator(options_.output_dir))
      if (entry.path().extension() == ".gguf") return entry.path();
    ADD_FAILURE() << "no file";
    return {};
  }
  [[nodiscard]] json::Object record() const {
    return json::as_object(json::read_file(options_.output_dir / "arkit-run.json"), "record");
  }
  // Stored types of the matrices of what was written, under their Hugging Face names.
  [[nodiscard]] std::map<std::string, std::string> types() const {
    std::map<std::string, std::string> types;
    const auto source = open_source(options_.output_dir.string(), registry());
    for (const TensorInfo& tensor : source->weights().tensors())
      if (tensor.shape.size() == 2) types[tensor.name] = tensor.stored_type;
    for (const LinearSpec& layer : sdk::packed_layers(*source)) types[layer.name + ".weight"] = layer.packing;
    return types;
  }
  // general.file_type, what readers show: after the key its type (4) and the number.
  [[nodiscard]] uint32_t file_type() const {
    std::ifstream in(file(), std::ios::binary);
    std::string head(65536, '\0');
    in.read(head.data(), static_cast<std::streamsize>(head.size()));
    constexpr std::string_view kKey = "general.file_type";
    uint32_t type[2] = {};
    std::memcpy(type, head.data() + head.find(kKey) + kKey.size(), sizeof type);
    EXPECT_EQ(type[0], 4U);
    return type[1];
  }
  int64_t predicted() const { return record().at("autoscheme").at("bytes").to_number<int64_t>(); }

  testing::TemporaryFolder folder_;
  QuantizeOptions options_;
  Recorder recorder_;
  int runs_ = 0;
};

TEST_F(GgufMix, TheFileHasThePredictedBytesAndKeepsToTheTarget) {
  const std::string models[] = {options_.model, tied()};
  for (const std::string& model : models) {
    SCOPED_TRACE(model);
    options_.model = model;
    int64_t previous = 0;
    for (const int64_t target : {250'000, 300'000}) {
      const auto bytes = static_cast<int64_t>(fs::file_size(run(target)));
      EXPECT_EQ(bytes, predicted());
      EXPECT_LE(bytes, target);
      EXPECT_GT(bytes, target - 4'000) << "as close as layers of 4 to 20 KB allow";
      EXPECT_GE(bytes, previous);
      previous = bytes;
    }
    // A size that a mix has is met to the byte; one less is another mix.
    EXPECT_EQ(static_cast<int64_t>(fs::file_size(run(previous))), previous);
    EXPECT_LT(static_cast<int64_t>(fs::file_size(run(previous - 1))), previous);
    EXPECT_TRUE(recorder_.warnings.empty()) << recorder_.warnings.front();
  }
}

// What a file says of the matrix is counted, too.
TEST_F(GgufMix, AMatrixOfImportanceChangesNothingAboutThat) {
  options_.recipe = "opt-rtn";
  options_.tuning.disable_opt_rtn.reset();
  QuantizeOptions measuring = options_;
  measuring.auto_scheme = {};
  measuring.formats = {"gguf:q4_k_m"};
  measuring.tuning.nsamples = 4;
  measuring.tuning.seqlen = 32;
  measuring.save_imatrix = options_.imatrix = folder_.path() / "imatrix.gguf";
  measuring.imatrix.clear();
  measuring.output_dir = folder_.path() / "measured";
  (void)quantize(measuring, registry(), recorder_);
  const auto bytes = static_cast<int64_t>(fs::file_size(run(280'000)));
  EXPECT_EQ(bytes, predicted());
  EXPECT_EQ(static_cast<int64_t>(fs::file_size(run(bytes))), bytes) << "met to the byte";
}

TEST_F(GgufMix, EmbeddingsAndHeadAreDecidedToo) {
  (void)run(300'000);
  std::map<std::string, std::string> found = types();
  EXPECT_EQ(found.size(), 16U);
  const std::set<std::string> of_128 = {"Q4_0", "Q5_0", "Q5_1", "Q8_0"};  // no whole blocks of 256
  EXPECT_TRUE(of_128.contains(found.at("model.embed_tokens.weight"))) << found.at("model.embed_tokens.weight");
  EXPECT_TRUE(found.at("model.layers.0.mlp.down_proj.weight").ends_with("_K"));
  const json::Object untied = record().at("autoscheme").as_object();
  EXPECT_EQ(untied.at("layers").to_number<int64_t>(), 16);
  EXPECT_EQ(untied.at("groups").to_number<int64_t>(), 16) << "each for itself: nothing fuses layers of such files";
  int64_t others = 0;
  for (const auto& [type, count] : untied.at("layers_in_other_types").as_object()) others += count.to_number<int64_t>();
  EXPECT_EQ(others, 14) << "all but the two of 256 inputs";

  options_.model = tied();
  (void)run(270'000);
  found = types();
  EXPECT_TRUE(of_128.contains(found.at("model.embed_tokens.weight")));
  EXPECT_EQ(record().at("autoscheme").at("layers").to_number<int64_t>(), 15) << "one matrix, counted once";
}

// The average is taken over the embeddings, too, and a preset's rules for its file's name do not come into it.
TEST_F(GgufMix, BitsAreThoseOfTheWholeFile) {
  options_.auto_scheme.options = {"GGUF:Q2_K,GGUF:Q8_0"};
  options_.auto_scheme.avg_bits = {8.5};
  (void)quantize(options_, registry(), recorder_);
  for (const auto& [name, type] : types()) EXPECT_TRUE(type.ends_with("Q8_0")) << name << " " << type;
  EXPECT_DOUBLE_EQ(record().at("autoscheme").at("average_bits").to_number<double>(), 8.5);
  EXPECT_EQ(file_type(), 7U) << "that of Q8_0, which most weights are";
  options_.auto_scheme.avg_bits = {9.0};
  const std::string text = refusal(ErrorCode::usage, [&] { (void)quantize(options_, registry(), recorder_); });
  EXPECT_TRUE(contains(text, "GGUF:Q8_0 8.500")) << text;
}

TEST_F(GgufMix, WhatTheUserFixesStays) {
  options_.layer_config = R"({"model.embed_tokens": "GGUF:Q8_0", "model.layers.0.mlp.down_proj": "GGUF:Q6_K"})";
  options_.ignore_layers = {"lm_head"};
  const auto bytes = static_cast<int64_t>(fs::file_size(run(400'000)));
  EXPECT_EQ(bytes, predicted());
  const std::map<std::string, std::string> found = types();
  EXPECT_EQ(found.at("model.embed_tokens.weight"), "Q8_0");
  EXPECT_EQ(found.at("lm_head.weight"), "BF16");
  EXPECT_TRUE(found.at("model.layers.0.mlp.down_proj.weight").ends_with("Q6_K"));
  EXPECT_EQ(record().at("autoscheme").at("pinned_layers").to_number<int64_t>(), 3);
}

TEST_F(GgufMix, TheSavedLayerConfigGivesTheSameFile) {
  options_.auto_scheme.save_layer_config = folder_.path() / "mix.toml";
  (void)run(280'000);
  const std::map<std::string, std::string> mixed = types();
  QuantizeOptions again;
  again.model = options_.model;
  again.recipe = "rtn";
  again.tuning = options_.tuning;
  again.formats = {"gguf"};
  again.scheme = "GGUF:Q2_K";
  again.layer_config = options_.auto_scheme.save_layer_config.string();
  again.output_dir = options_.output_dir = folder_.path() / "again";
  (void)quantize(again, registry(), recorder_);
  EXPECT_EQ(types(), mixed);
}

TEST_F(GgufMix, AMixIsTuned) {
  options_.recipe = "default";
  options_.tuning.iters = 8;
  options_.tuning.nsamples = 4;
  options_.tuning.seqlen = 32;
  const auto bytes = static_cast<int64_t>(fs::file_size(run(280'000)));
  EXPECT_EQ(bytes, predicted()) << "tuning changes no size";
  ASSERT_EQ(recorder_.blocks.size(), 2U);
  for (const BlockProgress& block : recorder_.blocks) EXPECT_LT(block.loss_after, block.loss_before);
}

TEST_F(GgufMix, BudgetsAreMeasuredWithTheEnds) {
  options_.auto_scheme.avg_bits = {4.7, 6.0};
  const json::Object result = autoscheme(options_, registry(), recorder_);
  const json::Array& budgets = result.at("budgets").as_array();
  ASSERT_EQ(budgets.size(), 2U);
  EXPECT_GT(budgets[0].at("measured_kl").to_number<double>(), budgets[1].at("measured_kl").to_number<double>());
  EXPECT_EQ(result.at("mix").as_array().front().at("name").as_string(), "model.embed_tokens");
}

TEST_F(GgufMix, OptionsNameTheirFormat) {
  QuantizeOptions options;
  EXPECT_EQ(default_formats(options, registry()), std::vector<std::string>{"auto_round"});
  options.auto_scheme.options = {"BF16, {scheme:GGUF:Q4_K}"};
  EXPECT_EQ(default_formats(options, registry()), std::vector<std::string>{"gguf"});
  options.auto_scheme.options = {"W4A16,W8A16"};
  EXPECT_EQ(default_formats(options, registry()), std::vector<std::string>{"auto_round"});
  options.auto_scheme.options.clear();
  options.scheme = "GGUF:Q4_K_M";
  EXPECT_EQ(default_formats(options, registry()), std::vector<std::string>{"gguf:q4_k_m"});

  options_.auto_scheme.avg_bits = {5.0};
  options_.formats = {"auto_round"};
  std::string text = refusal(ErrorCode::usage, [&] { (void)quantize(options_, registry(), recorder_); });
  EXPECT_TRUE(contains(text, "option 'GGUF:Q2_K' is written by format 'gguf' and --format asks for 'auto_round'"))
      << text;
  options_.formats = {"gguf:q4_k_m"};
  text = refusal(ErrorCode::usage, [&] { (void)quantize(options_, registry(), recorder_); });
  EXPECT_TRUE(contains(text, "--options lets AutoScheme choose")) << text;
  options_.formats = {"gguf"};
  options_.auto_scheme.options = {"W4A16,W8A16"};
  text = refusal(ErrorCode::unsupported, [&] { (void)quantize(options_, registry(), recorder_); });
  EXPECT_TRUE(contains(text, "no block type of GGUF")) << text;
  options_.auto_scheme.options = {"GGUF:Q4_K,GGUF:Q6_K"};
  options_.auto_scheme.score = "compat";
  text = refusal(ErrorCode::usage, [&] { (void)quantize(options_, registry(), recorder_); });
  EXPECT_TRUE(contains(text, "score compat knows no embeddings")) << text;
  EXPECT_FALSE(fs::exists(options_.output_dir));
}

}  // namespace

namespace auto_scheme {
namespace {

using testing::ScoredModel;

// The pool of a model and the table of its embeddings.
ScoredModel with_ends(const std::string& name, std::vector<SchemeOption> options) {
  ScoredModel model(name, std::move(options), !name.ends_with("qwen3"));
  const TensorInfo* table = model.source->weights().find("model.embed_tokens.weight");
  PoolLayer ends{{.name = "model.embed_tokens",
                  .out_features = table->shape[0],
                  .in_features = table->shape[1],
                  .kind = LayerKind::embedding},
                 {}};
  for (const SchemeOption& option : model.options) ends.quants.push_back(option.quant);
  model.pool.insert(model.pool.begin(), ends);
  return model;
}

// What is predicted for the table alone, and for the head alone, is the divergence that each of them causes.
TEST(ScoreEnds, PredictTheDivergenceTheyCause) {
  for (const char* name : {"llama", "qwen2"}) {
    SCOPED_TRACE(name);
    ScoredModel model =
        with_ends(name, {testing::option("GGUF:Q4_0"), testing::option("GGUF:Q8_0"), testing::option("GGUF:Q4_0")});
    const bool tied = model.model->tied_embeddings();
    const ScoreTable table = model.score();
    KlMeter meter = model.meter();
    const auto measured = [&](size_t layer, size_t option) {
      Choice choice(model.pool.size(), kLeftAlone);
      choice[layer] = option;
      return meter.measure(choice, false);
    };
    for (const size_t option : {0, 1}) {
      EXPECT_NEAR(table.loss.front()[option] / measured(0, option), 1.0, 0.3) << "table, option " << option;
      if (tied) continue;
      EXPECT_NEAR(table.loss.back()[option] / measured(model.pool.size() - 1, option), 1.0, 0.03)
          << "head, option " << option;
    }
    EXPECT_GT(table.loss.front()[0], 20.0 * table.loss.front()[1]) << "four bits more: about 256 times less";
    for (const std::vector<double>& loss : table.loss) EXPECT_EQ(loss[0], loss[2]) << "the same twice";
  }
}

TEST(TokenRows, HoldEachTokenOnce) {
  ScoredModel model = with_ends("llama", {testing::option("GGUF:Q4_0")});
  const at::Tensor ids = at::tensor({7, 3, 7, 7}, at::kLong).view({2, 2});
  model.model->load_rest();
  const TokenRows tokens(*model.model, ids);
  EXPECT_EQ(tokens.rows().size(0), 2);
  EXPECT_TRUE(tokens.embed(tokens.rows(), at::kFloat).equal(model.model->embed(ids)));
  model.model->release_rest();
}

}  // namespace
}  // namespace auto_scheme
}  // namespace arkit
