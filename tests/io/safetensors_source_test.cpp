#include <fstream>
#include <string>
#include <thread>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/model_source.h>

#include "io/late_file.h"
#include "io_testing.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;
using testing::safetensors_bytes;
using testing::TempDir;

// One U8 tensor `name` of four bytes.
std::string shard(const std::string& name, const std::string& data = "abcd") {
  return safetensors_bytes("{\"" + name + R"(":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", data);
}

std::string index_of(const std::string& weight_map) {
  return R"({"metadata":{"total_size":8},"weight_map":{)" + weight_map + "}}";
}

constexpr const char* kShard1 = "model-00001-of-00002.safetensors";
constexpr const char* kShard2 = "model-00002-of-00002.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
const std::string kGoodMap = std::string("\"a\":\"") + kShard1 + "\",\"b\":\"" + kShard2 + "\"";

int64_t resident_kib(const char* field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(field)) return std::stoll(line.substr(std::string(field).size() + 1));
  return -1;
}

TEST(SafetensorsSource, ReadsGoldenSource) {
  const auto source = open_safetensors(fs::path(ARKIT_TEST_DATA) / "golden/source-llama-bf16");
  const TensorInfo* info = source->find("model.layers.0.self_attn.q_proj.weight");
  ASSERT_NE(info, nullptr);
  EXPECT_EQ(info->stored_type, "BF16");
  const at::Tensor weight = source->load(info->name);
  EXPECT_EQ(weight.scalar_type(), at::kBFloat16);
  // First row as docs/spec/packing.md 7 prints it.
  const auto bits = weight.view(at::kShort);
  const std::vector<int> expected{0x3D83, 0xBD43, 0x3BA5, 0xBCEF, 0xBC98, 0xBDAB, 0x3CDB, 0x3D6C};
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_EQ(bits[0][static_cast<int64_t>(i)].item<int16_t>() & 0xFFFF, expected[i]) << i;
  EXPECT_EQ(source->find("nothing"), nullptr);
  EXPECT_ERROR(source->load("nothing"), "input", "tensor 'nothing'");
}

// A file that ends after its header until it is used.
class Late final : public io::LateFile {
 public:
  Late(fs::path file, std::string content) : file_(std::move(file)), content_(std::move(content)) {}
  [[nodiscard]] int64_t size() const override { return static_cast<int64_t>(content_.size()); }
  [[nodiscard]] std::shared_ptr<const void> use() override {
    std::ofstream(file_, std::ios::binary | std::ios::in) << content_;
    return hold;
  }
  std::shared_ptr<const int> hold = std::make_shared<int>(0);

 private:
  fs::path file_;
  std::string content_;
};

TEST(SafetensorsSource, BringsAFileThatIsNotThereYetAndHoldsIt) {
  const TempDir dir;
  const std::string whole = shard("a");
  const fs::path file = fs::canonical(dir.write("late.safetensors", whole.substr(0, whole.size() - 4)));
  EXPECT_ERROR(open_safetensors(file), "input", "copy it again");
  const auto late = std::make_shared<Late>(file, whole);
  io::set_late_file(file, late);
  const auto source = open_safetensors(file);
  io::set_late_file(file, nullptr);
  EXPECT_EQ(fs::file_size(file), whole.size() - 4);
  EXPECT_EQ(late->hold.use_count(), 1);
  {
    const at::Tensor part = source->load("a").narrow(0, 1, 2);
    EXPECT_EQ(part[0].item<int>(), 'b');
    EXPECT_EQ(late->hold.use_count(), 2);
  }
  EXPECT_EQ(late->hold.use_count(), 1);
}

TEST(SafetensorsSource, ViewsAreAlignedEvenWhenTheFileIsNot) {
  const TempDir dir;
  std::string data(8, '\0');
  const float values[2] = {1.5F, -2.0F};
  std::memcpy(data.data(), values, 8);
  for (const std::string& pad : {std::string(), std::string(" "), std::string("  "), std::string("   ")}) {
    const auto file = dir.write(
        "t.safetensors", safetensors_bytes(R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})" + pad, data));
    const auto source = open_safetensors(file);
    const at::Tensor w = source->load("w");
    EXPECT_EQ(reinterpret_cast<uintptr_t>(w.const_data_ptr()) % 4, 0u);
    EXPECT_TRUE(at::equal(w, at::tensor({1.5F, -2.0F})));
  }
}

