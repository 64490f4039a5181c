// `arkit reproduce`: the same files again, and the name of whatever is not as the record has it.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <arkit/engine/jobs.h>
#include <arkit/engine/reproduce.h>
#include <arkit/error.h>

#include "jobs/job_testing.h"
#include "jobs/run_inputs.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;
using testing::contains;
using testing::Recorder;
using testing::refusal;
using testing::registry;
using testing::TemporaryFolder;

constexpr const char* kRecord = "arkit-run.json";

void write_text(const fs::path& file, const std::string& text) {
  std::ofstream(file) << text;
}

// The last byte of a file is another one.
void touch_last_byte(const fs::path& file) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekg(-1, std::ios::end);
  const char last = static_cast<char>(stream.get() ^ 1);
  stream.seekp(-1, std::ios::end);
  stream.put(last);
}

class Reproduce : public ::testing::Test {
 protected:
  Reproduce() {
    fs::copy(testing::tiny_model("source-llama-bf16"), model(), fs::copy_options::recursive);
    std::string lines;
    for (int i = 0; i < 40; ++i)
      lines += "{\"text\": \"sample " + std::to_string(i) + " says that the river runs down to the sea and back\"}\n";
    write_text(data(), lines);
  }

  [[nodiscard]] fs::path model() const { return folder_.path() / "model"; }
  [[nodiscard]] fs::path data() const { return folder_.path() / "data.jsonl"; }
  [[nodiscard]] fs::path made() const { return folder_.path() / "made"; }
  [[nodiscard]] fs::path again() const { return folder_.path() / "again"; }

  [[nodiscard]] QuantizeOptions rtn() const {
    QuantizeOptions options;
    options.model = model().string();
    options.overrides.group_size = 32;
    options.recipe = "rtn";
    options.formats = {"auto_round", "auto_gptq"};
    options.output_dir = made();
    options.command_line = "arkit quantize model";
    return options;
  }
  [[nodiscard]] QuantizeOptions tuned() const {
    QuantizeOptions options = rtn();
    options.recipe = "default";
    options.tuning.iters = 3;
    options.tuning.nsamples = 4;
    options.tuning.seqlen = 8;
    options.tuning.amp_dtype = "bfloat16";
    options.dataset = data().string();
    return options;
  }

  static void make(const QuantizeOptions& options) {
    Recorder recorder;
    (void)quantize(options, registry(), recorder);
  }
  [[nodiscard]] json::Object reproduced(const fs::path& directory, bool allow = false,
                                        const Registry& plugins = registry()) const {
    Recorder recorder;
    return reproduce({.directory = directory, .output_dir = again(), .allow_changed = allow}, plugins, recorder);
  }

  // The one difference, of a run that was not made again.
  [[nodiscard]] std::string difference(const fs::path& directory, const Registry& plugins = registry()) const {
    const json::Object report = reproduced(directory, false, plugins);
    EXPECT_FALSE(report.at("ran").as_bool());
    EXPECT_FALSE(fs::exists(again()));
    const json::Array& lines = report.at("differences").as_array();
    EXPECT_EQ(lines.size(), 1U) << json::dump(report, 2);
    return lines.empty() ? std::string() : std::string(lines.front().as_string());
  }

  void change_record(const fs::path& directory, const std::function<void(json::Object&)>& change) const {
    json::Value record = json::read_file(directory / kRecord);
    change(record.as_object());
    write_text(directory / kRecord, json::dump(record, 2));
  }

  TemporaryFolder folder_;
};

// A data set that an option names is in the report of samples, too: it is hashed once, by whatever name.
TEST_F(Reproduce, AnInputIsHashedOnce) {
  QuantizeOptions options = tuned();
  options.dataset = (folder_.path() / "model/../data.jsonl").string();
  const auto source = open_source(options.model, registry());
  RunInputs inputs(options, *source, registry());
  touch_last_byte(data());  // a second look would see another file
  const json::Array files{data().string()};
  inputs.add_samples({{"entries", json::Array{json::Object{{"name", "x"}, {"files", files}}}}});
  json::Object record{{"source", json::Object()}};
  inputs.add_to(record);
  EXPECT_EQ(record.at("inputs").as_array().size(), 1U) << json::dump(record.at("inputs"));
}

