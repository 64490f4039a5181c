// Formats that change plans: what they may do, what of it is said, and what sees it.
#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/engine/jobs.h>
#include <arkit/engine/resolved_options.h>
#include <arkit/json.h>
#include <arkit/model_source.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/sdk/testing.h>
#include <arkit/str.h>

#include "cli/run_program.h"
#include "jobs/job_testing.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;
using testing::contains;
using testing::refusal;
using testing::TemporaryFolder;

const Registry& registry() {
  static const Registry instance(PluginSearch{.named = {ARKIT_REFINING}, .folders = {ARKIT_PLUGIN_BUILD_DIR}});
  return instance;
}

class Notes final : public Reporter {
 public:
  void info(std::string_view message) override { text += std::string(message) + "\n"; }
  void warn(std::string_view message) override { warnings += std::string(message) + "\n"; }
  std::string text, warnings;
};

class Refine : public ::testing::Test {
 protected:
  Refine() {
    options_.model = testing::tiny_model("source-llama-bf16");
    options_.recipe = "rtn";
    options_.output_dir = folder_.path() / "out";
    options_.dry_run = true;
  }

  json::Value run(const std::vector<std::string>& formats) {
    options_.formats = formats;
    notes_ = {};
    return quantize(options_, registry(), notes_);
  }
  std::string refused(const std::vector<std::string>& formats, ErrorCode code = ErrorCode::unsupported) {
    const std::string message = refusal(code, [&] { (void)run(formats); });
    EXPECT_FALSE(fs::exists(options_.output_dir)) << "before anything is written";
    return message;
  }

  // The row of a layer in the plan of a dry run or of a record.
  static const json::Object* layer_in(const json::Value& plan, std::string_view name) {
    for (const json::Value& row : plan.at("layers").as_array())
      if (row.at("name").as_string() == name) return &row.as_object();
    return nullptr;
  }
  static std::string scheme_in(const json::Value& plan, std::string_view name) {
    const json::Object* layer = layer_in(plan, name);
    return layer == nullptr ? "absent" : std::string(layer->at("scheme").as_string());
  }
  json::Value record() const { return json::read_file(options_.output_dir / "arkit-run.json"); }

  TemporaryFolder folder_;
  QuantizeOptions options_;
  Notes notes_;
};

constexpr const char* kValues = "model.layers.1.self_attn.v_proj";
constexpr const char* kTable = "model.embed_tokens";

TEST_F(Refine, ADefaultImplementationChangesNothing) {
  const json::Value report = run({"refining"});
  EXPECT_FALSE(report.as_object().contains("changed_by_formats"));
  EXPECT_EQ(notes_.text, "");
  EXPECT_EQ(scheme_in(report, kValues), "int4 g128 sym");
  EXPECT_EQ(scheme_in(report, kTable), "absent");
}

TEST_F(Refine, EveryChangeIsSaid) {
  const json::Value plain = run({"refining"}), report = run({"refining:v8"});
  EXPECT_EQ(scheme_in(report, kValues), "int8 g128 sym");
  EXPECT_EQ(layer_in(report, kValues)->at("reason").as_string(), "format 'refining:v8': values in 8 bits");
  EXPECT_EQ(scheme_in(report, "model.layers.1.self_attn.k_proj"), "int4 g128 sym");
  const json::Array& rows = report.at("changed_by_formats").as_array();
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[1].at("layer").as_string(), kValues);
  EXPECT_EQ(rows[1].at("format").as_string(), "refining:v8");
  EXPECT_EQ(rows[1].at("from").as_string(), "int4 g128 sym");
  EXPECT_EQ(rows[1].at("to").as_string(), "int8 g128 sym");
  EXPECT_EQ(rows[1].at("reason").as_string(), "values in 8 bits");
  EXPECT_TRUE(contains(notes_.text,
                       "format 'refining:v8' values in 8 bits: 2 layers change ('model.layers.0.self_attn."
                       "v_proj': int4 g128 sym -> int8 g128 sym ...)"))
      << notes_.text;
  EXPECT_TRUE(contains(notes_.warnings, "v_proj int8 g128 sym")) << "engines fuse q, k and v: " << notes_.warnings;
  EXPECT_GT(report.at("outputs").as_array()[0].at("bytes").as_int64(),
            plain.at("outputs").as_array()[0].at("bytes").as_int64());
}

