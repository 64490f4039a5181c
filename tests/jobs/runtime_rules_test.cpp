// What serving engines load and fuse: the rule files that come with arkit, files of the user's, and what they do to
// runs.
#include <algorithm>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include <arkit/exporter.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/sdk/layer_rules.h>
#include <arkit/str.h>

#include "jobs/job_testing.h"
#include "quant/runtime_rules.h"

namespace arkit {
namespace {

using testing::contains;
using testing::refusal;
using testing::registry;

constexpr const char* kTiny = R"(
name = "tiny"
[[fused]]
parts = ["q_proj", "k_proj"]
[[refuses]]
formats = ["auto_round"]
bits = [8]
why = "eight is too many"
[[loads]]
formats = ["auto_round", "mlx"]
data_type = ["int"]
group_size = [128]
sym = true
act_bits = [16]
outside_blocks = false
says = "groups of 128"
)";

LayerPlan layer(std::string name, int bits, int64_t group_size = 128, bool sym = true) {
  LayerPlan plan{.name = std::move(name), .out_features = 256, .in_features = 256, .block = 0};
  model_free::guess_layer(plan);
  plan.quant.weight = {.data_type = "int", .bits = bits, .group_size = group_size, .sym = sym};
  return plan;
}

TEST(RuntimeRules, TheInstalledOnesAreThere) {
  std::vector<std::string> names;
  for (const RuntimeRules& rules : installed_runtimes()) {
    names.push_back(rules.name);
    // Nobody reads "checked 2026-11" as "nobody ran it".
    EXPECT_TRUE(rules.checked.ends_with(", run") || rules.checked.ends_with(", not run")) << rules.name;
  }
  EXPECT_EQ(names, (std::vector<std::string>{"mlx", "sglang", "transformers", "vllm"}));
  EXPECT_EQ(find_runtime("vLLM").name, "vllm");
  EXPECT_TRUE(contains(refusal(ErrorCode::unsupported, [] { (void)find_runtime("vlm"); }), "did you mean 'vllm'"));
}

// Every format a rule names exists: a typing error in a data file would refuse everything.
TEST(RuntimeRules, TheirFormatsExist) {
  std::vector<std::string> known;
  for (const std::string& name : registry().names(Kind::exporter)) {
    known.push_back(name);
    for (const std::string_view variant : registry().exporter(name).variants()) known.emplace_back(variant);
  }
  for (const RuntimeRules& rules : installed_runtimes())
    for (const auto* entries : {&rules.loads, &rules.refuses})
      for (const RuntimeRules::Entry& entry : *entries)
        for (const std::string& format : entry.formats)
          EXPECT_NE(std::find(known.begin(), known.end(), format), known.end()) << rules.name << ": " << format;
}

TEST(RuntimeRules, SayWhyAFormatDoesNotLoad) {
  const RuntimeRules rules = parse_runtime(kTiny, "tiny");
  const auto why = [&](const LayerPlan& plan, const char* format) {
    const std::vector<std::string> reasons = format_violations({.layers = {plan}}, format, rules);
    return reasons.empty() ? std::string() : reasons.front();
  };
  EXPECT_EQ(why(layer("a", 4), "auto_round"), "");
  EXPECT_EQ(why(layer("a", 16), "gguf"), "") << "nothing is quantized";
  EXPECT_TRUE(contains(why(layer("a", 8), "auto_round"), "eight is too many"));
  EXPECT_EQ(why(layer("a", 8), "mlx"), "") << "the refusal is about another format";
  EXPECT_TRUE(contains(why(layer("a", 4, 64), "mlx"), "of this format it loads groups of 128"));
  EXPECT_FALSE(why(layer("a", 4, 128, false), "mlx").empty());
  EXPECT_TRUE(contains(why(layer("a", 4), "fp8"), "does not read format 'fp8'; it reads 'auto_round', 'mlx'"));
  LayerPlan head = layer("lm_head", 4);
  head.block = -1;
  EXPECT_FALSE(why(head, "mlx").empty());
}

TEST(RuntimeRules, FindWhatIsFused) {
  RuntimeRules rules = parse_runtime(kTiny, "tiny");
  rules.fused.push_back({});  // experts
  const QuantPlan plan{.layers = {layer("l.0.attn.q_proj", 4), layer("l.0.attn.k_proj", 8), layer("l.1.attn.q_proj", 4),
                                  layer("l.1.attn.k_proj", 4), layer("l.0.mlp.experts.0.up", 4),
                                  layer("l.0.mlp.experts.1.up", 8), layer("l.0.q_proj", 8)}};
  const std::vector<std::string> sentences = fused_violations(plan, std::span(&rules, 1));
  ASSERT_EQ(sentences.size(), 2U);
  EXPECT_TRUE(contains(sentences[0], "1 group of layers (first 'l.0.attn.q_proj') that tiny fuses")) << sentences[0];
  EXPECT_TRUE(contains(sentences[1], "up int4 g128 sym, up int8 g128 sym")) << sentences[1];
}

TEST(RuntimeRules, BadFilesAreExplained) {
  const auto why = [](const std::string& text) {
    return refusal(ErrorCode::input, [&] { (void)parse_runtime(text, "rules.toml"); });
  };
  EXPECT_TRUE(contains(why("name = "), "rules.toml: line 1: not TOML"));
  EXPECT_TRUE(contains(why("nmae = \"x\""), "did you mean 'name'"));
  EXPECT_TRUE(contains(why("name = 3"), "name"));
  EXPECT_TRUE(contains(why("name = \"x\""), "no [[loads]]"));
  EXPECT_TRUE(contains(why("name = \"x\"\n[[loads]]\nsays = \"y\""), "[[loads]] number 1: 'formats' is missing"));
  EXPECT_TRUE(contains(why("name = \"x\"\n[[loads]]\nformats = [\"f\"]"), "'says' is missing"));
  EXPECT_TRUE(contains(why("name = \"x\"\n[[loads]]\nformats = [\"f\"]\nsays = \"y\"\nbits = [\"4\"]"),
                       "a list of whole numbers is expected"));
  EXPECT_TRUE(contains(why("name = \"x\"\n[[loads]]\nformats = [\"f\"]\nsays = \"y\"\nbits = []"), "fit nothing"));
  EXPECT_TRUE(contains(why("name = \"x\"\n[[loads]]\nformats = \"f\"\nsays = \"y\""), "'formats'"));
  EXPECT_TRUE(contains(why("name = \"x\"\n[[fused]]\nexperts = false"), "expected either parts"));
  EXPECT_TRUE(contains(why("name = \"x\"\nloads = 3"), "loads"));
  EXPECT_TRUE(contains(why(std::string(3000, '[')), "not TOML"));
}

class RuntimeRun : public ::testing::Test {
 protected:
  RuntimeRun() {
    options_.model = testing::tiny_model("source-llama-bf16");
    options_.output_dir = folder_.path() / "out";
    options_.recipe = "rtn";
    options_.dry_run = true;
  }
  void run() { (void)quantize(options_, registry(), recorder_); }
  std::string why() {
    return refusal(ErrorCode::unsupported, [&] { run(); });
  }