void expect_same(const json::Object& report, int64_t least_files) {
  EXPECT_TRUE(report.at("ran").as_bool());
  EXPECT_TRUE(report.at("equal").as_bool()) << json::dump(report, 2);
  EXPECT_TRUE(report.at("differences").as_array().empty()) << json::dump(report, 2);
  EXPECT_GE(report.at("files").to_number<int64_t>(), least_files);
}

TEST_F(Reproduce, BothFormatsOfARoundingRunComeAgain) {
  make(rtn());
  expect_same(reproduced(made()), 10);
  EXPECT_TRUE(fs::exists(again() / "auto_round/arkit-run.json"));
  EXPECT_TRUE(fs::exists(again() / "auto_gptq/README.md"));
}

TEST_F(Reproduce, BothFormatsOfATunedRunComeAgain) {
  make(tuned());
  expect_same(reproduced(made()), 10);
}

// What was asked for is recorded, not only what came of it: a rate where nothing is tuned is none.
TEST_F(Reproduce, AValueWithoutEffectComesAgain) {
  QuantizeOptions options = rtn();
  options.formats = {"auto_round"};
  options.tuning.lr = 0.25;
  make(options);
  const json::Object record = json::as_object(json::read_file(made() / kRecord), "record");
  EXPECT_TRUE(record.at("options").at("lr").is_null());
  EXPECT_EQ(record.at("given").at("lr"), 0.25);
  expect_same(reproduced(made()), 5);
}

TEST_F(Reproduce, OneExportOfARunIsComparedAlone) {
  make(tuned());
  fs::rename(made() / "auto_gptq", folder_.path() / "moved");
  expect_same(reproduced(folder_.path() / "moved"), 5);
  EXPECT_TRUE(fs::exists(again() / "auto_round"));
}

TEST_F(Reproduce, TheReproductionIsReproducible) {
  QuantizeOptions options = rtn();
  options.formats = {"auto_round"};
  make(options);
  expect_same(reproduced(made()), 5);
  Recorder recorder;
  expect_same(reproduce({.directory = again(), .output_dir = folder_.path() / "third"}, registry(), recorder), 5);
}

TEST_F(Reproduce, OptionsThatNameFilesAndPlacesAreFollowed) {
  const fs::path before = fs::current_path();
  fs::current_path(folder_.path());  // relative paths mean what they meant
  QuantizeOptions options = tuned();
  write_text("layers.json", R"({"k_proj": {"bits": 8}})");
  options.model = "model";
  options.dataset = "data.jsonl";
  options.layer_config = "layers.json";
  options.output_dir = "made";
  make(options);
  fs::current_path(before);
  expect_same(reproduced(made()), 10);
  EXPECT_EQ(fs::current_path(), before);
  write_text(folder_.path() / "layers.json", R"({"v_proj": {"bits": 8}})");
  fs::remove_all(again());
  EXPECT_EQ(difference(made()),
            "--layer_config: '" + (folder_.path() / "layers.json").string() + "' has other contents");
}

// What the file decided stands in the record, and is left to the file again: its copy beside the export holds no more.
TEST_F(Reproduce, ARecipeFileIsFollowed) {
  const fs::path recipe = folder_.path() / "recipe.yaml";
  QuantizeOptions options;
  options.model = model().string();
  options.recipe_file = recipe;
  options.formats.clear();
  options.command_line = "arkit quantize model --recipe_file recipe.yaml";
  int run = 0;
  for (const char* modifier :
       {"QuantizationModifier: {scheme: W4A16, targets: [Linear], ignore: [lm_head]}",
        "AutoRoundModifier: {scheme: W4A16, targets: [Linear], ignore: [lm_head], iters: 2, batch_size: 2}"}) {
    write_text(recipe, std::string("quant_stage:\n  quant_modifiers:\n    ") + modifier + "\n");
    if (run == 1) {
      options.dataset = data().string();
      options.tuning.nsamples = 4;
      options.tuning.seqlen = 8;
    }
    options.output_dir = folder_.path() / ("made" + std::to_string(run));
    make(options);
    Recorder recorder;
    expect_same(reproduce({.directory = options.output_dir, .output_dir = again() / std::to_string(run++)}, registry(),
                          recorder),
                5);
  }
}

TEST_F(Reproduce, ChangedDataIsNamed) {
  make(tuned());
  std::ofstream(data(), std::ios::app) << "{\"text\": \"one more\"}\n";
  EXPECT_EQ(difference(made()), "--dataset: '" + data().string() + "' has other contents");
  fs::remove(data());
  EXPECT_EQ(difference(made()), "--dataset: '" + data().string() + "' is missing");
}