TEST_F(Refine, TheProgramShowsChangesInTheTableOfADryRun) {
  const cli_test::Outcome run =
      cli_test::run_arkit({"--plugin", ARKIT_REFINING, "quantize", options_.model, "--recipe", "rtn", "--dry_run",
                           "--format", "refining:v8", "--output_dir", options_.output_dir.string()});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_TRUE(contains(run.out, "changed by formats")) << run.out;
  EXPECT_TRUE(contains(run.out, "format 'refining:v8': values in 8 bits")) << run.out;
  EXPECT_TRUE(contains(run.err, "2 layers change")) << run.err;
}

TEST_F(Refine, TheFilesTheRecordAndVerifySeeTheChangedPlan) {
  options_.dry_run = false;
  (void)run({"refining:v8"});
  EXPECT_EQ(scheme_in(record().at("plan"), kValues), "int8 g128 sym");
  const auto exported = open_source(options_.output_dir.string(), registry());
  for (const LinearSpec& layer : sdk::packed_layers(*exported))
    EXPECT_EQ(layer.quant.weight.bits, layer.name.ends_with("v_proj") ? 8 : 4) << layer.name;
  const json::Value report = verify({.directory = options_.output_dir, .against = {}}, registry(), notes_);
  EXPECT_TRUE(report.at("passed").as_bool()) << json::dump(report, 1);
}

TEST_F(Refine, TuningSeesTheChangedPlan) {
  options_.dry_run = false;
  options_.recipe = "default";
  options_.tuning.iters = 2;
  options_.tuning.nsamples = 2;
  options_.tuning.seqlen = 16;
  options_.dataset = "self";
  (void)run({"refining", "refining:v8"});
  options_.output_dir /= "refining-v8";
  const json::Value plan = record().at("plan");
  EXPECT_EQ(scheme_in(plan, "model.layers.0.self_attn.v_proj"), "int8 g128 sym");
  EXPECT_EQ(record().at("method").as_string(), "SignRound");
  EXPECT_GE(record().at("blocks").as_array()[0].at("loss_before").to_number<double>(), 0.0);
  EXPECT_TRUE(layer_in(plan, "model.layers.0.self_attn.v_proj")->contains("relative_error"));
}

TEST_F(Refine, AFormatKeepsLayersIn16Bits) {
  const json::Value report = run({"refining:last16"});
  EXPECT_EQ(scheme_in(report, kValues), "16-bit");
  EXPECT_EQ(scheme_in(report, "model.layers.0.self_attn.v_proj"), "int4 g128 sym");
  EXPECT_FALSE(layer_in(report, kValues)->at("quantized").as_bool());
}

TEST_F(Refine, AFormatClaimsTheHeadAndTheEmbedding) {
  for (const bool model_free : {false, true}) {
    options_.dry_run = false;
    options_.force = true;
    options_.model_free = model_free;
    (void)run({"refining:claims"});
    const json::Value plan = record().at("plan");
    EXPECT_EQ(scheme_in(plan, kTable), "int8 g128 sym");
    EXPECT_EQ(scheme_in(plan, "lm_head"), "int8 g128 sym");
    EXPECT_TRUE(layer_in(plan, kTable)->contains("relative_error"));
    EXPECT_TRUE(layer_in(plan, "lm_head")->contains("relative_error"));
    const auto exported = open_source(options_.output_dir.string(), registry());
    for (const char* name : {"model.embed_tokens.weight", "lm_head.weight"})
      EXPECT_EQ(exported->weights().find(name), nullptr) << name;
    const json::Value report = verify({.directory = options_.output_dir, .against = {}}, registry(), notes_);
    EXPECT_TRUE(report.at("passed").as_bool()) << json::dump(report, 1);
  }
}