  testing::TemporaryFolder folder_;
  QuantizeOptions options_;
  testing::Recorder recorder_;
};

TEST_F(RuntimeRun, RefusesWhatTheEngineFuses) {
  options_.layer_config = R"({"k_proj": {"bits": 8}})";
  run();
  ASSERT_EQ(recorder_.warnings.size(), 1U);
  EXPECT_TRUE(contains(recorder_.warnings[0], "that SGLang and vLLM fuse into one mixes schemes"))
      << recorder_.warnings[0];
  options_.runtime = "vllm";
  EXPECT_TRUE(contains(why(), "runtime 'vllm': 2 groups of layers"));
  EXPECT_FALSE(std::filesystem::exists(options_.output_dir)) << "before anything is written";
  options_.runtime = "transformers";
  EXPECT_NO_THROW(run());
}

TEST_F(RuntimeRun, RefusesWhatTheEngineDoesNotLoad) {
  options_.runtime = "vllm";
  EXPECT_NO_THROW(run());
  options_.scheme = "W5A16";
  options_.formats = {"llm_compressor"};
  EXPECT_TRUE(contains(why(), "integers of 4 or 8 bits"));
  options_.formats = {"auto_round", "mlx"};
  const std::string both = why();
  EXPECT_TRUE(contains(both, "from format 'auto_round'") && contains(both, "does not read format 'mlx'")) << both;
  options_.scheme = "W4A16";
  options_.formats = {"llm_compressor"};
  options_.overrides.group_size = 16;
  EXPECT_TRUE(contains(why(), "in groups of 32, 64, 128 or a row"));
  options_.overrides.group_size = 64;
  EXPECT_NO_THROW(run());
  options_.runtime = "mlx";
  options_.formats = {"mlx"};
  EXPECT_NO_THROW(run());
}

TEST_F(RuntimeRun, WarnsAboutWhatNoEngineLoads) {
  options_.scheme = "W5A16";
  options_.formats = {"auto_round:auto_awq"};
  run();
  ASSERT_EQ(recorder_.warnings.size(), 1U);
  EXPECT_TRUE(contains(recorder_.warnings[0], "none of the engines")) << recorder_.warnings[0];
}

// AutoRound's guide: --model_free --scheme W4A16 --asym --layer_config "{k_proj:{bits:8},v_proj:{bits:8}}".
TEST_F(RuntimeRun, EightBitsWithZeroPointsAreWrittenAndWhoReadsThemIsTold) {
  options_.dry_run = false;
  options_.model_free = true;
  options_.overrides.sym = false;
  options_.overrides.group_size = 32;
  options_.ignore_layers = {"mlp"};
  options_.layer_config = "{k_proj:{bits:8},v_proj:{bits:8}}";
  for (const char* format : {"auto_round", "auto_gptq", "llm_compressor", "mlx"}) {
    SCOPED_TRACE(format);
    options_.formats = {format};
    options_.output_dir = folder_.path() / format;
    recorder_.warnings.clear();
    run();
    const auto told = std::find_if(recorder_.warnings.begin(), recorder_.warnings.end(), [&](const std::string& said) {
      return contains(said, str("format '", format, "': 4 layers have 8-bit asymmetric weights (first "));
    });
    ASSERT_EQ(told != recorder_.warnings.end(), format != std::string("mlx")) << "all that knows mlx reads them";
    if (told != recorder_.warnings.end()) EXPECT_TRUE(contains(*told, "'--runtime NAME' makes it an error")) << *told;
    if (format == std::string("auto_round")) {
      EXPECT_TRUE(contains(*told, "which SGLang and vLLM do not read from it; Transformers does (")) << *told;
    }
    const json::Object report = verify({.directory = options_.output_dir}, registry(), recorder_);
    EXPECT_TRUE(report.at("passed").as_bool()) << json::dump(report, 2);
    const auto written = open_source(options_.output_dir.string(), registry());
    size_t eight = 0;
    for (const LinearSpec& spec : sdk::packed_layers(*written)) {
      EXPECT_FALSE(spec.quant.weight.sym) << spec.name;
      if (spec.quant.weight.bits == 8) ++eight;
    }
    EXPECT_EQ(eight, 4U);
  }
  options_.dry_run = true;
  options_.formats = {"auto_round"};
  options_.runtime = "vllm";
  EXPECT_TRUE(contains(why(), "does not read zero points stored directly"));
  // Symmetric ones are nobody's trouble.
  options_.runtime.clear();
  options_.overrides.sym = true;
  recorder_.warnings.clear();
  run();
  for (const std::string& said : recorder_.warnings) EXPECT_FALSE(contains(said, "asymmetric")) << said;
}

TEST_F(RuntimeRun, TakesAFileOfTheUsers) {
  options_.runtime = (folder_.path() / "tiny.toml").string();
  std::ofstream(options_.runtime) << kTiny;
  EXPECT_NO_THROW(run());
  options_.scheme = "W8A16";
  EXPECT_TRUE(contains(why(), "eight is too many"));
  options_.runtime = (folder_.path() / "absent.toml").string();
  EXPECT_TRUE(contains(refusal(ErrorCode::input, [&] { run(); }), "no such file"));
}

TEST(RuntimeList, ShowsThem) {
  const json::Object list = list_things("runtimes", registry());
  ASSERT_EQ(list.at("runtimes").as_array().size(), 4U);
  EXPECT_EQ(list.at("runtimes").as_array()[3].as_object().at("name").as_string(), "vllm");
}

}  // namespace
}  // namespace arkit
