// What a hub says, and what is made of it: errors, hostile listings, no network, TLS, ModelScope.
#include "hub/hub.h"

#include <array>
#include <set>

#include "hub/repo_names.h"
#include "hub_testing.h"

namespace arkit::hub {
namespace fs = std::filesystem;
namespace {

using testing::contains;
using testing::HubServer;
using testing::HubTest;
using testing::read_all;
using testing::refusal;

class Hubs : public HubTest {
 protected:
  std::string snapshot_refused(const Repo& wanted, ErrorCode code = ErrorCode::input) {
    return refusal(code, [&] { (void)open()->snapshot(wanted); });
  }
};

TEST_F(Hubs, ListFilesOfACommit) {
  server.set_faults(R"({"page": 1})");
  const auto hub = open();
  const Snapshot snapshot = hub->snapshot(repo);
  EXPECT_TRUE(is_commit(snapshot.commit));
  const auto entries = hub->files(snapshot);
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_EQ(entries[1].path, "model.safetensors");
  EXPECT_EQ(entries[1].size, 5000);
  EXPECT_EQ(server.requests(snapshot.commit).size(), 3u);  // a page a file
  server.forget_requests();
  (void)open()->files(snapshot);
  EXPECT_TRUE(server.requests(snapshot.commit).empty());  // a commit does not change
}

TEST_F(Hubs, HaveDataSetsWithAndWithoutOwner) {
  server.add("datasets/mbpp/data.jsonl", "{}");
  server.add("datasets/org/texts/train/0.parquet", std::string(2000, 'p'));
  const auto hub = open();
  const Snapshot old = hub->snapshot({RepoKind::dataset, "mbpp", "main"});
  EXPECT_EQ(read_all(hub->fetch(old, "data.jsonl")), "{}");
  EXPECT_TRUE(fs::exists(settings.cache / "datasets--mbpp/snapshots" / old.commit / "data.jsonl"));
  const Snapshot texts = hub->snapshot({RepoKind::dataset, "org/texts", "main"});
  EXPECT_EQ(read_all(hub->fetch(texts, "train/0.parquet")), std::string(2000, 'p'));
  EXPECT_EQ(hub->open(texts, "train/0.parquet")->size(), 2000);
}

TEST_F(Hubs, SayInOneSentenceWhatIsMissing) {
  EXPECT_TRUE(contains(snapshot_refused({RepoKind::model, "org/absent", "main"}), "model 'org/absent': is not at "));
  EXPECT_TRUE(contains(snapshot_refused({RepoKind::model, "org/tiny", "v9"}), "has no revision 'v9'"));
  EXPECT_TRUE(contains(snapshot_refused({RepoKind::dataset, "org/tiny", "main"}), "dataset 'org/tiny': is not at "));
  EXPECT_TRUE(contains(snapshot_refused({RepoKind::model, "../x", "main"}), "is no id of a hub"));
  EXPECT_TRUE(contains(snapshot_refused({RepoKind::model, "org/tiny", "../../x"}), "is no branch, tag or commit"));
  const std::string message = refusal(ErrorCode::input, [&] { (void)fetch("absent.json"); });
  EXPECT_TRUE(contains(message, "'absent.json': is not there at revision 'main'")) << message;
  EXPECT_EQ(files("absent.json").size(), 1u);  // in .no_exist, as huggingface_hub notes it
  EXPECT_TRUE(contains(refusal(ErrorCode::input, [&] { (void)fetch("../config.json"); }), "is no name of a file"));
}

TEST_F(Hubs, SayWhoMayNot) {
  server.set_faults(R"({"gated": ["org/tiny"]})");
  std::string message = snapshot_refused(repo);
  EXPECT_TRUE(contains(message, "is gated; accept its conditions at " + server.endpoint + "/org/tiny")) << message;
  EXPECT_TRUE(contains(message, "HF_TOKEN"));
  server.set_faults(R"({"private": ["org/tiny"]})");
  message = snapshot_refused(repo);
  EXPECT_TRUE(contains(message, "or it is private")) << message;
  settings.token = "hf_wrong";
  message = snapshot_refused(repo);
  EXPECT_TRUE(contains(message, "does not accept your token")) << message;
  EXPECT_FALSE(contains(message, "hf_wrong"));
  server.set_faults(R"({"closed": ["org/tiny"]})");
  message = snapshot_refused(repo);
  EXPECT_TRUE(contains(message, "is gated, and the account of your token has no access")) << message;
  server.set_faults(R"({"status": {"/main": [403, 1, {}]}})");
  message = snapshot_refused(repo);
  EXPECT_TRUE(contains(message, "refuses access (403) to the account of your token")) << message;
}

TEST_F(Hubs, AreNotBelievedWhenTheyListNonsense) {
  const auto listing_refused = [&](const std::string& faults) {
    server.set_faults(faults);
    fs::remove_all(settings.cache);
    return refusal(ErrorCode::input, [&] { (void)fetch("config.json"); });
  };
  const auto with_entry = [&](const std::string& path) {
    return listing_refused(str(R"({"names": {"org/tiny": [{"type": "file", "path": ")", path,
                               R"(", "size": 1, "oid": ")", std::string(40, 'a'), "\"}]}}"));
  };
  for (const char* path : {"../../../etc/cron.d/x", "/etc/passwd", "a/../../b", "a//b", "a\\\\..\\\\b", "x\\u0000y"})
    EXPECT_TRUE(contains(with_entry(path), "which is no name inside a repository")) << path;
  EXPECT_TRUE(contains(listing_refused(R"({"endless": true})"), "does not end after 1000 pages"));
  EXPECT_TRUE(contains(with_entry("config.json"), "'config.json' twice"));
  EXPECT_TRUE(contains(with_entry("config.json/x"), "as a file and as a folder"));
  const auto raw = [&](const std::string& text) {
    return listing_refused(json::dump(json::Object{{"raw_tree", json::Object{{"org/tiny", text}}}}));
  };
  EXPECT_TRUE(contains(raw("not JSON"), "list of files"));
  EXPECT_TRUE(contains(raw(std::string(100000, '[')), "list of files"));
  EXPECT_TRUE(contains(raw("{}"), "list of files"));
  EXPECT_TRUE(contains(raw("[" + std::string(65 << 20, ' ') + "]"), "more than 64 MiB"));
  EXPECT_TRUE(contains(raw("[3]"), "org/tiny"));
  EXPECT_TRUE(contains(raw(R"([{"type": "file", "path": "a", "size": 1}])"), "without a hash"));
  EXPECT_TRUE(contains(raw(R"([{"type": "file", "path": "a", "size": -1, "oid": ")" + std::string(40, 'a') + "\"}]"),
                       "with -1 bytes"));
  EXPECT_TRUE(
      contains(raw(R"([{"type": "file", "path": "a", "size": 1, "oid": "../../../x"}])"), "a hash that is none"));
  EXPECT_TRUE(contains(raw(R"([{"type": "file", "path": "a", "size": 1e99, "oid": "a"}])"), "size"));
  EXPECT_TRUE(files("config.json").empty());
}

