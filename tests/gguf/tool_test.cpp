// `arkit gguf`: what is shown, changed, cut and joined, and what is refused.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

#include <arkit/file_tool.h>
#include <arkit/json.h>
#include <arkit/mapped_file.h>
#include <arkit/model_source.h>
#include <arkit/part_file.h>

#include "cli/run_program.h"
#include "gguf_file.h"
#include "io/gguf_testing.h"
#include "jobs/job_testing.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;
using cli_test::run_arkit;
using testing::contains;
using testing::refusal;
using testing::registry;
using testing::TemporaryFolder;

const fs::path kModel = fs::path(ARKIT_TEST_DATA) / "gguf/llama_quantize-q4_k_m.gguf";

json::Object work(const fs::path& file, const FileTask& task) {
  return dynamic_cast<const FileTool&>(registry().reader("gguf")).work_on(file, task);
}

std::string bytes_of_file(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

const json::Object& key_named(const json::Object& shown, std::string_view name) {
  for (const json::Value& key : shown.at("keys").as_array())
    if (key.at("key").as_string() == name) return key.as_object();
  throw std::runtime_error("no key " + std::string(name));
}

class GgufTool : public ::testing::Test {
 protected:
  GgufTool() : file_(folder_.path() / "model.gguf") { fs::copy_file(kModel, file_); }

  std::string refused(const FileTask& task, ErrorCode code = ErrorCode::usage) {
    const std::string before = bytes_of_file(file_);
    std::string message = refusal(code, [&] { (void)work(file_, task); });
    EXPECT_EQ(bytes_of_file(file_), before) << "a refusal changes nothing";
    EXPECT_EQ(names().size(), 1U) << "and leaves nothing";
    return message;
  }
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder_.path()))
      names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
  }

  TemporaryFolder folder_;
  fs::path file_;
};

TEST_F(GgufTool, ShowsKeysAndTensors) {
  const json::Object shown = work(file_, ShowFile{});
  EXPECT_EQ(shown.at("bytes").as_int64(), static_cast<int64_t>(fs::file_size(file_)));
  EXPECT_EQ(shown.at("keys").as_array().size(), 28U);
  EXPECT_EQ(shown.at("keys").at(0).at("key").as_string(), "general.architecture") << "in the order of the file";
  EXPECT_EQ(shown.at("tensors").as_array().size(), 75U);
  EXPECT_EQ(key_named(shown, "llama.block_count").at("type").as_string(), "u32");
  EXPECT_EQ(key_named(shown, "llama.block_count").at("value").to_number<int>(), 8);
  EXPECT_EQ(key_named(shown, "llama.attention.layer_norm_rms_epsilon").at("value").as_double(), 1e-6);
  EXPECT_EQ(key_named(shown, "tokenizer.ggml.add_bos_token").at("value").as_bool(), true);
  const json::Object& tokens = key_named(shown, "tokenizer.ggml.tokens");
  EXPECT_EQ(tokens.at("type").as_string(), "string[320]");
  EXPECT_EQ(tokens.at("value").as_array().size(), 8U);
  EXPECT_EQ(tokens.at("value").at(1).as_string(), "<s>");
  const json::Object whole = work(file_, ShowFile{.filter = "ggml.tokens$|blk.7.ffn_down", .whole = true});
  EXPECT_EQ(whole.at("keys").at(0).at("value").as_array().size(), 320U);
  ASSERT_EQ(whole.at("tensors").as_array().size(), 1U);
  const json::Object& tensor = whole.at("tensors").at(0).as_object();
  EXPECT_EQ(tensor.at("type").as_string(), "Q6_K");
  EXPECT_EQ(tensor.at("shape"), json::parse("[256, 256]", "shape"));
  EXPECT_EQ(tensor.at("bytes").to_number<int64_t>(), 256 * 210);
  EXPECT_TRUE(contains(refused(ShowFile{.filter = "nothing.like.it"}), "is found in no name"));
}

