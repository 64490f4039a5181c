// Importance matrices: both forms of their files, and what runs make of them.
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/engine/jobs.h>
#include <arkit/json.h>
#include <arkit/mapped_file.h>
#include <arkit/model_source.h>
#include <arkit/scheme.h>
#include <arkit/sdk/gguf_blocks.h>

#include "gguf_exporter.h"
#include "gguf_file.h"
#include "gguf_imatrix.h"
#include "gguf_rules.h"
#include "jobs/job_testing.h"
#include "util/sha256.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;
using testing::contains;
using testing::refusal;
using testing::registry;
using testing::TemporaryFolder;

const fs::path kTiny = testing::tiny_model("source-llama-bf16");
const fs::path kShared = fs::path(ARKIT_SHARED_DIR) / "vectors/gguf_tiny/source-llama-bf16";

template <typename T>
void put(std::string& to, T value) {
  to.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

// Numbers that are the same wherever they are made; tests/data/gguf/README.md has the Python of it.
std::vector<float> numbers_of(std::string_view name, int64_t count) {
  uint64_t state = 0;
  for (const char c : name) state = state * 31 + static_cast<unsigned char>(c);
  std::vector<float> out;
  for (int64_t i = 0; i < count; ++i) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    const double u = static_cast<double>(state >> 40) / (1 << 24);
    out.push_back(static_cast<float>(0.05 + 4 * u * u));
  }
  return out;
}

struct Vector {
  std::string name;
  int32_t calls = 3;
  std::vector<float> values;
};

std::string dat_file(const std::vector<Vector>& vectors, std::string_view dataset = "texts.txt") {
  std::string out;
  put(out, static_cast<int32_t>(vectors.size()));
  for (const Vector& vector : vectors) {
    put(out, static_cast<int32_t>(vector.name.size()));
    out += vector.name;
    put(out, vector.calls);
    put(out, static_cast<int32_t>(vector.values.size()));
    for (const float value : vector.values) put(out, value);
  }
  put(out, int32_t{7});
  put(out, static_cast<int32_t>(dataset.size()));
  return out + std::string(dataset);
}