TEST_F(Reproduce, AChangedWeightIsNamed) {
  make(rtn());
  touch_last_byte(model() / "model.safetensors");
  EXPECT_EQ(difference(made()), "model: '" + (model() / "model.safetensors").string() + "' has other contents");
  // It runs when that is allowed, and says which files came out otherwise.
  const json::Object report = reproduced(made(), true);
  EXPECT_TRUE(report.at("ran").as_bool());
  EXPECT_FALSE(report.at("equal").as_bool());
  EXPECT_TRUE(contains(json::dump(report.at("unequal")), "model.safetensors' is not the same"));
}

TEST_F(Reproduce, AChangedConfigurationIsNamed) {
  make(rtn());
  std::ofstream(model() / "config.json", std::ios::app) << "\n";
  EXPECT_EQ(difference(made()), "model: '" + (model() / "config.json").string() + "' has other contents");
}

TEST_F(Reproduce, AMovedModelIsFoundByName) {
  make(rtn());
  fs::rename(model(), folder_.path() / "elsewhere");
  const json::Object report = reproduced(made());
  EXPECT_FALSE(report.at("ran").as_bool());
  EXPECT_EQ(report.at("differences"), json::Array{"model: '" + model().string() + "' is missing"});
  Recorder recorder;
  const json::Object found =
      reproduce({.directory = made(), .model = (folder_.path() / "elsewhere").string(), .output_dir = again()},
                registry(), recorder);
  expect_same(found, 10);  // though the card names the folder
}

TEST_F(Reproduce, AChangedPluginIsNamed) {
  make(rtn());
  const fs::path plugins = folder_.path() / "plugins";
  fs::copy(ARKIT_PLUGIN_BUILD_DIR, plugins, fs::copy_options::recursive);
  std::ofstream(plugins / "libarkit_scheme_int.so", std::ios::app | std::ios::binary) << '\0';
  const Registry changed(PluginSearch{.folders = {plugins}});
  const std::string said = difference(made(), changed);
  EXPECT_TRUE(contains(said, "plugin '") && contains(said, "int") && said.ends_with("is another build")) << said;
  fs::remove(plugins / "libarkit_scheme_int.so");
  const Registry without(PluginSearch{.folders = {plugins}});
  EXPECT_TRUE(contains(difference(made(), without), "is not loaded; name it with --plugin"));
}

TEST_F(Reproduce, AnotherVersionIsNamed) {
  QuantizeOptions options = rtn();
  options.formats = {"auto_round"};
  make(options);
  change_record(made(), [](json::Object& record) { record["arkit_version"] = "0.0.9"; });
  EXPECT_TRUE(contains(difference(made()), "arkit was 0.0.9, this is "));
  change_record(made(), [](json::Object& record) {
    record["arkit_version"] = ARKIT_VERSION;
    record["plugins"].as_array()[0].as_object()["version"] = "0.0.8";
  });
  EXPECT_TRUE(contains(difference(made()), "was 0.0.8, this is "));
}

TEST_F(Reproduce, AnExportThatWasTouchedIsNotTheSame) {
  QuantizeOptions options = rtn();
  options.formats = {"auto_round"};
  make(options);
  touch_last_byte(made() / "model.safetensors");
  change_record(made(), [](json::Object& record) { record["bits_per_weight"] = 3.0; });
  const json::Object report = reproduced(made());
  EXPECT_FALSE(report.at("equal").as_bool());
  const std::string unequal = json::dump(report.at("unequal"));
  EXPECT_TRUE(contains(unequal, "model.safetensors' is not the same")) << unequal;
  EXPECT_TRUE(contains(unequal, "arkit-run.json' is not the same in 'bits_per_weight'")) << unequal;
  EXPECT_EQ(report.at("unequal").as_array().size(), 2U) << unequal;
}

// A record comes from outside: what it asks for is a run, and nothing is written but its output.
TEST_F(Reproduce, PlacesOfTheRecordAreNotWrittenTo) {
  QuantizeOptions options = rtn();
  options.formats = {"auto_round"};
  make(options);
  const fs::path victim = folder_.path() / "victim";
  write_text(victim, "keep");
  change_record(made(), [&](json::Object& record) {
    for (const char* name : {"svg", "save_layer_config", "output_dir"}) {
      record["options"].as_object()[name] = victim.string();
      record["given"].as_object()[name] = victim.string();
    }
  });
  expect_same(reproduced(made()), 5);
  EXPECT_EQ(fs::file_size(victim), 4U);
}