TEST_F(GgufTool, SetsAddsAndRemovesKeysAndCopiesTensors) {
  const fs::path text = folder_.write("template.jinja", "{% for m in messages %}\n{{ m }}\n{% endfor %}");
  const fs::path out = folder_.path() / "out.gguf";
  (void)work(file_, SetMetadata{.output = out,
                                .set = {"general.name=Other = name", "llama.rope.freq_base=5e5",
                                        "tokenizer.chat_template=string:@" + text.string(), "general.url=string:@@at",
                                        "tokenizer.ggml.add_eos_token=bool:true", "x.big=u64:18446744073709551615"},
                                .remove = {"general.size_label"}});
  const MappedFile before(file_), after(out);
  const gguf::File old = gguf::parse_gguf(before.bytes(), "'old'"), own = gguf::parse_gguf(after.bytes(), "'new'");
  EXPECT_EQ(own.metadata.text("general.name"), "Other = name");
  EXPECT_EQ(own.metadata.number("llama.rope.freq_base"), 5e5);
  EXPECT_EQ(own.metadata.text("tokenizer.chat_template"), bytes_of_file(text));
  EXPECT_EQ(own.metadata.text("general.url"), "@at");
  EXPECT_EQ(own.metadata.boolean("tokenizer.ggml.add_eos_token"), true);
  EXPECT_FALSE(own.metadata.contains("general.size_label"));
  EXPECT_EQ(own.metadata.values().size(), old.metadata.values().size() + 3);
  ASSERT_EQ(own.tensors.size(), old.tensors.size());
  for (size_t i = 0; i < own.tensors.size(); ++i) {
    const gguf::TensorEntry &a = old.tensors[i], &b = own.tensors[i];
    EXPECT_EQ(a.name, b.name);
    EXPECT_EQ(a.shape, b.shape);
    ASSERT_EQ(a.bytes, b.bytes);
    EXPECT_TRUE(std::equal(before.bytes().data() + a.offset, before.bytes().data() + a.offset + a.bytes,
                           after.bytes().data() + b.offset))
        << a.name;
  }
  EXPECT_EQ(names(), (std::vector<std::string>{"model.gguf", "out.gguf", "template.jinja"})) << "no part, no lock";
}

TEST_F(GgufTool, SetsArrays) {
  const fs::path list = folder_.write("tags.json", R"(["from", "a file"])");
  (void)work(file_, SetMetadata{.set = {R"(general.tags=["a", "b: [c]", "\u00e9"])", "x.on=[true, false]",
                                        "x.sizes=i32[]:[1, -2, 3]", "x.wide=u64[]:[18446744073709551615]",
                                        "x.parts=f32[]:[0.1, 5, -1e-3]", "x.said=string[]:@" + list.string(),
                                        "x.text=string:[1]"}});
  const auto key = [&](const char* name) { return key_named(work(file_, ShowFile{}), name); };
  EXPECT_EQ(key("general.tags").at("value"), json::parse(R"(["a", "b: [c]", "é"])", "x"));
  EXPECT_EQ(key("general.tags").at("type").as_string(), "string[3]");
  EXPECT_EQ(key("x.on").at("value"), json::parse("[true, false]", "x"));
  EXPECT_EQ(key("x.on").at("type").as_string(), "bool[2]");
  EXPECT_EQ(key("x.sizes").at("value"), json::parse("[1, -2, 3]", "x"));
  EXPECT_EQ(key("x.wide").at("value"), json::parse("[18446744073709551615]", "x"));
  EXPECT_EQ(key("x.parts").at("value"), json::parse("[0.1, 5.0, -0.001]", "x"));
  EXPECT_EQ(key("x.said").at("value").at(1).as_string(), "a file");
  EXPECT_EQ(key("x.text").at("value").as_string(), "[1]") << "a type that is said is that of the value";
  // What is there keeps its type, whatever the values look like.
  (void)work(file_, SetMetadata{.set = {"x.parts=[1, 2]", R"(general.tags=["one"])", "general.name=[x]"}});
  EXPECT_EQ(key("x.parts").at("type").as_string(), "f32[2]");
  EXPECT_EQ(key("general.tags").at("type").as_string(), "string[1]");
  EXPECT_EQ(key("general.name").at("value").as_string(), "[x]");
  EXPECT_EQ(open_source(file_.string(), registry())->weights().tensors().size(), 75U) << "and it opens";
}