// Every matrix of a model's blocks.
std::vector<Vector> vectors_of(const fs::path& model) {
  const json::Object config = json::read_file(model / "config.json").as_object();
  const int64_t hidden = config.at("hidden_size").as_int64(), inner = config.at("intermediate_size").as_int64();
  std::vector<Vector> vectors;
  for (int64_t block = 0; block < config.at("num_hidden_layers").as_int64(); ++block)
    for (const char* part : {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"}) {
      const std::string name = "blk." + std::to_string(block) + "." + part + ".weight";
      vectors.push_back({.name = name, .values = numbers_of(name, part == std::string("ffn_down") ? inner : hidden)});
    }
  return vectors;
}

ImportanceMatrix parse(const std::string& bytes) {
  return gguf::parse_imatrix(std::as_bytes(std::span(bytes)), "'file'");
}

at::Tensor row(const std::vector<float>& numbers) {
  return at::tensor(numbers).view({1, -1});
}

at::Tensor mean_of(const ImportanceEntry& entry) {
  return entry.sums / entry.counts.unsqueeze(1);
}

class Imatrix : public ::testing::Test {
 protected:
  QuantizeOptions options(const fs::path& model, const std::string& scheme, const std::string& format) {
    QuantizeOptions o;
    o.model = model.string();
    o.scheme = scheme;
    o.formats = {format};
    o.recipe = "opt-rtn";
    o.output_dir = folder_.path() / ("out" + std::to_string(runs_++));
    o.dataset = "self";
    o.tuning.nsamples = 4;
    o.tuning.seqlen = 16;
    o.tuning.amp_dtype = "float32";
    return o;
  }

  json::Object run(const QuantizeOptions& o) {
    recorder_ = {};
    return quantize(o, registry(), recorder_);
  }

  static fs::path file_of(const QuantizeOptions& o, const std::string& ending) {
    for (const fs::directory_entry& entry : fs::directory_iterator(o.output_dir))
      if (entry.path().extension() == ending) return entry.path();
    ADD_FAILURE() << "no file";
    return {};
  }

  // Names and hashes of the tensors of a .gguf or .safetensors export.
  static std::map<std::string, std::string> tensors(const fs::path& file) {
    std::map<std::string, std::string> out;
    const MappedFile map(file);
    const gguf::File parsed = gguf::parse_gguf(map.bytes(), "'file'");
    for (const gguf::TensorEntry& tensor : parsed.tensors) {
      Sha256 hash;
      hash.update(map.bytes().subspan(static_cast<size_t>(tensor.offset), static_cast<size_t>(tensor.bytes)));
      out[tensor.name] = hash.hex();
    }
    return out;
  }

  static std::string digest(const fs::path& file) {
    const MappedFile map(file);
    const gguf::File parsed = gguf::parse_gguf(map.bytes(), "'file'");
    std::string text;
    for (const gguf::TensorEntry& tensor : parsed.tensors) {
      Sha256 hash;
      hash.update(map.bytes().subspan(static_cast<size_t>(tensor.offset), static_cast<size_t>(tensor.bytes)));
      text += tensor.name + " " + hash.hex() + "\n";
    }
    return sha256_hex(text);
  }

  std::string refused(ErrorCode code, const QuantizeOptions& o) {
    const std::string message = refusal(code, [&] { (void)run(o); });
    EXPECT_FALSE(fs::exists(o.output_dir));
    return message;
  }

  TemporaryFolder folder_;
  testing::Recorder recorder_;
  int runs_ = 0;
};

TEST_F(Imatrix, IsReadFromBothForms) {
  const std::string dat = dat_file({{"blk.0.attn_q.weight", 3, {3, 6, 0, 1.5F}}, {"output.weight", 0, {1, 2}}});
  const ImportanceMatrix old = parse(dat);
  ASSERT_EQ(old.entries.size(), 2U);
  EXPECT_EQ(old.entries[0].name, "blk.0.attn_q.weight");
  EXPECT_TRUE(mean_of(old.entries[0]).equal(row({1.0F, 2.0F, 0.0F, 0.5F})));
  EXPECT_TRUE(mean_of(old.entries[1]).equal(row({1.0F, 2.0F}))) << "without calls they are means";
  EXPECT_EQ(old.datasets, std::vector<std::string>{"texts.txt"});
  EXPECT_EQ(old.chunks, 7);

  const std::string bytes = gguf::imatrix_bytes(old, gguf::ImatrixForm::gguf);
  const ImportanceMatrix current = parse(bytes);
  ASSERT_EQ(current.entries.size(), 2U);
  EXPECT_EQ(current.datasets, old.datasets);
  EXPECT_EQ(current.chunks, 7);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(current.entries[i].name, old.entries[i].name);
    EXPECT_TRUE(mean_of(current.entries[i]).equal(mean_of(old.entries[i])));
  }
  const gguf::File file = gguf::parse_gguf(std::as_bytes(std::span(bytes)), "'file'");
  EXPECT_EQ(file.metadata.text("general.type"), "imatrix");
  EXPECT_EQ(file.metadata.integer("imatrix.chunk_size"), 512);
  EXPECT_EQ(file.tensors.front().name, "blk.0.attn_q.weight.in_sum2");
  EXPECT_EQ(file.tensors.front().shape, std::vector<int64_t>{4});

  const ImportanceMatrix again = parse(gguf::imatrix_bytes(current, gguf::ImatrixForm::dat));
  for (size_t i = 0; i < 2; ++i) EXPECT_TRUE(at::allclose(mean_of(again.entries[i]), mean_of(old.entries[i]), 1e-6, 0));
  for (const char* oldest : {"", "\7\0\0\0"}) {  // files without an end, or with half of one
    std::string cut = dat.substr(0, dat.size() - 17);
    EXPECT_EQ(parse(cut + (*oldest == 0 ? "" : std::string(oldest, 4))).entries.size(), 2U);
  }
}

// A stack of experts has a count each; one that saw no token counts all inputs alike.
TEST_F(Imatrix, KeepsStacksOfExperts) {
  ImportanceMatrix matrix{.chunk_tokens = 4};
  matrix.entries.push_back({.name = "blk.0.ffn_up_exps.weight",
                            .layer = {},
                            .sums = row({2, 4, 0, 0}).view({2, 2}),
                            .counts = row({8, 0}).view({2})});
  const ImportanceMatrix read = parse(gguf::imatrix_bytes(matrix, gguf::ImatrixForm::gguf));
  EXPECT_TRUE(read.entries[0].sums.equal(matrix.entries[0].sums));
  EXPECT_TRUE(read.entries[0].counts.equal(matrix.entries[0].counts));
  const ImportanceMatrix flat = parse(gguf::imatrix_bytes(matrix, gguf::ImatrixForm::dat));
  EXPECT_TRUE(mean_of(flat.entries[0]).equal(row({0.25F, 0.5F, 1.0F, 1.0F})));
}