TEST_F(Hubs, AreNotAskedOffline) {
  (void)fetch("config.json");
  server.forget_requests();
  settings.offline = true;
  const auto hub = open();
  const Snapshot snapshot = hub->snapshot(repo);
  EXPECT_EQ(read_all(hub->fetch(snapshot, "config.json")), "{\"model_type\": \"llama\"}");
  EXPECT_TRUE(contains(refusal(ErrorCode::input, [&] { (void)hub->fetch(snapshot, "tokenizer.json"); }),
                       "HF_HUB_OFFLINE forbids"));
  EXPECT_TRUE(
      contains(refusal(ErrorCode::input, [&] { (void)hub->open(snapshot, "tokenizer.json"); }), "HF_HUB_OFFLINE"));
  EXPECT_TRUE(contains(snapshot_refused({RepoKind::model, "org/other", "main"}), "HF_HUB_OFFLINE forbids"));
  fs::remove_all(settings.cache / "models--org--tiny/trees");
  const auto entries = open()->files(snapshot);
  ASSERT_EQ(entries.size(), 1u);
  EXPECT_EQ(entries.front().path, "config.json");
  EXPECT_TRUE(server.requests().empty());
}

TEST_F(Hubs, AreReplacedByTheCacheWhenTheyAreAway) {
  (void)fetch("config.json");
  fs::remove_all(settings.cache / "models--org--tiny/trees");
  settings.endpoint = "http://localhost:1";  // nobody listens
  settings.tries = 2;
  EXPECT_EQ(read_all(fetch("config.json")), "{\"model_type\": \"llama\"}");
  EXPECT_TRUE(heard.said("warning: model 'org/tiny': 'http://localhost:1'")) << heard.all;
  const std::string message = refusal(ErrorCode::resource, [&] { (void)fetch("tokenizer.json"); });
  EXPECT_TRUE(contains(message, "(2 tries); look at the network and at https_proxy")) << message;
  EXPECT_TRUE(contains(snapshot_refused({RepoKind::model, "org/other", "main"}, ErrorCode::resource), "2 tries"));
}

