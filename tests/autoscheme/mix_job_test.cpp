// AutoScheme as commands run it: mixes that are exported, reopened and verified, budgets in bytes, files it writes.
#include <fstream>
#include <iterator>
#include <map>
#include <set>

#include <arkit/model_source.h>
#include <arkit/sdk/forwarding_source.h>

#include "autoscheme/mix_picture.h"
#include "jobs/job_testing.h"

namespace arkit {
namespace {

using testing::contains;
using testing::Recorder;
using testing::refusal;
using testing::registry;
namespace fs = std::filesystem;

class MixJob : public ::testing::Test {
 protected:
  MixJob() {
    options_.model = testing::tiny_model("source-llama-bf16");
    options_.dataset = "self";
    options_.tuning.iters = 0;
    options_.tuning.disable_opt_rtn = true;
    options_.overrides.group_size = 32;
    options_.auto_scheme.options = {"W2A16,W4A16,W8A16"};
    options_.auto_scheme.avg_bits = {4.5};
    options_.auto_scheme.nsamples = 4;
    options_.auto_scheme.seqlen = 32;
    options_.auto_scheme.use_cache = false;
    options_.output_dir = folder_.path() / "out";
  }
  json::Object run() { return quantize(options_, registry(), recorder_); }
  json::Object record() const {
    return json::as_object(json::read_file(options_.output_dir / "arkit-run.json"), "record");
  }
  int64_t folder_bytes() const {
    int64_t bytes = 0;
    for (const auto& entry : fs::directory_iterator(options_.output_dir)) bytes += entry.file_size();
    return bytes;
  }
  // Bits of every packed layer of what was written.
  std::map<std::string, int> written_bits() const {
    std::map<std::string, int> bits;
    const auto source = open_source(options_.output_dir.string(), registry());
    for (const LinearSpec& layer : sdk::packed_layers(*source)) bits[layer.name] = layer.quant.weight.bits;
    return bits;
  }
  void expect_verified() {
    const json::Object report = verify({.directory = options_.output_dir}, registry(), recorder_);
    EXPECT_TRUE(report.at("passed").as_bool());
  }

