// Whole models of a hub: what is fetched, what the cache has, whose links it follows.
#include "hub/model_place.h"

#include "hub_testing.h"

namespace arkit::hub {
namespace fs = std::filesystem;
namespace {

using testing::contains;
using testing::NamedHubTest;
using testing::read_all;
using testing::refusal;

class Models : public NamedHubTest {
 protected:
  ModelPlace get(const std::string& name) { return fetch_model(*parse_model_name(name), heard); }
};

TEST_F(Models, AreDownloadedOnceAndOnlyWhatTheyNeed) {
  server.add("models/org/tiny/pytorch_model.bin", "pickle");
  server.add("models/org/tiny/onnx/model.onnx", "onnx");
  EXPECT_FALSE(fetched_model("org/tiny"));
  const ModelPlace place = get("org/tiny");
  EXPECT_EQ(read_all(place.path / "model.safetensors"), weights);
  EXPECT_EQ(read_all(place.path / "tokenizer.json"), "{}");
  EXPECT_FALSE(fs::exists(place.path / "pytorch_model.bin"));
  EXPECT_FALSE(fs::exists(place.path / "onnx"));
  EXPECT_TRUE(heard.said("downloading model 'org/tiny' at " + place.commit.substr(0, 12))) << heard.all;
  EXPECT_EQ(fetched_model("hf:org/tiny")->commit, place.commit);
  EXPECT_TRUE(server.requests("pytorch_model.bin").empty());
}

TEST_F(Models, StayAtTheCommitTheyHave) {
  const ModelPlace place = get("org/tiny@main");
  server.add("models/org/tiny/config.json", "{\"new\": 1}");
  server.forget_requests();
  EXPECT_EQ(get("org/tiny").commit, place.commit);
  EXPECT_TRUE(server.requests().empty());
}

// The weights come last, so that what looks like a model is one.
TEST_F(Models, AreGoneOnWith) {
  server.set_faults(R"({"status": {"model.safetensors": [418, 100, {}]}})");
  (void)refusal(ErrorCode::resource, [&] { (void)get("org/tiny"); });
  EXPECT_EQ(files("tokenizer.json").size(), 1u);
  environment.set("HF_HUB_OFFLINE", "1");
  EXPECT_TRUE(
      contains(refusal(ErrorCode::input, [&] { (void)get("org/tiny"); }), "is not, or not as a whole, in the cache"));
  environment.unset("HF_HUB_OFFLINE");
  server.set_faults("{}");
  server.forget_requests();
  EXPECT_EQ(read_all(get("org/tiny").path / "model.safetensors"), weights);
  EXPECT_TRUE(server.requests("tokenizer.json").empty());
}

TEST_F(Models, OfOthersAreTakenAsTheyAre) {
  const std::string commit(40, 'c');
  const fs::path repo_folder = settings.cache / "models--org--theirs";
  testing::write_all(repo_folder / "refs/main", commit);
  testing::write_all(repo_folder / "snapshots" / commit / "config.json", "{}");
  testing::write_all(repo_folder / "snapshots" / commit / "model-00001-of-00002.safetensors", "1");
  environment.set("HF_HUB_OFFLINE", "1");
  EXPECT_TRUE(contains(refusal(ErrorCode::input, [&] { (void)get("org/theirs"); }), "not as a whole"));
  testing::write_all(repo_folder / "snapshots" / commit / "model-00002-of-00002.safetensors", "2");
  EXPECT_EQ(get("org/theirs").path, repo_folder / "snapshots" / commit);
}

TEST_F(Models, AreFoundAgainWhereAMirrorListedNone) {
  server.set_faults(R"({"raw_tree": {"org/tiny": "[]"}})");
  EXPECT_TRUE(contains(refusal(ErrorCode::unsupported, [&] { (void)get("org/tiny"); }), "holds no weights"));
  server.set_faults("{}");
  EXPECT_EQ(read_all(get("org/tiny").path / "model.safetensors"), weights);
  EXPECT_TRUE(heard.said("was not that of")) << heard.all;
}

// In a cache that others may write to, a link would carry a file of this user's into an export.
TEST_F(Models, HaveNoLinksOutOfTheCache) {
  testing::write_all(cache.path() / "private.txt", "mine");
  const fs::path place = get("org/tiny").path;
  fs::create_symlink(cache.path() / "private.txt", place / "notes.txt");
  const fs::path other = cache.path() / "other";  // as another process sees it, which has not fetched it yet
  fs::rename(settings.cache, other);
  environment.set("HF_HUB_CACHE", other.string());
  const std::string message = refusal(ErrorCode::input, [&] { (void)get("org/tiny"); });
  EXPECT_TRUE(contains(message, "notes.txt': is a link that leads out of the cache, to '")) << message;
  const fs::path folder = other / place.lexically_relative(settings.cache);
  fs::remove(folder / "notes.txt");
  fs::remove(folder / "config.json");
  fs::create_symlink(cache.path() / "private.txt", folder / "config.json");
  EXPECT_TRUE(contains(refusal(ErrorCode::input, [&] { (void)get("org/tiny"); }), "config.json': is a link that"));
}

// The folder of a repository may be moved to a larger disk.
TEST_F(Models, MayBeLinkedToAnotherDiskAsAWhole) {
  (void)get("org/tiny");
  const fs::path other = cache.path() / "other";
  fs::create_directories(other);
  fs::rename(settings.cache / "models--org--tiny", cache.path() / "large");
  fs::create_directory_symlink(cache.path() / "large", other / "models--org--tiny");
  environment.set("HF_HUB_CACHE", other.string());
  server.forget_requests();
  EXPECT_EQ(read_all(get("org/tiny").path / "model.safetensors"), weights);
  fs::rename(cache.path() / "large/blobs", cache.path() / "blobs");
  fs::create_directory_symlink(cache.path() / "blobs", cache.path() / "large/blobs");
  fs::rename(other, cache.path() / "third");
  environment.set("HF_HUB_CACHE", (cache.path() / "third").string());
  EXPECT_EQ(read_all(get("org/tiny").path / "model.safetensors"), weights);
  EXPECT_TRUE(server.requests().empty());
}

TEST_F(Models, AreRefusedBeforeAnythingIsFetched) {
  server.add("models/org/pickled/config.json", "{}");
  server.add("models/org/pickled/pytorch_model.bin", "pickle");
  const std::string message = refusal(ErrorCode::unsupported, [&] { (void)get("org/pickled"); });
  EXPECT_TRUE(contains(message, "model 'org/pickled': has its weights only as pickle")) << message;
  EXPECT_TRUE(files("config.json").empty());
}

}  // namespace
}  // namespace arkit::hub