TEST_F(GgufTool, ChangesAFileInItsPlace) {
  (void)work(file_, SetMetadata{.set = {"general.name=One"}});
  EXPECT_EQ(key_named(work(file_, ShowFile{}), "general.name").at("value").as_string(), "One");
  EXPECT_EQ(names().size(), 1U);
  (void)work(file_, SetMetadata{.set = {"general.name=Tiny Llama"}});
  EXPECT_EQ(bytes_of_file(file_), bytes_of_file(kModel)) << "there and back is the file that it was";
  // A link leads to a file that others may use.
  const fs::path link = folder_.path() / "link.gguf";
  fs::create_symlink(file_, link);
  EXPECT_TRUE(contains(refusal(ErrorCode::usage, [&] { (void)work(link, SetMetadata{.set = {"general.name=One"}}); }),
                       "is a link to"));
}

TEST_F(GgufTool, RefusesKeysThatCannotBe) {
  const auto set = [&](std::string assignment) { return refused(SetMetadata{.set = {std::move(assignment)}}); };
  EXPECT_TRUE(contains(set("general.name"), "is not KEY=VALUE"));
  EXPECT_TRUE(contains(set("=x"), "is not KEY=VALUE"));
  EXPECT_TRUE(contains(set("llama.block_count=-1"), "'-1' is no value of type u32"));
  EXPECT_TRUE(contains(set("llama.block_count=8.5"), "'8.5' is no value of type u32"));
  EXPECT_TRUE(contains(set("llama.block_count=4294967296"), "is no value of type u32"));
  EXPECT_TRUE(contains(set("tokenizer.ggml.add_bos_token=yes"), "'yes' is no value of type bool"));
  EXPECT_TRUE(contains(set("general.nme=Slip"), "of a new key say the type"));
  EXPECT_TRUE(contains(set("general.nme=text:Slip"), "of a new key say the type"));
  EXPECT_TRUE(contains(set("tokenizer.ggml.tokens=a,b"), "an array is written as JSON"));
  EXPECT_TRUE(contains(set("tokenizer.ggml.tokens=\"a\""), "an array is written as JSON"));
  EXPECT_TRUE(contains(set("tokenizer.ggml.tokens=[]"), "the array is empty"));
  EXPECT_TRUE(contains(set(R"(tokenizer.ggml.tokens=["a", 5])"), "element 1: '5' is no value of type string"));
  EXPECT_TRUE(contains(set(R"(tokenizer.ggml.tokens=["a", "b"])"), "could not be read any more"));
  EXPECT_TRUE(contains(set("x.sizes=[1, 2]"), "of a new key say the type"));
  EXPECT_TRUE(contains(set("x.sizes=u8[]:[1, 256]"), "element 1: '256' is no value of type u8"));
  EXPECT_TRUE(contains(set("x.sizes=u32[]:[1, [2]]"), "element 1: '[2]' is no value of type u32"));
  EXPECT_TRUE(contains(set("x.on=bool[]:[1]"), "element 0: '1' is no value of type bool"));
  EXPECT_TRUE(contains(set("split.count=2"), "'arkit gguf split'"));
  EXPECT_TRUE(contains(set("general.alignment=u32:64"), "says where tensors lie"));
  EXPECT_TRUE(contains(set("general.name="), "--remove takes the key out"));
  EXPECT_TRUE(contains(set("general.name=\xff\xfe"), "no UTF-8"));
  EXPECT_TRUE(
      contains(refused(SetMetadata{.set = {"general.name=@/no/such/file"}}, ErrorCode::input), "/no/such/file"));
  EXPECT_TRUE(contains(refused(SetMetadata{.remove = {"general.nme"}}), "'general.nme' is not in"));
  // With --force a user gets what arkit would not read any more.
  const SetMetadata broken{.set = {"general.architecture=nonsense"}};
  EXPECT_TRUE(contains(refused(broken), "could not be read any more"));
  EXPECT_TRUE(contains(refused(SetMetadata{.remove = {"llama.block_count"}}), "could not be read any more"));
  EXPECT_TRUE(contains(refused(SetMetadata{.output = file_, .set = {"general.name=x"}}), "exists"));
  EXPECT_TRUE(
      contains(refused(SetMetadata{.output = "/no/such/folder/x.gguf", .set = {"general.name=x"}}), "no folder"));
  SetMetadata forced = broken;
  forced.force = true;
  (void)work(file_, forced);
  EXPECT_EQ(key_named(work(file_, ShowFile{}), "general.architecture").at("value").as_string(), "nonsense");
}