TEST(SafetensorsSource, ReleaseGivesPagesBack) {
  const TempDir dir;
  constexpr int64_t kBytes = int64_t{64} << 20;
  const std::string size = std::to_string(kBytes);
  const auto file = dir.write("t.safetensors", safetensors_bytes(R"({"w":{"dtype":"U8","shape":[)" + size +
                                                                     R"(],"data_offsets":[0,)" + size + "]}}",
                                                                 std::string(kBytes, 'x')));
  const auto source = open_safetensors(file);
  const int64_t opened = resident_kib("RssFile:");
  const at::Tensor w = source->load("w");
  const int64_t sum = w.sum(at::kLong).item<int64_t>();
  const int64_t touched = resident_kib("RssFile:");
  source->release("w");
  const int64_t released = resident_kib("RssFile:");
  constexpr int64_t kMiB = 1024;
  EXPECT_GT(touched - opened, 60 * kMiB);
  EXPECT_LT(released - opened, 4 * kMiB);
  EXPECT_EQ(w.sum(at::kLong).item<int64_t>(), sum);  // the view stays valid
}

TEST(SafetensorsSource, NoticesAFileThatWasCut) {
  const TempDir dir;
  const auto file = dir.write("t.safetensors", shard("a"));
  const auto source = open_safetensors(file);
  EXPECT_EQ(source->load("a").numel(), 4);
  fs::resize_file(file, 10);
  EXPECT_ERROR(source->load("a"), "input", "when it was opened");
}