TEST_F(Imatrix, RefusesFilesThatAreDamagedOrSomethingElse) {
  const auto refused = [](const std::string& bytes) { return refusal(ErrorCode::input, [&] { (void)parse(bytes); }); };
  const std::string good = dat_file({{"blk.0.attn_q.weight", 3, {1, 2}}});
  for (size_t size = 0; size < good.size(); ++size) {
    if (size == good.size() - 17 || size == good.size() - 13) continue;  // the oldest files end there
    EXPECT_FALSE(refused(good.substr(0, size)).empty()) << size;
  }
  EXPECT_TRUE(contains(refused("some text about something"), "is no importance matrix"));
  EXPECT_TRUE(contains(refused(good + "x"), "the file is damaged"));
  EXPECT_TRUE(contains(refused(dat_file({{"a", 1, {1}}, {"a", 1, {1}}})), "appears twice"));
  EXPECT_TRUE(contains(refused(dat_file({{"a", -1, {1}}})), "-1"));
  EXPECT_TRUE(contains(refused(dat_file({{"a", 1, {}}})), "announces 0 values"));
  EXPECT_TRUE(contains(refused(dat_file(std::vector<Vector>(8193, {"a", 1, {1}}))), "from 1 to 8192"));
  EXPECT_TRUE(contains(refused(dat_file({{"a\xff", 1, {1}}})), "no UTF-8"));
  for (const float bad :
       {-1.0F, std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 3e38F})
    EXPECT_TRUE(contains(refused(dat_file({{"a", 1, {bad}}})), "entry 'a' holds a number")) << bad;
  std::string huge = good;  // two thousand million values of which the file has two
  const int32_t many = std::numeric_limits<int32_t>::max();
  std::memcpy(huge.data() + 4 + 4 + 19 + 4, &many, sizeof(many));
  EXPECT_TRUE(contains(refused(huge), "cut short or damaged"));

  ImportanceMatrix matrix;
  matrix.entries.push_back({.name = "a", .layer = {}, .sums = at::ones({1, 3}), .counts = at::ones({1})});
  std::string form = gguf::imatrix_bytes(matrix, gguf::ImatrixForm::gguf);
  EXPECT_EQ(parse(form).entries.size(), 1U);
  std::string other = form;
  other.replace(other.find("a.counts"), 8, "a.countz");
  EXPECT_TRUE(contains(refused(other), "has no tensor '.counts'"));
  other = form;
  other.replace(other.find("imatrix", 0), 7, "general");
  EXPECT_TRUE(contains(refused(other), "is a GGUF file but no importance matrix")) << refused(other);
  matrix.entries[0].sums.fill_(3e38);
  matrix.entries[0].counts.fill_(0.5);
  EXPECT_TRUE(contains(refused(gguf::imatrix_bytes(matrix, gguf::ImatrixForm::gguf)), "means are infinite"));
  matrix.entries[0].counts = at::ones({2});
  EXPECT_TRUE(contains(refused(gguf::imatrix_bytes(matrix, gguf::ImatrixForm::gguf)), "has 2 counts"));
}

TEST_F(Imatrix, HasNoMoreEntriesThanModels) {
  ImportanceMatrix matrix;
  for (int i = 0; i < 8193; ++i)
    matrix.entries.push_back(
        {.name = std::to_string(i), .layer = {}, .sums = at::ones({1, 1}), .counts = at::ones({1})});
  const std::string bytes = gguf::imatrix_bytes(matrix, gguf::ImatrixForm::gguf);
  EXPECT_TRUE(contains(refusal(ErrorCode::input, [&] { (void)parse(bytes); }), "has 8193 entries, at most 8192"));
}