TEST_F(GgufTool, SplitsAndMergesBackToTheFile) {
  const json::Object split = work(file_, SplitFile{.max_bytes = 500'000});
  const json::Array& files = split.at("files").as_array();
  ASSERT_GE(files.size(), 4U);
  for (const json::Value& file : files) EXPECT_LE(fs::file_size(std::string(file.as_string())), 500'000U);
  const std::string count = std::to_string(files.size());
  EXPECT_EQ(fs::path(std::string(files.at(0).as_string())).filename(), "model-00001-of-0000" + count + ".gguf");
  const fs::path last(std::string(files.at(files.size() - 1).as_string())), out = folder_.path() / "again.gguf";
  EXPECT_EQ(work(last, ShowFile{}).at("part").as_string(), count + " of " + count);
  (void)work(last, MergeFile{.output = out});
  EXPECT_EQ(bytes_of_file(out), bytes_of_file(file_));
  // Parts are cut anew as one file is, and keys are changed where they are.
  const fs::path first(std::string(files.at(0).as_string()));
  const json::Object finer = work(first, SplitFile{.output = folder_.path() / "fine", .max_tensors = 10});
  EXPECT_EQ(finer.at("files").as_array().size(), 8U);
  (void)work(first, SetMetadata{.set = {"general.name=In parts"}});
  const fs::path merged = folder_.path() / "merged.gguf";
  (void)work(first, MergeFile{.output = merged});
  EXPECT_EQ(key_named(work(merged, ShowFile{}), "general.name").at("value").as_string(), "In parts");
  EXPECT_TRUE(contains(refusal(ErrorCode::usage, [&] { (void)work(last, SetMetadata{.set = {"general.name=x"}}); }),
                       "is a later part"));
  EXPECT_TRUE(contains(
      refusal(ErrorCode::usage,
              [&] { (void)work(first, SetMetadata{.output = folder_.path() / "o.gguf", .set = {"general.name=x"}}); }),
      "one of several parts"));
  fs::remove(last);
  EXPECT_TRUE(
      contains(refusal(ErrorCode::input, [&] { (void)work(first, MergeFile{.output = folder_.path() / "no.gguf"}); }),
               "is missing"));
  EXPECT_FALSE(fs::exists(folder_.path() / "no.gguf"));
}

// The first part's alignment of a megabyte, and thousands of small numbers in the second: 2 GB of padding.
TEST_F(GgufTool, WritesNoFileOfPadding) {
  testing::GgufBuilder parts[2];
  for (uint32_t i : {0U, 1U})
    parts[i].pairs = {{"split.count", testing::gguf_u32(2)}, {"split.no", testing::gguf_u32(i)}};
  parts[0].pairs.emplace_back("general.alignment", testing::gguf_u32(1 << 20));
  parts[0].alignment = size_t{1} << 20;
  for (uint64_t i = 0; i < 2000; ++i) parts[1].tensors.push_back({std::to_string(i), {1}, 0, i * 32});
  parts[1].data_bytes = size_t{2000} * 32;
  fs::path first;
  for (const int i : {1, 0}) {
    first = folder_.path() / (i == 0 ? "m-00001-of-00002.gguf" : "m-00002-of-00002.gguf");
    std::ofstream(first, std::ios::binary) << parts[i].bytes();
  }
  const fs::path out = folder_.path() / "out.gguf";
  EXPECT_TRUE(contains(refusal(ErrorCode::input, [&] { (void)work(first, MergeFile{.output = out}); }),
                       "nearly all of them padding"));
  EXPECT_FALSE(fs::exists(out));
}

TEST_F(GgufTool, RefusesCutsThatCannotBe) {
  EXPECT_TRUE(contains(refused(SplitFile{}), "needs --split_max_size SIZE or --split_max_tensors N"));
  EXPECT_TRUE(contains(refused(SplitFile{.max_tensors = 0}), "at least 1 tensor"));
  EXPECT_TRUE(contains(refused(SplitFile{.max_bytes = 100}), "what the model and its tokenizer say in one part takes"));
  EXPECT_TRUE(contains(refused(SplitFile{.max_bytes = 60'000}), "tensor 'output.weight' in one part takes"));
  EXPECT_TRUE(contains(refused(SplitFile{.max_bytes = 1'000'000'000}), "there is nothing to split"));
  EXPECT_TRUE(contains(refused(MergeFile{.output = folder_.path() / "x.gguf"}), "there is nothing to merge"));
  const FolderLock busy(folder_.path());
  EXPECT_TRUE(contains(refusal(ErrorCode::resource, [&] { (void)work(file_, SplitFile{.max_tensors = 10}); }),
                       "another run is writing"));
}

// An existing part is nobody's to overwrite, and no other part appears.
TEST_F(GgufTool, OverwritesNothing) {
  const fs::path there = folder_.write("model-00002-of-00008.gguf", "mine");
  EXPECT_TRUE(contains(refusal(ErrorCode::usage, [&] { (void)work(file_, SplitFile{.max_tensors = 10}); }), "exists"));
  EXPECT_EQ(bytes_of_file(there), "mine");
  EXPECT_EQ(names().size(), 2U);
}

TEST_F(GgufTool, IsReachedFromTheCommandLine) {
  const std::string file = file_.string();
  const auto shown = run_arkit({"gguf", "show", file, "--filter", "general"});
  EXPECT_EQ(shown.exit_code, 0) << shown.err;
  EXPECT_TRUE(contains(shown.out, "general.name (string) = Tiny Llama")) << shown.out;
  const auto listed = run_arkit({"gguf", "show", file, "--json"});
  EXPECT_EQ(json::parse(listed.out, "out").at("tensors").as_array().size(), 75U);
  const auto set = run_arkit({"gguf", "set-metadata", file, "general.name=My model", "general.url=string:http://x"});
  EXPECT_EQ(set.exit_code, 0) << set.err;
  const auto cut =
      run_arkit({"gguf", "split", file, "--split-max-tensors", "40", "-o", (folder_.path() / "p").string()});
  EXPECT_EQ(cut.exit_code, 0) << cut.err;
  EXPECT_TRUE(contains(cut.out, "p-00002-of-00002.gguf")) << cut.out;
  const auto joined = run_arkit({"gguf", "merge", (folder_.path() / "p-00002-of-00002.gguf").string()});
  EXPECT_EQ(joined.exit_code, 0) << joined.err;
  EXPECT_EQ(bytes_of_file(folder_.path() / "p.gguf"), bytes_of_file(file_));
  const auto nothing = run_arkit({"gguf", "set-metadata", file});
  EXPECT_EQ(nothing.exit_code, 2);
  EXPECT_TRUE(contains(nothing.err, "needs KEY=VALUE or --remove KEY")) << nothing.err;
  EXPECT_EQ(run_arkit({"gguf", "show", (folder_.path() / "none.gguf").string()}).exit_code, 3);
}

}  // namespace
}  // namespace arkit