// The server stands in for a proxy: it is asked for addresses of a host that does not exist.
TEST_F(Hubs, AreReachedThroughAProxy) {
  testing::Environment environment;
  environment.set("http_proxy", server.endpoint);
  settings.endpoint = "http://hub.invalid";
  server.set_faults(R"({"page": 1})");  // whose next pages have the server's own address, as behind a mirror
  EXPECT_EQ(read_all(fetch("config.json")), "{\"model_type\": \"llama\"}");
  environment.set("no_proxy", "hub.invalid");
  settings.cache = cache.path() / "other";
  const std::string message = snapshot_refused(repo, ErrorCode::resource);
  EXPECT_TRUE(contains(message, "(3 tries)")) << message;  // nobody waits long for a network that is not there
}

TEST_F(Hubs, DoNotShowTheirTokenToAProxy) {
  const HubServer proxy;
  testing::Environment environment;
  environment.set("http_proxy", proxy.endpoint);
  environment.set("no_proxy", "");
  settings.token = testing::kToken;
  EXPECT_EQ(read_all(fetch("config.json")), "{\"model_type\": \"llama\"}");
  EXPECT_TRUE(proxy.requests().empty());
  settings.token.clear();
  settings.cache = cache.path() / "other";
  (void)snapshot_refused(repo);  // the proxy has no such repository
  EXPECT_FALSE(proxy.requests().empty());
}

TEST_F(Hubs, DoNotTellThePasswordOfAProxy) {
  testing::Environment environment;
  environment.set("no_proxy", "");
  settings.tries = 1;
  for (const char* proxy : {"http://me:s3cret@[::1", "me:s3cret@localhost:1x", "ftp://me:s3cret@localhost:1"}) {
    environment.set("http_proxy", proxy);
    const std::string message = snapshot_refused(repo, ErrorCode::resource);
    EXPECT_FALSE(contains(message, "s3cret")) << message;
  }
}

TEST_F(Hubs, ListAllPagesBehindAMirrorWhoseOwnPathHasAnApi) {
  server.set_faults(R"({"page": 1, "prefix": "api/mirror/"})");
  settings.endpoint += "/api/mirror";
  const auto hub = open();
  EXPECT_EQ(hub->files(hub->snapshot(repo)).size(), 3u);
}