// What a run makes of a file is what its scheme makes of the numbers in it.
TEST_F(Imatrix, WeighsTheSearchesOfEveryScheme) {
  const fs::path file = folder_.write("imatrix.dat", dat_file(vectors_of(kTiny)));
  const auto source = open_source(kTiny.string(), registry());
  const std::string layer = "model.layers.1.mlp.down_proj";
  const at::Tensor weight = source->weights().load(layer + ".weight").to(at::kFloat);
  const at::Tensor mean = at::tensor(numbers_of("blk.1.ffn_down.weight", weight.size(1))) / 3.0F;
  struct Case {
    const char *scheme, *format, *block;  // block: what the rules make of the layer in a GGUF file
  };
  for (const Case& one :
       {Case{"GGUF:Q4_K_M", "gguf", "q6_k"}, Case{"GGUF:Q2_K", "gguf", "q3_k"}, Case{"GGUF:Q4_K_S", "gguf", "q4_k"},
        Case{"GGUF:IQ4_XS", "gguf", "iq4_xs"}, Case{"W4A16", "auto_round", ""}, Case{"MXFP4", "llm_compressor", ""}}) {
    SCOPED_TRACE(one.scheme);
    QuantizeOptions o = options(kTiny, one.scheme, one.format);
    o.imatrix = file;
    EXPECT_EQ(run(o).at("method").as_string(), "OPT-RTN");
    EXPECT_TRUE(recorder_.warnings.empty()) << recorder_.warnings.front();
    const json::Value record = json::read_file(o.output_dir / "arkit-run.json");
    EXPECT_EQ(record.at("importance").at("entries").as_int64(), static_cast<int64_t>(vectors_of(kTiny).size()));
    EXPECT_TRUE(record.at("calibration").as_object().empty()) << "no sample is needed";

    const auto written = open_source(o.output_dir.string(), registry());
    TensorQuant quant;
    const auto block = sdk::find_block_type(one.block);
    if (block) quant = sdk::quant_of(*block);
    for (const LinearSpec& spec : written->packed()->layers())
      if (!block && spec.name == layer) quant = spec.quant.weight;
    ASSERT_TRUE(quant.quantized());
    const Scheme& scheme = registry().scheme_for(quant.data_type);
    // Blocks are looked at as numbers, their codes come back in another form.
    const auto rounded = [&](const at::Tensor& importance) {
      const QuantizedWeight w = scheme.quantize_rtn(weight, quant, RtnMode::searched, importance, 1, {});
      return block ? scheme.dequantize(w, quant, at::kFloat) : w.codes;
    };
    const at::Tensor stored =
        block ? written->plain()->weights().load(layer + ".weight") : written->packed()->unpack(layer).codes;
    EXPECT_TRUE(stored.equal(rounded(mean)));
    EXPECT_FALSE(stored.equal(rounded({})));
  }
}

// Every tensor of 16 files, each kind but q8_0, which looks at no importance.
TEST_F(Imatrix, GivesTheBytesOfLlamaQuantize) {
  if (!fs::exists(kShared / "model.safetensors"))
    GTEST_SKIP() << "needs ../shared/vectors/gguf_tiny with the weights of its source";
  const json::Value digests = json::read_file(fs::path(ARKIT_TEST_DATA) / "gguf/llama_quantize_imatrix_digests.json");
  ASSERT_EQ(digests.as_object().size(), 16U);
  const std::string dat = dat_file(vectors_of(kShared));
  const fs::path forms[] = {folder_.write("imatrix.dat", dat),
                            folder_.write("imatrix.gguf", gguf::imatrix_bytes(parse(dat), gguf::ImatrixForm::gguf))};
  size_t turn = 0;
  for (const auto& [kind, expected] : digests.as_object()) {
    SCOPED_TRACE(std::string(kind));
    QuantizeOptions o = options(kShared, "", "gguf:" + std::string(kind));
    o.imatrix = forms[++turn % 2];
    if (kind.find("_k") != std::string::npos || kind == "q4_0" || kind == "q5_0") o.overrides.scale_search = "ggml";
    (void)run(o);
    EXPECT_TRUE(recorder_.warnings.empty()) << recorder_.warnings.front();
    EXPECT_EQ(digest(file_of(o, ".gguf")), expected.as_string());
  }
}