// A claimed table is no head: no layer after the blocks is tuned for it.
TEST_F(Refine, AClaimedTableOfATiedModelIsRoundedAndItsHeadIsLeft) {
  options_.model = testing::tiny_model("source-qwen3-bf16");
  options_.dry_run = false;
  options_.recipe = "default";
  options_.tuning.iters = 2;
  options_.tuning.nsamples = 2;
  options_.tuning.seqlen = 16;
  options_.dataset = "self";
  (void)run({"refining:claims"});
  const json::Value plan = record().at("plan");
  EXPECT_EQ(scheme_in(plan, kTable), "int8 g128 sym");
  EXPECT_TRUE(layer_in(plan, kTable)->contains("relative_error"));
  EXPECT_EQ(scheme_in(plan, "lm_head"), layer_in(plan, "lm_head") == nullptr ? "absent" : "16-bit");
}

TEST_F(Refine, AFormatRefuses) {
  EXPECT_EQ(refused({"refining:no"}),
            "format 'refining:no' cannot store this plan: it refuses every plan; choose another --format");
}

TEST_F(Refine, WhatIsNotAFormatsToChange) {
  options_.layer_config = R"({"v_proj": {"bits": 3}})";
  const std::string fixed = refused({"refining:v8"});
  EXPECT_TRUE(contains(fixed,
                       "format 'refining:v8' makes layer 'model.layers.0.self_attn.v_proj' int8 g128 sym "
                       "(values in 8 bits), and layer_config 'v_proj' makes it int3 g128 sym"))
      << fixed;
  options_.layer_config = R"({"v_proj": {"bits": 8}})";
  EXPECT_FALSE(run({"refining:v8"}).as_object().contains("changed_by_formats")) << "both want the same";
  options_.layer_config.clear();
  EXPECT_TRUE(contains(refused({"refining:ragged"}), "which its scheme cannot: weight bits 9"));
  options_.model = testing::tiny_model("source-qwen3-bf16");
  if (layer_in(run({"refining"}), "lm_head") == nullptr) GTEST_SKIP() << "this family lists no tied head";
  EXPECT_TRUE(contains(refused({"refining:head8"}), "shares its weight with the embedding"));
}

TEST_F(Refine, AFormatThatIsWrongIsNamed) {
  EXPECT_TRUE(contains(refused({"refining:strange"}, ErrorCode::plugin),
                       "format 'refining:strange' changes layer 'no.such.layer', which the model does not have"));
  EXPECT_TRUE(contains(refused({"refining:moody"}, ErrorCode::plugin),
                       "'refining:moody' changes layer 'model.layers.0.self_attn.v_proj' once more"));
}

TEST_F(Refine, FormatsThatContradictEachOtherAreRefusedTogether) {
  EXPECT_EQ(refused({"refining:v8", "refining:v6"}),
            "formats 'refining:v8' and 'refining:v6' cannot be written in one run: layer 'model.layers.0.self_attn.v_"
            "proj' becomes int8 g128 sym (values in 8 bits) for 'refining:v8' and int6 g128 sym (values in 6 bits) for "
            "'refining:v6'; write them in two runs");
  EXPECT_EQ(refused({"refining:v8", "refining:picky"}),
            "formats 'refining:v8' and 'refining:picky' cannot be written in one run: layer 'model.layers.0.self_attn."
            "v_proj' becomes int8 g128 sym for 'refining:v8', which 'refining:picky' cannot store: it holds at most 7 "
            "bits; choose another --format; write them in two runs");
  const std::string late = refused({"refining:late", "refining:v8"});
  EXPECT_TRUE(contains(late, "formats 'refining:v8' and 'refining:late'")) << late;
  EXPECT_TRUE(contains(late, "'model.layers.0.self_attn.v_proj'")) << late;
  // Agreeing is no contradiction, and what one wants the other one gets.
  const json::Value report = run({"refining", "refining:v8"});
  EXPECT_EQ(report.at("changed_by_formats").as_array().size(), 2U);
  EXPECT_EQ(scheme_in(report, kValues), "int8 g128 sym");
}