  testing::TemporaryFolder folder_;
  QuantizeOptions options_;
  Recorder recorder_;
};

TEST_F(MixJob, IsExportedReopenedAndVerified) {
  for (const char* format : {"auto_round", "llm_compressor", "mlx", "auto_gptq"}) {
    SCOPED_TRACE(format);
    options_.formats = {format};
    options_.output_dir = folder_.path() / format;
    (void)run();
    const std::map<std::string, int> bits = written_bits();
    EXPECT_EQ(bits.size(), 14U);
    std::set<int> different;
    for (const auto& [name, b] : bits) different.insert(b);
    EXPECT_GT(different.size(), 1U) << "a mix";
    for (int block = 0; block < 2; ++block) {
      const std::string attention = "model.layers." + std::to_string(block) + ".self_attn.";
      EXPECT_EQ(bits.at(attention + "q_proj"), bits.at(attention + "k_proj")) << "fused layers share";
    }
    const json::Object written = record();
    const json::Value& mix = written.at("autoscheme");
    EXPECT_LE(mix.at("average_bits").to_number<double>(), 4.5);
    EXPECT_GE(mix.at("bytes").to_number<int64_t>(), folder_bytes()) << "an upper bound";
    for (const json::Value& layer : written.at("plan").at("layers").as_array())
      if (layer.at("quantized").as_bool())
        EXPECT_TRUE(contains(std::string(layer.at("reason").as_string()), "autoscheme: W"));
    expect_verified();
  }
}

TEST_F(MixJob, MicroscalingOptionsMixInOneFile) {
  options_.overrides = {};
  options_.auto_scheme.options = {"MXFP4", "MXFP8"};
  options_.auto_scheme.avg_bits = {6.0};
  for (const char* format : {"llm_compressor", "auto_round"}) {
    options_.formats = {format};
    options_.output_dir = folder_.path() / format;
    (void)run();
    std::set<int> different;
    for (const auto& [name, b] : written_bits()) different.insert(b);
    EXPECT_EQ(different, (std::set<int>{4, 8}));
    expect_verified();
  }
}

TEST_F(MixJob, RotatesTheLayersThatItQuantizes) {
  options_.overrides = {};
  options_.rotation = "default";
  options_.auto_scheme.refine_seconds = 0.5;
  for (const char* options : {"MXFP4,MXFP8", "MXFP4,BF16"}) {
    SCOPED_TRACE(options);
    options_.auto_scheme.options = {options};
    options_.auto_scheme.avg_bits = {contains(options, "BF16") ? 9.0 : 6.0};
    options_.output_dir = folder_.path() / options;
    (void)run();
    std::map<bool, int> layers;
    const json::Object written = record();
    for (const json::Value& layer : written.at("plan").at("layers").as_array()) {
      if (layer.at("name").as_string() == "lm_head") continue;
      ++layers[layer.at("quantized").as_bool()];
      EXPECT_EQ(layer.as_object().contains("rotation"), layer.at("quantized").as_bool()) << json::dump(layer);
    }
    EXPECT_GT(layers[true], 0);
    EXPECT_EQ(layers[false] > 0, contains(options, "BF16"));
    EXPECT_LE(written.at("autoscheme").at("measured_kl").to_number<double>(),
              written.at("autoscheme").at("kl_before_refinement").to_number<double>());
    expect_verified();
  }
}

TEST_F(MixJob, TheExportKeepsToATargetSize) {
  options_.auto_scheme.avg_bits.clear();
  options_.auto_scheme.options = {"W2A16,W3A16,W4A16,W5A16,W6A16,W8A16"};
  options_.auto_scheme.share_fused_layers = false;
  for (const char* format : {"auto_round", "llm_compressor"}) {
    SCOPED_TRACE(format);
    options_.formats = {format};
    for (const int64_t target : {440'000, 500'000, 560'000}) {
      options_.auto_scheme.target_size = target;
      options_.output_dir = folder_.path() / (format + std::to_string(target));
      (void)run();
      EXPECT_LE(folder_bytes(), target);
      // Half a percent, and the generous count of texts, which a model of 0.5 MB feels.
      EXPECT_GE(folder_bytes(), target - target / 200 - 10'000);
      EXPECT_LE(record().at("autoscheme").at("bytes").to_number<int64_t>(), target);
    }
  }
}

TEST_F(MixJob, BudgetsOutOfReachNameTheRange) {
  options_.auto_scheme.avg_bits = {1.0};
  EXPECT_TRUE(contains(refusal(ErrorCode::usage, [&] { (void)run(); }), "the options give 2.562 to 8.750 bits"));
  options_.auto_scheme.avg_bits.clear();
  options_.auto_scheme.target_size = 10'000;
  const std::string text = refusal(ErrorCode::usage, [&] { (void)run(); });
  EXPECT_TRUE(contains(text, "target_size 10000 cannot be reached: with these options the export takes ")) << text;
  EXPECT_FALSE(fs::exists(options_.output_dir));
  options_.auto_scheme.target_size.reset();
  (void)refusal(ErrorCode::usage, [&] { (void)run(); });
  options_.auto_scheme.avg_bits = {3.0, 4.0};
  EXPECT_TRUE(contains(refusal(ErrorCode::usage, [&] { (void)run(); }), "one budget"));
  options_.auto_scheme.options.clear();
  EXPECT_TRUE(contains(refusal(ErrorCode::usage, [&] { (void)run(); }), "--options"));
}

TEST_F(MixJob, FormatsThatCannotHoldTheMixRefuseBeforeScoring) {
  options_.dataset = "/no/such/file";  // would be missed first by anything that reads samples
  options_.auto_scheme.options = {"W4A16,MXFP4"};
  options_.overrides = {};
  EXPECT_TRUE(contains(refusal(ErrorCode::unsupported, [&] { (void)run(); }), "cannot hold a mix of these options"));
  options_.auto_scheme.options = {"W4A16,W8A16"};
  options_.formats = {"auto_awq"};
  EXPECT_TRUE(contains(refusal(ErrorCode::unsupported, [&] { (void)run(); }), "option 'W8A16' fits no layer"));
}

TEST_F(MixJob, TheSavedLayerConfigGivesTheSameExport) {
  options_.auto_scheme.save_layer_config = folder_.path() / "mix.toml";
  options_.layer_config = R"({"model.layers.1.mlp.up_proj": {"bits": 3, "group_size": 64}})";
  options_.ignore_layers = {"model.layers.0.mlp.down_proj"};
  (void)run();
  const std::map<std::string, int> mixed = written_bits();
  EXPECT_EQ(mixed.at("model.layers.1.mlp.up_proj"), 3);
  EXPECT_FALSE(mixed.contains("model.layers.0.mlp.down_proj"));

  QuantizeOptions again;
  again.model = options_.model;
  again.tuning = options_.tuning;
  again.scheme = "W8A16";
  again.layer_config = options_.auto_scheme.save_layer_config.string();
  const fs::path first = options_.output_dir;
  again.output_dir = options_.output_dir = folder_.path() / "again";
  (void)quantize(again, registry(), recorder_);
  EXPECT_EQ(written_bits(), mixed);
  const json::Object same = diff({.a = first.string(), .b = again.output_dir.string()}, registry(), recorder_);
  EXPECT_EQ(same.at("layers_differing").to_number<int64_t>(), 0) << json::dump(same, 2);
  const json::Object written = record();
  for (const json::Value& layer : written.at("plan").at("layers").as_array())
    if (layer.at("name").as_string() == "model.layers.0.self_attn.q_proj")
      EXPECT_TRUE(contains(std::string(layer.at("reason").as_string()), "(mix.toml line "));
}

TEST_F(MixJob, AModelFreeRunTakesTheMix) {
  options_.model_free = true;
  (void)run();
  EXPECT_EQ(written_bits().size(), 14U);
  expect_verified();
  EXPECT_TRUE(record().at("plan").at("layers").as_array().front().at("reason").as_string().starts_with("autoscheme"));
}

TEST_F(MixJob, ADryRunDecidesAndWritesNothing) {
  options_.dry_run = true;
  const json::Object report = run();
  EXPECT_FALSE(fs::exists(options_.output_dir));
  EXPECT_EQ(report.at("autoscheme").at("avg_bits").to_number<double>(), 4.5);
  for (const json::Value& layer : report.at("layers").as_array())
    EXPECT_TRUE(layer.as_object().contains("reason")) << json::dump(layer);
}

TEST_F(MixJob, TunedErrorsDecideCloseChoices) {
  options_.auto_scheme.score = "tuned";
  EXPECT_TRUE(contains(refusal(ErrorCode::usage, [&] { (void)run(); }), "with iters 0 nothing is tuned"));
  options_.tuning.iters = 8;
  options_.tuning.nsamples = 4;
  options_.tuning.seqlen = 32;
  options_.auto_scheme.use_cache = true;
  options_.auto_scheme.cache_dir = folder_.path() / "scores";
  (void)run();
  const json::Object first = record().at("autoscheme").as_object();
  const json::Object& tuned = first.at("tuned_error").as_object();
  EXPECT_EQ(tuned.at("iters").to_number<int64_t>(), 8);
  EXPECT_GT(tuned.at("close_groups").to_number<int64_t>(), 0);
  EXPECT_GE(first.at("layers_changed_by_tuning").to_number<int64_t>(), 0);
  int64_t ratios = 0;
  for (const auto& [layer, by_option] : tuned.at("ratios").as_object())
    for (const auto& [option, ratio] : by_option.as_object()) {
      EXPECT_GT(ratio.to_number<double>(), 0.0) << layer << " " << option;
      EXPECT_LT(ratio.to_number<double>(), 2.0) << layer << " " << option;  // samples of noise: little to gain
      ++ratios;
    }
  EXPECT_EQ(tuned.at("options_tuned").to_number<int64_t>(), ratios);
  EXPECT_GE(first.at("bytes").to_number<int64_t>(), folder_bytes()) << "an upper bound";
  expect_verified();

  const std::map<std::string, int> bits = written_bits();
  options_.dry_run = true;
  const json::Object again = quantize(options_, registry(), recorder_).at("autoscheme").as_object();
  EXPECT_EQ(again.at("tuned_error").at("options_tuned").to_number<int64_t>(), 0) << "kept";
  EXPECT_EQ(again.at("tuned_error").at("ratios"), tuned.at("ratios"));
  EXPECT_EQ(again.at("predicted_loss"), first.at("predicted_loss"));
  options_.auto_scheme.score = "default";
  const json::Object plain = quantize(options_, registry(), recorder_).at("autoscheme").as_object();
  EXPECT_TRUE(plain.at("scores_cached").as_bool()) << "scores are the same";
  EXPECT_FALSE(plain.contains("tuned_error"));
  EXPECT_NE(first.at("predicted_loss"), plain.at("predicted_loss"));
}

TEST_F(MixJob, SeveralBudgetsAreComparedAndDrawn) {
  options_.auto_scheme.avg_bits = {3.0, 4.5, 6.0};
  options_.auto_scheme.svg = folder_.path() / "mix.svg";
  const json::Object result = autoscheme(options_, registry(), recorder_);
  const json::Array& budgets = result.at("budgets").as_array();
  ASSERT_EQ(budgets.size(), 3U);
  for (size_t i = 0; i < budgets.size(); ++i) {
    EXPECT_GT(budgets[i].at("measured_kl").to_number<double>(), 0.0);
    if (i == 0) continue;
    EXPECT_LE(budgets[i].at("predicted_loss").to_number<double>(),
              budgets[i - 1].at("predicted_loss").to_number<double>());
    EXPECT_GT(budgets[i].at("bytes").to_number<int64_t>(), budgets[i - 1].at("bytes").to_number<int64_t>());
  }
  EXPECT_EQ(result.at("mix").as_array().size(), 14U);
  double loss = 1e300, bits = 0.0;
  for (const json::Value& point : result.at("curve").as_array()) {
    EXPECT_GT(point.at(0).to_number<double>(), bits);
    EXPECT_LE(point.at(1).to_number<double>(), loss);
    bits = point.at(0).to_number<double>();
    loss = point.at(1).to_number<double>();
  }
  std::ifstream in(options_.auto_scheme.svg);
  const std::string svg((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  EXPECT_TRUE(contains(svg, "<svg xmlns=")) << svg.substr(0, 80);
  EXPECT_TRUE(contains(svg, "block 1 mlp.down_proj: W"));
  options_.auto_scheme.save_layer_config = folder_.path() / "mix.toml";
  EXPECT_TRUE(contains(refusal(ErrorCode::usage, [&] { (void)autoscheme(options_, registry(), recorder_); }), "one"));
}

TEST(MixPicture, EscapesNamesAndDrawsWithoutACurve) {
  auto_scheme::MixPicture picture;
  picture.title = "a <b> & c";
  picture.options = {{"W2A16", 2.0}, {"W8A16", 8.0}};
  picture.maps = {{"budget", {"q_proj"}, {{0, 1, auto_scheme::MixPicture::kPinned}}}};
  const std::string svg = draw(picture);
  EXPECT_TRUE(contains(svg, "a &lt;b&gt; &amp; c"));
  EXPECT_TRUE(contains(svg, "block 2 q_proj: pinned"));
  EXPECT_TRUE(contains(svg, "</svg>"));
}

}  // namespace
}  // namespace arkit