// One run measures and keeps, the next reads: both files, and the same bytes.
TEST_F(Imatrix, IsKeptAndReadAgain) {
  std::map<std::string, std::string> measured;
  for (const char* name : {"kept.gguf", "kept.dat"}) {
    QuantizeOptions o = options(kTiny, "GGUF:Q5_0", "gguf");
    o.save_imatrix = folder_.path() / name;
    (void)run(o);
    measured = tensors(file_of(o, ".gguf"));
    const ImportanceMatrix kept = parse(std::string(MappedFile(o.save_imatrix).text()));
    EXPECT_EQ(kept.entries.size(), vectors_of(kTiny).size() + 1) << "with the head";
    EXPECT_EQ(kept.datasets, std::vector<std::string>{"self"});
    EXPECT_EQ(kept.chunks, 4);
    EXPECT_FALSE(fs::exists(o.save_imatrix.string() + ".part"));
  }
  const ImportanceMatrix kept = parse(std::string(MappedFile(folder_.path() / "kept.gguf").text()));
  EXPECT_EQ(kept.chunk_tokens, 16);
  EXPECT_EQ(kept.entries[0].counts.item<float>(), 64.0F) << "tokens";
  QuantizeOptions o = options(kTiny, "GGUF:Q5_0", "gguf");
  o.imatrix = folder_.path() / "kept.gguf";
  o.save_imatrix = folder_.path() / "other.dat";
  (void)run(o);
  // A power of two between the two means.
  EXPECT_EQ(tensors(file_of(o, ".gguf")), measured);
  EXPECT_EQ(parse(std::string(MappedFile(o.save_imatrix).text())).entries.size(), kept.entries.size());
}

// Plain rounding looks at no importance, and takes samples to keep it.
TEST_F(Imatrix, IsMeasuredForItsFileAlone) {
  QuantizeOptions o = options(kTiny, "W4A16", "auto_round");
  o.recipe = "rtn";
  (void)run(o);
  const auto plain = open_source(o.output_dir.string(), registry());
  o = options(kTiny, "W4A16", "auto_round");
  o.recipe = "rtn";
  o.save_imatrix = folder_.path() / "kept.gguf";
  EXPECT_EQ(run(o).at("method").as_string(), "RTN");
  EXPECT_EQ(parse(std::string(MappedFile(o.save_imatrix).text())).entries.size(), vectors_of(kTiny).size());
  const auto kept = open_source(o.output_dir.string(), registry());
  const std::string name = "model.layers.0.self_attn.q_proj";
  EXPECT_TRUE(kept->packed()->unpack(name).codes.equal(plain->packed()->unpack(name).codes));
}

TEST_F(Imatrix, StartsTuning) {
  const fs::path file = folder_.write("imatrix.dat", dat_file(vectors_of(kTiny)));
  std::vector<std::map<std::string, std::string>> made;
  for (const bool given : {true, false}) {
    QuantizeOptions o = options(kTiny, "GGUF:Q3_K_S", "gguf");
    o.recipe = "light";
    o.tuning.iters = 1;
    if (given) o.imatrix = file;
    EXPECT_EQ(run(o).at("method").as_string(), "SignRound");
    made.push_back(tensors(file_of(o, ".gguf")));
  }
  EXPECT_NE(made[0].at("blk.0.attn_q.weight"), made[1].at("blk.0.attn_q.weight"));
  EXPECT_EQ(made[0].at("output_norm.weight"), made[1].at("output_norm.weight"));
}

TEST_F(Imatrix, IsNamedInTheFile) {
  const fs::path file = folder_.write("imatrix.dat", dat_file(vectors_of(kTiny)));
  QuantizeOptions o = options(kTiny, "GGUF:Q4_K_M", "gguf");
  o.imatrix = file;
  (void)run(o);
  const MappedFile map(file_of(o, ".gguf"));
  QuantizeOptions dry = o;
  dry.dry_run = true;
  EXPECT_EQ(quantize(dry, registry(), recorder_).at("outputs").at(0).at("bytes").to_number<size_t>(),
            map.bytes().size())
      << "a dry run counts the keys that name it";
  const gguf::File written = gguf::parse_gguf(map.bytes(), "'file'");
  const gguf::Metadata& keys = written.metadata;
  EXPECT_EQ(keys.text("quantize.imatrix.file"), file.string());
  EXPECT_EQ(keys.text("quantize.imatrix.dataset"), "texts.txt");
  EXPECT_EQ(keys.integer("quantize.imatrix.entries_count"), static_cast<int64_t>(vectors_of(kTiny).size()));
  EXPECT_EQ(keys.integer("quantize.imatrix.chunks_count"), 7);
}

