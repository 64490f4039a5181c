// Shards that come when they are wanted: which stay, which go, and what is refused.
#include "hub/streamed_model.h"

#include "hub_testing.h"
#include "io/late_file.h"

namespace arkit::hub {
namespace fs = std::filesystem;
namespace {

using testing::contains;
using testing::NamedHubTest;
using testing::read_all;
using testing::refusal;

class Streamed : public NamedHubTest {
 protected:
  Streamed() {
    std::string map;
    for (const char* name : {"a", "b", "c"}) {
      server.add(file_in("models/org/three", name), content(name));
      map += str(map.empty() ? "" : ", ", "\"", name, "\": \"", name, ".safetensors\"");
    }
    server.add("models/org/three/model.safetensors.index.json", "{\"weight_map\": {" + map + "}}");
    server.add("models/org/three/config.json", "{}");
    fs::create_directories(place);
  }
  static std::string file_in(const std::string& folder, const std::string& name) {
    return folder + "/" + name + ".safetensors";
  }
  // A header of 3000 bytes and 2000 bytes of data.
  static std::string content(const std::string& name) {
    const uint64_t length = 3000;
    std::string bytes(reinterpret_cast<const char*>(&length), sizeof length);
    return bytes + "{" + std::string(2999, ' ') + testing::random_bytes(2000, static_cast<unsigned>(name[0]));
  }
  [[nodiscard]] std::unique_ptr<StreamedModel> stream() {
    return std::make_unique<StreamedModel>(*fetch_texts(*parse_model_name("org/three"), heard), place, heard);
  }
  [[nodiscard]] std::shared_ptr<const void> use(const std::string& name) const {
    return io::late_file(fs::canonical(file_in(place.string(), name)))->use();
  }
  [[nodiscard]] size_t size_of(const std::string& name) const { return fs::file_size(file_in(place.string(), name)); }

  static constexpr size_t kHeader = 3008, kWhole = 5008;
  const fs::path place = cache.path() / "place";
};

TEST_F(Streamed, StaysWhileItIsHeldAndGoesWhenOthersAreWanted) {
  const auto model = stream();
  for (const char* name : {"a", "b", "c"}) EXPECT_EQ(size_of(name), kHeader) << name;
  EXPECT_TRUE(fs::is_symlink(place / "config.json"));
  EXPECT_TRUE(model->checked().empty());
  auto held = use("a");
  EXPECT_EQ(read_all(file_in(place.string(), "a")), content("a"));
  (void)use("b");
  (void)use("c");  // the older one is held, so the younger goes
  EXPECT_EQ(size_of("a"), kWhole);
  EXPECT_EQ(size_of("b"), kHeader);
  EXPECT_EQ(size_of("c"), kWhole);
  const auto held_too = use("c");
  EXPECT_FALSE(heard.said("once more"));
  (void)use("b");  // both are held: a third it must be
  for (const char* name : {"a", "b", "c"}) EXPECT_EQ(size_of(name), kWhole) << name;
  EXPECT_TRUE(heard.said("warning: low_disk: 'b.safetensors' is downloaded once more")) << heard.all;
  held.reset();
  const auto files = model->checked();
  ASSERT_EQ(files.size(), 3U);
  EXPECT_EQ(files[0].name, "a.safetensors");
  EXPECT_EQ(files[0].bytes, static_cast<int64_t>(kWhole));
  EXPECT_EQ(files[0].sha256.size(), 64U);
}

// Threads that wait for one shard do not each try what has failed.
TEST_F(Streamed, FailsOnceForAll) {
  server.set_faults(R"({"wrong": {"b.safetensors": 99}})");
  const auto model = stream();
  const std::string said = refusal(ErrorCode::resource, [&] { (void)use("b"); });
  EXPECT_TRUE(contains(said, "does not have the hash it lists")) << said;
  const size_t asked = server.requests("b.safetensors").size();
  EXPECT_EQ(refusal(ErrorCode::resource, [&] { (void)use("b"); }), said);
  EXPECT_EQ(refusal(ErrorCode::resource, [&] { (void)use("c"); }), said);
  EXPECT_EQ(server.requests("b.safetensors").size(), asked);
}

TEST_F(Streamed, SaysWhatIsStillToCome) {
  const auto model = stream();
  EXPECT_EQ(model->bytes_to_come(), static_cast<int64_t>(2 * kWhole));
  (void)use("a");
  EXPECT_EQ(model->bytes_to_come(), static_cast<int64_t>(kWhole));
  EXPECT_TRUE(model->brings("a.safetensors"));
  EXPECT_FALSE(model->brings("config.json"));
}

TEST_F(Streamed, IsAnOrdinaryFileAgainAfterwards) {
  auto model = stream();
  const fs::path file = fs::canonical(file_in(place.string(), "a"));
  EXPECT_NE(io::late_file(file), nullptr);
  model.reset();
  EXPECT_EQ(io::late_file(file), nullptr);
}

// A header is read before there is anything to check it by.
TEST_F(Streamed, RefusesAnotherHeaderThanThatOfTheDownload) {
  server.set_faults(R"({"wrong": {"b.safetensors": 1}})");  // its middle byte is in the header
  const auto model = stream();
  const std::string said = refusal(ErrorCode::resource, [&] { (void)use("b"); });
  EXPECT_TRUE(contains(said, "'b.safetensors': the hub sent another start of it before the download")) << said;
  EXPECT_TRUE(model->checked().empty());
}

TEST_F(Streamed, RefusesWeightsWithoutAHash) {
  server.set_faults(
      R"({"raw_tree": {"org/three": "[{\"type\": \"file\", \"path\": \"config.json\", \"size\": 2,)"
      R"( \"oid\": \"9e26dfeeb6e641a33dae4961196235bdb965b21b\"}, {\"type\": \"file\", \"path\":)"
      R"( \"model.safetensors\", \"size\": 5008, \"oid\": \"9e26dfeeb6e641a33dae4961196235bdb965b21b\"}]"}})");
  server.add("models/org/three/config.json", "{}");
  const std::string said = refusal(ErrorCode::unsupported, [&] { (void)stream(); });
  EXPECT_TRUE(contains(said, "tells no SHA-256 of 'model.safetensors'")) << said;
}

}  // namespace
}  // namespace arkit::hub