TEST_F(Refine, AVariantStandsForAScheme) {
  EXPECT_EQ(run({"refining:stands8"}).at("scheme").as_string(), "W8A16");
  EXPECT_EQ(run({"refining:stands8"}).at("options").at("scheme").as_string(), "W8A16");
  EXPECT_EQ(resolved_options(options_, registry()).at("scheme").as_string(), "W8A16") << "--save_config";
  EXPECT_EQ(run({"refining"}).at("scheme").as_string(), "W4A16");
  options_.scheme = "w8a16";
  EXPECT_EQ(run({"refining:stands8"}).at("scheme").as_string(), "W8A16");
  options_.scheme = "W4A16";
  EXPECT_EQ(refused({"refining:stands8"}, ErrorCode::usage),
            "format 'refining:stands8' stands for scheme 'W8A16', and --scheme asks for 'W4A16'; leave that out or "
            "choose another --format");
  options_.scheme.clear();
  EXPECT_TRUE(contains(refused({"refining:stands2", "refining:stands8"}, ErrorCode::usage),
                       "'refining:stands2' stands for scheme 'W2A16' and 'refining:stands8' for 'W8A16'"));
  options_.auto_scheme.options = {"W4A16,W8A16"};
  options_.auto_scheme.avg_bits = {5.0};
  EXPECT_TRUE(contains(refused({"refining:stands8"}, ErrorCode::usage), "--options lets AutoScheme choose"));
}

TEST_F(Refine, AutoSchemeDecidesAboutTheOthersAndCountsAll) {
  options_.auto_scheme.options = {"W2A16,W4A16,W8A16"};
  options_.auto_scheme.avg_bits = {5.0};
  options_.auto_scheme.use_cache = false;
  options_.auto_scheme.nsamples = 2;
  options_.auto_scheme.seqlen = 16;
  options_.dataset = "self";
  options_.formats = {"refining:claims"};
  const json::Value claims = autoscheme(options_, registry(), notes_);
  const auto is_pinned = [&](const json::Value& report, std::string_view name) {
    const json::Array& pinned = report.at("pinned").as_array();
    return std::any_of(pinned.begin(), pinned.end(),
                       [&](const json::Value& p) { return p.at("name").as_string() == name; });
  };
  EXPECT_TRUE(is_pinned(claims, "lm_head"));
  EXPECT_TRUE(is_pinned(claims, kTable));
  options_.formats = {"refining:v6"};
  const json::Value values = autoscheme(options_, registry(), notes_);
  EXPECT_TRUE(is_pinned(values, kValues));
  for (const json::Value& layer : values.at("mix").as_array()) EXPECT_NE(layer.at("name").as_string(), kValues);
  const json::Value report = run({"refining:v6"});
  EXPECT_EQ(scheme_in(report, kValues), "int6 g128 sym");
  EXPECT_EQ(report.at("changed_by_formats").as_array().size(), 2U);
}

TEST_F(Refine, ConvertChangesNoCodes) {
  ConvertOptions options;
  options.model = testing::tiny_model("auto_round-W4A16");
  options.output_dir = options_.output_dir;
  options.formats = {"refining:v8"};
  const std::string message = refusal(ErrorCode::unsupported, [&] { (void)convert(options, registry(), notes_); });
  EXPECT_TRUE(contains(message, "format 'refining:v8' makes layer 'model.layers.0.self_attn.v_proj' int8 g128 sym"))
      << message;
  EXPECT_TRUE(contains(message, "which convert does not change; 'arkit quantize' writes this format")) << message;
  options.formats = {"refining"};
  EXPECT_NO_THROW((void)convert(options, registry(), notes_));
}

// Formats that ask for what was rounded, and for how much each input matters.
class Asking : public Refine {
 protected:
  Asking() {
    options_.dry_run = false;
    options_.force = true;
    options_.dataset = "self";
    options_.tuning.nsamples = 4;
    options_.tuning.seqlen = 32;
    options_.model_free = false;
  }
  json::Object asked(const char* format = "asking") {
    (void)run({format});
    return json::read_file(options_.output_dir / "asked.json").as_object();
  }
  static at::Tensor tensor(const json::Value& numbers) {
    std::vector<float> values;
    for (const json::Value& number : numbers.as_array()) values.push_back(number.to_number<float>());
    return at::tensor(values);
  }
  // Every quantized layer was given with the weight of the source.
  void expect_source_weights(const json::Object& given) {
    const auto source = open_source(options_.model, registry());
    EXPECT_EQ(given.size(), 14U);
    for (const auto& layer : given) {
      const at::Tensor weight = source->weights().load(str(std::string_view(layer.key()), ".weight")).to(at::kFloat);
      EXPECT_TRUE(tensor(layer.value().at("source")).equal(weight.reshape({-1}))) << layer.key();
      EXPECT_EQ(layer.value().at("source_dtype").as_string(), "BFloat16") << layer.key();
    }
  }
};