// A mirror that was out of order, or is none: what it listed is kept, and found wrong.
class Mirrors : public Hubs {
 protected:
  void list_wrongly(const std::string& entries) const {
    server.set_faults(json::dump(json::Object{{"raw_tree", json::Object{{"org/tiny", str("[", entries, "]")}}}}));
  }
  // Of a file of `size` bytes with a hash that it does not have.
  static std::string entry(std::string_view path, int64_t size) {
    return str(R"({"type": "file", "path": ")", path, R"(", "size": )", size, R"(, "oid": ")", std::string(40, 'a'),
               "\"}");
  }
};

TEST_F(Mirrors, AreCorrectedWhereTheyListedAnotherContent) {
  for (const int64_t size : {23, 7}) {
    fs::remove_all(settings.cache);
    list_wrongly(entry("config.json", size));
    (void)refusal(ErrorCode::resource, [&] { (void)fetch("config.json"); });
    server.set_faults("{}");
    heard.all.clear();
    EXPECT_EQ(read_all(fetch("config.json")), "{\"model_type\": \"llama\"}");
    EXPECT_TRUE(heard.said("the list of its files in the cache was not that of '" + server.endpoint)) << heard.all;
    heard.all.clear();
    (void)fetch("tokenizer.json");  // the right list is kept now
    EXPECT_FALSE(heard.said("was not that of")) << heard.all;
  }
}

TEST_F(Mirrors, AreCorrectedWhereTheyListedTooLittle) {
  list_wrongly(entry("config.json", 23));
  EXPECT_TRUE(contains(refusal(ErrorCode::input, [&] { (void)fetch("tokenizer.json"); }), "is not there"));
  server.set_faults("{}");
  EXPECT_EQ(read_all(fetch("tokenizer.json")), "{}");
}

TEST_F(Mirrors, AreCorrectedWhereRangesDoNotFit) {
  list_wrongly(entry("model.safetensors", 6000));
  const auto read = [&] {
    const auto hub = open();
    std::string bytes(10, '\0');
    hub->open(hub->snapshot(repo), "model.safetensors")->read(100, 10, bytes.data());
    return bytes;
  };
  (void)refusal(ErrorCode::resource, read);
  server.set_faults("{}");
  (void)refusal(ErrorCode::resource, read);  // its size was told before; the next run has the right one
  EXPECT_EQ(read(), weights.substr(100, 10));
}

// An authority of this test alone, made by openssl.
class SecureHubs : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string commands = str(
        "cd '", folder.path().string(), "' && openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=arkit-test ",
        "-keyout ca.key -out ca.pem 2>/dev/null && openssl req -newkey rsa:2048 -nodes -subj /CN=localhost ",
        "-keyout hub.key -out hub.csr 2>/dev/null && printf 'subjectAltName=DNS:localhost' > san && ",
        "openssl x509 -req -in hub.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san -out hub.pem ",
        "2>/dev/null");
    if (std::system(commands.c_str()) != 0) GTEST_SKIP() << "needs the command openssl";
    server = std::make_unique<HubServer>(std::vector<std::string>{file("hub.pem"), file("hub.key")});
    server->add("models/org/tiny/config.json", "{}");
    server->add("models/org/tiny/model.safetensors", std::string(3000, 'w'));
    settings.endpoint = server->endpoint;
    settings.cache = folder.path() / "cache";
    settings.first_wait = 0.001;
    settings.authorities = file("ca.pem");
  }
  [[nodiscard]] std::string file(const char* name) const { return (folder.path() / name).string(); }
  fs::path fetch() {
    const auto hub = open_hub(settings, heard);
    return hub->fetch(hub->snapshot({RepoKind::model, "org/tiny", "main"}), "model.safetensors");
  }

  testing::TempDir folder;
  std::unique_ptr<HubServer> server;
  Settings settings;
  testing::Heard heard;
};

TEST_F(SecureHubs, AreTrustedThroughTheirAuthority) {
  EXPECT_EQ(read_all(fetch()), std::string(3000, 'w'));
}