TEST_F(Imatrix, IsHeldToTheModel) {
  std::vector<Vector> vectors = vectors_of(kTiny);
  const auto given = [&](const std::vector<Vector>& some) {
    QuantizeOptions o = options(kTiny, "GGUF:Q4_K_M", "gguf");
    o.imatrix = folder_.write("imatrix.dat", dat_file(some));
    return o;
  };
  const Vector first = vectors.front();
  vectors.front().values.push_back(1);
  EXPECT_TRUE(contains(refused(ErrorCode::input, given(vectors)),
                       "'blk.0.attn_q.weight' has " + std::to_string(first.values.size() + 1) + " values"));
  vectors.front() = {"blk.77.attn_q.weight", 3, first.values};
  (void)run(given(vectors));
  ASSERT_EQ(recorder_.warnings.size(), 1U);
  EXPECT_TRUE(contains(recorder_.warnings.front(), "has no entry for 1 of")) << recorder_.warnings.front();
  EXPECT_TRUE(contains(recorder_.warnings.front(), "'model.layers.0.self_attn.q_proj'"));
  EXPECT_TRUE(contains(refused(ErrorCode::input, given({{"v.blk.0.ln1.weight", 1, {1}}})), "of another model"));
}

TEST_F(Imatrix, IsRefusedWhereNothingWouldLookAtIt) {
  const fs::path file = folder_.write("imatrix.dat", dat_file(vectors_of(kTiny)));
  const auto given = [&](const std::string& scheme) {
    QuantizeOptions o = options(kTiny, scheme, scheme.starts_with("GGUF") ? "gguf" : "auto_round");
    o.imatrix = file;
    return o;
  };
  QuantizeOptions o = given("GGUF:Q4_K_M");
  o.recipe = "rtn";
  EXPECT_TRUE(contains(refused(ErrorCode::usage, o), "plain rounding does not look at it; search scales with"));
  o = given("W4A16");
  o.recipe = "light";
  EXPECT_TRUE(contains(refused(ErrorCode::usage, o), "--enable_alg_ext")) << refused(ErrorCode::usage, o);
  EXPECT_TRUE(contains(refused(ErrorCode::usage, given("GGUF:Q8_0")), "has nothing to search"));
  o = given("W4A16");
  o.model_free = true;
  o.recipe = "rtn";
  EXPECT_TRUE(contains(refused(ErrorCode::usage, o), "model_free rounds without a search"));
  o = given("W4A16");
  o.rotation = "hadamard";
  EXPECT_TRUE(contains(refused(ErrorCode::usage, o), "--rotation turns them"));
  o = given("W4A16");
  o.algs = "awq,rtn";
  EXPECT_TRUE(contains(refused(ErrorCode::usage, o), "'awq' of algs scales them"));
  o = given("W4A16");
  o.imatrix = folder_.path() / "nothing";
  EXPECT_FALSE(refused(ErrorCode::input, o).empty());
  o = options(kTiny, "W4A16", "auto_round");
  o.save_imatrix = folder_.path() / "kept.bin";
  EXPECT_TRUE(contains(refused(ErrorCode::unsupported, o), ".gguf, or .dat"));
  o.save_imatrix = folder_.path() / "no folder" / "kept.dat";
  EXPECT_TRUE(contains(refused(ErrorCode::usage, o), "a folder that exists"));
}

TEST(ImatrixRules, GiveTheFirstEighthOtherTypes) {
  gguf::RuleModel model{.is_llama = true, .blocks = 16, .heads = 8, .kv_heads = 8};
  const auto down = [&](const char* kind, int64_t block) {
    return std::string(sdk::name_of(gguf::type_of_part(*gguf::find_kind(kind), model, gguf::Part::down, block)));
  };
  EXPECT_EQ(down("q4_0", 0), "q4_0");
  EXPECT_EQ(down("iq4_xs", 0), "q5_k");
  model.importance = true;
  EXPECT_EQ(down("q4_0", 1), "q4_1");
  EXPECT_EQ(down("q4_0", 2), "q4_0");
  EXPECT_EQ(down("q5_0", 0), "q5_1");
  EXPECT_EQ(down("iq4_xs", 0), "iq4_xs");
  EXPECT_EQ(down("iq4_nl", 0), "iq4_nl");
  EXPECT_EQ(down("q4_k_s", 0), "q5_k");
}

}  // namespace
}  // namespace arkit