TEST(SafetensorsSource, LoadsFromManyThreads) {
  const auto source = open_safetensors(fs::path(ARKIT_TEST_DATA) / "golden/source-llama-bf16");
  std::vector<std::thread> threads;
  std::vector<double> sums(4);
  for (size_t t = 0; t < sums.size(); ++t)
    threads.emplace_back([&, t] {
      for (const TensorInfo& info : source->tensors()) {
        sums[t] += source->load(info.name).to(at::kDouble).sum().item<double>();
        source->release(info.name);
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const double sum : sums) EXPECT_EQ(sum, sums[0]);
  EXPECT_NE(sums[0], 0.0);
}

TEST(SafetensorsSource, ReadsShards) {
  const TempDir dir;
  dir.write(kShard1, shard("a", "1111"));
  dir.write(kShard2, shard("b", "2222"));
  dir.write(kIndex, index_of(kGoodMap));
  dir.write("consolidated.safetensors", "not part of the model");
  const auto source = open_safetensors(dir.path());
  ASSERT_EQ(source->tensors().size(), 2u);
  EXPECT_EQ(source->find("b")->file, kShard2);
  EXPECT_EQ(source->load("b")[0].item<int>(), '2');
}

TEST(SafetensorsSource, ReadsExtraTensorsBesideASingleFile) {
  const TempDir dir;
  dir.write("model.safetensors", shard("a"));
  dir.write("model_extra_tensors.safetensors", shard("mtp"));
  dir.write(kIndex, index_of(R"("a":"model.safetensors","mtp":"model_extra_tensors.safetensors")"));
  EXPECT_EQ(open_safetensors(dir.path())->tensors().size(), 2u);
}

TEST(SafetensorsSource, RefusesDisagreeingShards) {
  const TempDir dir;
  dir.write(kShard1, shard("a"));
  dir.write(kShard2, shard("b"));
  const auto open_with = [&](const std::string& map) {
    dir.write(kIndex, index_of(map));
    return open_safetensors(dir.path());
  };
  const std::string s1 = std::string("\"") + kShard1 + "\"";
  const std::string s2 = std::string("\"") + kShard2 + "\"";
  EXPECT_EQ(open_with(kGoodMap)->tensors().size(), 2u);
  EXPECT_ERROR(open_with("\"a\":" + s1), "input", "does not list");
  EXPECT_ERROR(open_with("\"a\":" + s1 + ",\"b\":" + s2 + ",\"c\":" + s2), "input", "tensor 'c' is listed");
  EXPECT_ERROR(open_with("\"x\":" + s1 + ",\"b\":" + s2), "input", "tensor 'a' is not listed");
  EXPECT_ERROR(open_with("\"a\":" + s2 + ",\"b\":" + s1), "input", "no tensor may be in two shards");
  dir.write(kShard2, shard("a"));
  EXPECT_ERROR(open_with("\"a\":" + s1 + ",\"b\":" + s2), "input", "no tensor may be in two shards");
  fs::remove(dir.path() / kShard2);
  EXPECT_ERROR(open_with(kGoodMap), "input", "missing");
}

TEST(SafetensorsSource, RefusesIndexesThatLeaveTheFolder) {
  const TempDir dir;
  dir.write("outside.safetensors", shard("a"));
  dir.write("model/ok.safetensors", shard("a"));
  const auto open_with = [&](const std::string& file) {
    dir.write(std::string("model/") + kIndex, index_of("\"a\":\"" + file + "\""));
    return open_safetensors(dir.path() / "model");
  };
  EXPECT_EQ(open_with("ok.safetensors")->tensors().size(), 1u);
  for (const std::string& file : {std::string("../outside.safetensors"), (dir.path() / "outside.safetensors").string(),
                                  std::string("sub/../ok.safetensors"), std::string("..\\\\outside.safetensors"),
                                  std::string(""), std::string(".."), std::string("a\\u0000.safetensors")})
    EXPECT_ERROR(open_with(file), "input", "only plain file names");
  EXPECT_ERROR(open_with("config.json"), "input", "'.safetensors'");
  fs::create_symlink(dir.path() / "outside.safetensors", dir.path() / "model/link.safetensors");
  fs::remove(dir.path() / "model/ok.safetensors");  // holds the same tensor
  EXPECT_EQ(open_with("link.safetensors")->tensors().size(), 1u) << "the name is plain, the link is the user's";
  fs::create_symlink(dir.path() / "gone", dir.path() / "model/dangling.safetensors");
  EXPECT_ERROR(open_with("dangling.safetensors"), "input", "is a link to");
  fs::create_directory(dir.path() / "model/folder.safetensors");
  EXPECT_ERROR(open_with("folder.safetensors"), "input", "not a regular file");
}

TEST(SafetensorsSource, RefusesBrokenIndexes) {
  const TempDir dir;
  dir.write(kShard1, shard("a"));
  const auto open_with = [&](const std::string& text) {
    dir.write(kIndex, text);
    return open_safetensors(dir.path());
  };
  EXPECT_ERROR(open_with("[]"), "input", "expected an object");
  EXPECT_ERROR(open_with("{}"), "input", "no 'weight_map'");
  EXPECT_ERROR(open_with(R"({"weight_map":{}})"), "input", "names 0 tensors");
  EXPECT_ERROR(open_with(R"({"weight_map":{"a":1}})"), "input", "expected a string");
  EXPECT_ERROR(open_with(R"({"weight_map":{"a":"x","a":"y"}})"), "input", "appears twice");
  EXPECT_ERROR(open_with("{"), "input", "not valid JSON");
}

TEST(SafetensorsSource, FollowsHubCacheLinks) {
  const TempDir dir;
  const fs::path repo = dir.path() / "models--org--name";
  dir.write("models--org--name/blobs/0a1b", shard("a"));
  fs::create_directories(repo / "snapshots/rev");
  fs::create_symlink("../../blobs/0a1b", repo / "snapshots/rev/model.safetensors");
  EXPECT_EQ(open_safetensors(repo / "snapshots/rev")->tensors().size(), 1u);
  fs::remove(repo / "snapshots/rev/model.safetensors");
  fs::create_symlink("../../blobs/gone", repo / "snapshots/rev/model.safetensors");
  EXPECT_ERROR(open_safetensors(repo / "snapshots/rev"), "input", "blobs/gone");
}

TEST(SafetensorsSource, RefusesASecondSetOfWeights) {
  const TempDir dir;
  dir.write(kShard1, shard("a"));
  dir.write(kShard2, shard("b"));
  dir.write(kIndex, index_of(kGoodMap));
  ASSERT_EQ(open_safetensors(dir.path())->tensors().size(), 2u);
  // Mistral's own names, an adapter, a file that is none: no second set.
  dir.write("consolidated.safetensors", shard("tok_embeddings.weight"));
  dir.write("adapter_model.safetensors", shard("base_model.a"));
  dir.write("expected.safetensors", shard("a"));
  ASSERT_EQ(open_safetensors(dir.path())->tensors().size(), 2u);
  for (const char* stray : {"model.safetensors", "model.fp16.safetensors", "weights-00001-of-00001.safetensors"}) {
    const auto file = dir.write(stray, shard("b"));
    EXPECT_ERROR(open_safetensors(dir.path()), "input", stray);
    EXPECT_ERROR(open_safetensors(dir.path()), "input", "two sets of weights");
    fs::remove(file);
  }
  const TempDir single;
  single.write("model.safetensors", shard("a"));
  single.write("model-00001-of-00002.safetensors", shard("a"));
  EXPECT_ERROR(open_safetensors(single.path()), "input", "two sets of weights");
}

TEST(SafetensorsSource, RefusesPickleAndEmptyFolders) {
  const TempDir dir;
  EXPECT_ERROR(open_safetensors(dir.path()), "input", "is the download complete?");
  const auto file = dir.write("pytorch_model.bin", "\x80\x02.");
  EXPECT_ERROR(open_safetensors(dir.path()), "unsupported", "save the model as safetensors");
  EXPECT_ERROR(open_safetensors(file), "unsupported", "pickle weights can run code");
  EXPECT_ERROR(open_safetensors(dir.path() / "absent.safetensors"), "input", "no such file");
}

}  // namespace
}  // namespace arkit