TEST_F(SecureHubs, AreNotTrustedWithout) {
  settings.authorities.clear();
  const std::string message = refusal(ErrorCode::resource, [&] { (void)fetch(); });
  EXPECT_TRUE(contains(message, "SSL_CERT_FILE")) << message;
  EXPECT_FALSE(contains(message, "tries")) << message;  // asking again would not help
  EXPECT_TRUE(server->requests().empty());
}

TEST_F(SecureHubs, AreNotTrustedUnderAnotherName) {
  settings.endpoint = str("https://127.0.0.1:", server->port);
  EXPECT_TRUE(contains(refusal(ErrorCode::resource, [&] { (void)fetch(); }), "127.0.0.1"));
  EXPECT_TRUE(server->requests().empty());
}

TEST_F(SecureHubs, NeverGoOnWithoutEncryption) {
  server->set_faults(R"({"redirect": "http://localhost:1/x"})");
  EXPECT_TRUE(contains(refusal(ErrorCode::resource, [&] { (void)fetch(); }), "redirects from https to http"));
}

class ModelScopeHub : public HubTest {
 protected:
  ModelScopeHub() {
    settings.service = Service::modelscope;
    settings.symlinks = false;
  }
};

TEST_F(ModelScopeHub, IsReadTheSameWay) {
  settings.token = testing::kToken;
  const fs::path file = fetch("model.safetensors");
  EXPECT_EQ(read_all(file), weights);
  EXPECT_EQ(file, settings.cache / "models/org--tiny/snapshots/master/model.safetensors");
  EXPECT_FALSE(fs::is_symlink(file));
  for (const json::Object& request : server.requests()) EXPECT_TRUE(request.at("cookie").as_bool());
  const auto hub = open();
  const Snapshot snapshot = hub->snapshot(repo);
  EXPECT_TRUE(is_commit(snapshot.commit));
  EXPECT_EQ(hub->files(snapshot).size(), 3u);
  std::string part(10, '\0');
  hub->open(snapshot, "tokenizer.json")->read(0, 2, part.data());
  EXPECT_EQ(part.substr(0, 2), "{}");
  settings.offline = true;
  EXPECT_EQ(fetch("model.safetensors"), file);
}

TEST_F(ModelScopeHub, IsCheckedAndResumed) {
  settings.tries = 1;
  server.set_faults(R"({"break": {"model.safetensors": [1234]}})");
  (void)refusal(ErrorCode::resource, [&] { (void)fetch("model.safetensors"); });
  EXPECT_TRUE(files("model.safetensors").empty());
  server.forget_requests();
  server.set_faults(R"({"wrong": {"model.safetensors": 1}})");
  EXPECT_EQ(read_all(fetch("model.safetensors")), weights);  // the second time, from the start
  server.set_faults(R"({"wrong": {"tokenizer.json": 5}})");
  EXPECT_TRUE(contains(refusal(ErrorCode::resource, [&] { (void)fetch("tokenizer.json"); }), "does not have the hash"));
}

TEST_F(ModelScopeHub, PagesDataSetsAndSaysWhatIsMissing) {
  for (int i = 0; i < 450; ++i) server.add(str("datasets/org/many/", i, ".json"), "{}");
  const auto hub = open();
  EXPECT_EQ(hub->files(hub->snapshot({RepoKind::dataset, "org/many", "main"})).size(), 450u);
  EXPECT_TRUE(contains(refusal(ErrorCode::input,
                               [&] {
                                 (void)hub->snapshot({RepoKind::model, "org/absent", "main"});
                               }),
                       "is not at"));
}

TEST_F(ModelScopeHub, FindsWhatOldClientsLeft) {
  const fs::path old = settings.cache / "hub/models/org/tiny";
  testing::write_all(old / "config.json", "{}");
  settings.offline = true;
  EXPECT_EQ(fetch("config.json"), old / "config.json");
}

// Whole models, with the settings of the environment as the program has them.

}  // namespace
}  // namespace arkit::hub