TEST_F(Reproduce, WhatIsNoRecordIsRefusedInOneSentence) {
  QuantizeOptions options = rtn();
  options.formats = {"auto_round"};
  make(options);
  const auto says = [&](const fs::path& directory, const std::string& part, ErrorCode code = ErrorCode::input) {
    const std::string message = refusal(code, [&] { (void)reproduced(directory); });
    EXPECT_TRUE(contains(message, part)) << message;
    EXPECT_FALSE(contains(message, "\n")) << message;
    EXPECT_FALSE(fs::exists(again()));
  };
  says(folder_.path() / "nothing", "is not a folder");
  says(model(), "holds no arkit-run.json");
  const fs::path copy = folder_.path() / "copy";
  const auto with = [&](const std::string& text) {
    fs::create_directories(copy);
    write_text(copy / kRecord, text);
    return copy;
  };
  says(with("{\"schema_version\": 1, "), "arkit-run.json");
  says(with("[1, 2]"), "arkit-run.json");
  says(with("{\"runs\": []}"), "it has no schema_version");
  says(with("{\"schema_version\": 2}"), "its schema_version is 2");
  says(with("{\"schema_version\": 1}"), "it does not say 'format'");
  const auto without = [&](const char* member) {
    json::Value record = json::read_file(made() / kRecord);
    record.as_object().erase(member);
    return with(json::dump(record));
  };
  says(without("given"), "which options were given");
  says(without("plugins"), "it does not list 'plugins'");
  says(without("source"), "it does not say 'path'");
  const auto changed = [&](const std::function<void(json::Object&)>& change) {
    with(json::dump(json::read_file(made() / kRecord)));
    change_record(copy, change);
    return copy;
  };
  says(changed([](json::Object& record) { record["given"].as_object()["recipe"] = 5; }),
       "option 'recipe' is 5, which is not a text");
  says(changed([](json::Object& record) { record["given"].as_object()["warp_speed"] = 9; }),
       "option 'warp_speed' is unknown to this version");
  says(changed([](json::Object& record) { record["files"].as_array().emplace_back("../../etc/passwd"); }),
       "is not in its folder");
  Recorder recorder;
  (void)convert({.model = made().string(), .formats = {"auto_gptq"}, .output_dir = folder_.path() / "converted"},
                registry(), recorder);
  says(folder_.path() / "converted", "was converted, not quantized", ErrorCode::unsupported);
}

// What the model is may come from a file, too.
TEST_F(Reproduce, AFamilyFileIsComparedByItsHash) {
  const fs::path file = folder_.path() / "family.toml";
  const auto with_family = [&](const std::string& summary) {
    write_text(file, "name = \"mine\"\nsummary = \"" + summary + "\"\nmodel_types = [\"llama\"]\n");
    return Registry(PluginSearch{.folders = {ARKIT_PLUGIN_BUILD_DIR}, .families = {file}});
  };
  QuantizeOptions options = rtn();
  options.formats = {"auto_round"};
  {
    const Registry given = with_family("first");
    Recorder recorder;
    (void)quantize(options, given, recorder);
    const json::Object record = json::as_object(json::read_file(made() / kRecord), "record");
    EXPECT_EQ(record.at("family").at("name"), "mine");
    EXPECT_EQ(record.at("family").at("path").as_string(), file.string());
    expect_same(reproduced(made(), false, given), 5);
    fs::remove_all(again());
  }
  EXPECT_EQ(difference(made()),
            "the model's family was the one of '" + file.string() + "', which is not read now; name it with --family");
  const Registry other = with_family("second");
  EXPECT_EQ(difference(made(), other),
            "family file '" + file.string() + "' has other contents than '" + file.string() + "' had");
  fs::remove_all(made());
  make(options);
  EXPECT_EQ(difference(made(), other),
            "the model's family is the one of '" + file.string() + "' now, and was a plugin's");
}

TEST_F(Reproduce, ADryRunOnlyCompares) {
  make(rtn());
  Recorder recorder;
  const json::Object report =
      reproduce({.directory = made(), .output_dir = again(), .dry_run = true}, registry(), recorder);
  EXPECT_FALSE(report.at("ran").as_bool());
  EXPECT_TRUE(report.at("differences").as_array().empty());
  EXPECT_FALSE(fs::exists(again()));
}

}  // namespace
}  // namespace arkit