TEST_F(Asking, GetsWeightsAndImportanceOfPlainRounding) {
  const json::Object given = asked();
  expect_source_weights(given);
  for (const auto& layer : given) {
    EXPECT_EQ(layer.value().at("imatrix_count").as_int64(), 4) << layer.key();
    EXPECT_GT(tensor(layer.value().at("imatrix")).min().item<float>(), 0.0F) << layer.key();
  }
  const auto imatrix = [&](const char* layer) { return tensor(given.at(layer).at("imatrix")); };
  const at::Tensor q = imatrix("model.layers.0.self_attn.q_proj");
  EXPECT_TRUE(q.equal(imatrix("model.layers.0.self_attn.v_proj"))) << "they have one input";
  EXPECT_FALSE(q.equal(imatrix("model.layers.1.self_attn.q_proj")));
}

// Rounding that looks at no importance does not begin to because a format does.
TEST_F(Asking, ChangesNoCodes) {
  (void)asked();
  const auto with = open_source(options_.output_dir.string(), registry());
  options_.dataset = QuantizeOptions().dataset;
  options_.tuning.nsamples.reset();
  options_.tuning.seqlen.reset();
  const fs::path other = folder_.path() / "other";
  options_.output_dir = other;
  (void)run({"refining"});
  const auto without = open_source(other.string(), registry());
  ASSERT_EQ(sdk::packed_layers(*with).size(), 14U);
  ASSERT_EQ(sdk::packed_layers(*without).size(), 14U);
  for (const LinearSpec& layer : sdk::packed_layers(*without))
    EXPECT_TRUE(with->packed()->unpack(layer.name).codes.equal(without->packed()->unpack(layer.name).codes));
}

// Who does not ask gets neither, not even where the run measures importance for itself; and plain rounding reads no
// data set for him.
TEST_F(Asking, GivesNothingToFormatsThatDoNotAsk) {
  const auto expect_nothing = [](const json::Object& given) {
    EXPECT_EQ(given.size(), 14U);
    for (const auto& layer : given) {
      EXPECT_TRUE(layer.value().at("source").is_null()) << layer.key();
      EXPECT_TRUE(layer.value().at("imatrix").is_null()) << layer.key();
      EXPECT_EQ(layer.value().at("imatrix_count").as_int64(), 0) << layer.key();
    }
  };
  options_.recipe = "opt-rtn";
  expect_nothing(asked("content"));
  const auto calibrated = [&] {
    const json::Value record = json::read_file(options_.output_dir / "arkit-run.json");
    const json::Value* calibration = json::find(record.as_object(), "calibration");
    return calibration != nullptr && calibration->is_object() && !calibration->get_object().empty();
  };
  EXPECT_TRUE(calibrated()) << "else nothing was measured";
  options_.recipe = "rtn";
  expect_nothing(asked("content"));
  EXPECT_FALSE(calibrated());
}

TEST_F(Asking, GetsTheSameOfATunedRun) {
  const json::Object rounded = asked();
  options_.recipe = "default";
  options_.tuning.iters = 2;
  const json::Object given = asked();
  expect_source_weights(given);
  for (const auto& layer : given) {
    const at::Tensor expected = tensor(rounded.at(layer.key()).at("imatrix"));
    EXPECT_TRUE(sdk::close(tensor(layer.value().at("imatrix")), expected, 0, 1e-3)) << layer.key();
    EXPECT_EQ(layer.value().at("imatrix_count").as_int64(), 4) << layer.key();
  }
}

// Without a family nothing computes, and without samples there is no importance.
TEST_F(Asking, GetsWeightsAloneWhereNoModelIs) {
  options_.model_free = true;
  options_.dataset = QuantizeOptions().dataset;
  options_.tuning.nsamples.reset();
  options_.tuning.seqlen.reset();
  const json::Object given = asked();
  expect_source_weights(given);
  for (const auto& layer : given) {
    EXPECT_TRUE(layer.value().at("imatrix").is_null()) << layer.key();
    EXPECT_EQ(layer.value().at("imatrix_count").as_int64(), 0) << layer.key();
  }
}

}  // namespace
}  // namespace arkit
