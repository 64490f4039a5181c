#include "hub/repo_names.h"

#include <gtest/gtest.h>

#include "hub/content_hash.h"
#include "hub/listing.h"
#include "hub/model_files.h"
#include "hub/retries.h"
#include "hub_testing.h"

namespace arkit::hub {
namespace fs = std::filesystem;
namespace {

using testing::contains;
using testing::Environment;
using testing::refusal;
using testing::TempDir;

class HubSettings : public ::testing::Test {
 protected:
  HubSettings() {
    for (const char* name : {"HF_ENDPOINT",
                             "HF_TOKEN",
                             "HUGGING_FACE_HUB_TOKEN",
                             "HF_TOKEN_PATH",
                             "HF_HUB_DISABLE_IMPLICIT_TOKEN",
                             "HF_HUB_OFFLINE",
                             "TRANSFORMERS_OFFLINE",
                             "HF_HUB_CACHE",
                             "HUGGINGFACE_HUB_CACHE",
                             "XDG_CACHE_HOME",
                             "HF_HUB_DISABLE_SYMLINKS",
                             "CURL_CA_BUNDLE",
                             "SSL_CERT_FILE",
                             "REQUESTS_CA_BUNDLE",
                             "HF_HUB_ETAG_TIMEOUT",
                             "HF_HUB_DOWNLOAD_TIMEOUT",
                             "AR_USE_MODELSCOPE",
                             "MODELSCOPE_CACHE",
                             "MODELSCOPE_ENDPOINT",
                             "MODELSCOPE_DOMAIN",
                             "MODELSCOPE_API_TOKEN"})
      environment.unset(name);
    environment.set("HF_HOME", folder.path().string());
  }
  static Settings read() { return settings_from_environment(Service::hugging_face); }
  TempDir folder;
  Environment environment;
};

TEST_F(HubSettings, SaysWhereTheCacheIs) {
  environment.set("HOME", "/h");
  EXPECT_EQ(hugging_face_cache(), folder.path() / "hub");
  environment.set("HUGGINGFACE_HUB_CACHE", "/old");
  EXPECT_EQ(hugging_face_cache(), "/old");
  environment.set("HF_HUB_CACHE", "~/c");
  EXPECT_EQ(hugging_face_cache(), "/h/c");
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME"}) environment.unset(name);
  EXPECT_EQ(hugging_face_cache(), "/h/.cache/huggingface/hub");
  environment.set("XDG_CACHE_HOME", "/x");
  EXPECT_EQ(hugging_face_cache(), "/x/huggingface/hub");
  EXPECT_EQ(settings_from_environment(Service::modelscope).cache, "/h/.cache/modelscope");
  environment.set("MODELSCOPE_CACHE", "/m");
  EXPECT_EQ(settings_from_environment(Service::modelscope).cache, "/m");
}

TEST_F(HubSettings, DoesWithoutHome) {
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"})
    environment.unset(name);
  environment.set("HOME", "");
  EXPECT_TRUE(hugging_face_cache().is_absolute()) << hugging_face_cache();
  EXPECT_TRUE(settings_from_environment(Service::modelscope).cache.is_absolute());
}

TEST_F(HubSettings, FindsTheToken) {
  EXPECT_EQ(read().token, "");
  folder.write("token", "hf_file\n");
  EXPECT_EQ(read().token, "hf_file");
  folder.write("other", "hf_other");
  environment.set("HF_TOKEN_PATH", (folder.path() / "other").string());
  EXPECT_EQ(read().token, "hf_other");
  environment.set("HUGGING_FACE_HUB_TOKEN", "hf_old");
  EXPECT_EQ(read().token, "hf_old");
  environment.set("HF_TOKEN", " hf_new ");
  EXPECT_EQ(read().token, "hf_new");
  environment.set("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1");
  EXPECT_EQ(read().token, "");
}

TEST_F(HubSettings, RefusesATokenThatWouldEndItsHeader) {
  environment.set("HF_TOKEN", "hf_a\r\nHost: evil");
  EXPECT_TRUE(contains(refusal(ErrorCode::input, [] { (void)read(); }), "HF_TOKEN: holds something that is no token"));
}

TEST_F(HubSettings, ReadsEndpointsAndRefusesWhatIsNone) {
  EXPECT_EQ(read().endpoint, "https://huggingface.co");
  environment.set("HF_ENDPOINT", "https://hub.example/base//");
  EXPECT_EQ(read().endpoint, "https://hub.example/base");
  for (const char* url : {"ftp://x", "hub.example", "https://user@x", "https://x/?a", "file:///etc"}) {
    environment.set("HF_ENDPOINT", url);
    EXPECT_TRUE(contains(refusal(ErrorCode::input, [] { (void)read(); }), "is no endpoint")) << url;
  }
  environment.set("MODELSCOPE_DOMAIN", "modelscope.ai");
  EXPECT_EQ(settings_from_environment(Service::modelscope).endpoint, "https://modelscope.ai");
}

TEST_F(HubSettings, ReadsTheRest) {
  EXPECT_FALSE(read().offline);
  EXPECT_TRUE(read().symlinks);
  environment.set("TRANSFORMERS_OFFLINE", "yes");
  EXPECT_TRUE(read().offline);
  environment.set("HF_HUB_DISABLE_SYMLINKS", "1");
  EXPECT_FALSE(read().symlinks);
  environment.set("HF_HUB_DOWNLOAD_TIMEOUT", "33");
  EXPECT_EQ(read().stall_timeout.count(), 33);
  environment.set("HF_HUB_DOWNLOAD_TIMEOUT", "soon");
  EXPECT_TRUE(contains(refusal(ErrorCode::input, [] { (void)read(); }), "no number of seconds"));
  environment.set("HF_HUB_DOWNLOAD_TIMEOUT", "10");
  environment.set("CURL_CA_BUNDLE", "");  // which means "trust all" to some, and nothing here
  EXPECT_TRUE(read().authorities.empty());
  environment.set("SSL_CERT_FILE", "/absent.pem");
  EXPECT_TRUE(contains(refusal(ErrorCode::input, [] { (void)read(); }), "SSL_CERT_FILE: '/absent.pem' is not there"));
}

TEST_F(HubSettings, KnowsWhatAModelIsCalled) {
  for (const char* id : {"org/name", "gpt2", "org/name@refs/pr/1", "a/b@v1.0", "HuggingFaceTB/SmolLM2-135M_x", "hf:a/b",
                         "modelscope:a/b@v2"})
    EXPECT_TRUE(parse_model_name(id)) << id;
  for (const char* id : {"", "/abs/path", "a/b/c", "../x", "a/..", "./a", "a//b", "a/b@", "a/b@../x", "a--b/c", "~/m",
                         "a b/c", "a/b@/x", "ftp:a/b", "hf:", "hf:hf:a/b"})
    EXPECT_FALSE(parse_model_name(id)) << id;
  const auto name = parse_model_name("modelscope:a/b@v2");
  EXPECT_EQ(name->service, Service::modelscope);
  EXPECT_EQ(name->repo.id, "a/b");
  EXPECT_EQ(name->repo.revision, "v2");
  EXPECT_EQ(spelled(name->service, name->repo), "modelscope:a/b@v2");
  EXPECT_EQ(parse_model_name("a/b")->service, Service::hugging_face);
  environment.set("AR_USE_MODELSCOPE", "1");
  EXPECT_EQ(parse_model_name("a/b")->service, Service::modelscope);
  EXPECT_EQ(parse_model_name("hf:a/b")->service, Service::hugging_face);
}

TEST(HubNames, KeepsFilesInsideTheirRepository) {
  for (const char* path : {"config.json", "a/b/c.json", "..a", "a..", ".gitattributes", "日本.txt"})
    EXPECT_TRUE(is_repo_path(path)) << path;
  const std::string long_part(256, 'a');
  std::string deep;
  for (int i = 0; i < 600; ++i) deep += "a/";
  for (const std::string& path :
       {std::string(), std::string("/etc/passwd"), std::string("../x"), std::string("a/../../x"), std::string("a//b"),
        std::string("a/./b"), std::string("a/"), std::string("a\\b"), std::string("a\nb"), std::string("a\0b", 3),
        std::string(".."), std::string("."), long_part, deep + "x"})
    EXPECT_FALSE(is_repo_path(path)) << path;
}

// FIPS 180-4 and what "git hash-object" prints.
TEST(ContentHash, IsGitsAndSha256) {
  const auto sha1 = [](std::string_view text) {
    Sha1 hash;
    hash.update(text);
    return hash.hex();
  };
  EXPECT_EQ(sha1("abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
  EXPECT_EQ(sha1(""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
  EXPECT_EQ(sha1("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
  Sha1 pieces;
  for (int i = 0; i < 1000; ++i) pieces.update(std::string(1000, 'a'));
  EXPECT_EQ(pieces.hex(), "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
  const RemoteFile hello{"a", 6, "ce013625030ba8dba906f756967f9e9ca394464a", {}, {}};
  ContentHash git(hello);
  git.update("hel");
  git.update("lo\n");
  EXPECT_TRUE(git.agrees());
  const RemoteFile large{"a", 3, {}, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", {}};
  ContentHash whole(large), other(large);
  whole.update("abc");
  other.update("abd");
  EXPECT_TRUE(whole.agrees());
  EXPECT_FALSE(other.agrees());
}

TEST(Listing, RefusesWhatNoHonestHubSays) {
  const std::string hash(40, 'a');
  const auto refused = [&](Listing listing) {
    return refusal(ErrorCode::input, [&] { (void)checked(std::move(listing), "model 'a/b'"); });
  };
  EXPECT_TRUE(contains(refused({{"../x", 1, hash, "", ""}}), "'../x', which is no name inside a repository"));
  EXPECT_TRUE(contains(refused({{"a", -1, hash, "", ""}}), "'a' with -1 bytes"));
  EXPECT_TRUE(contains(refused({{"a", 1, "../../x", "", ""}}), "with a hash that is none"));
  EXPECT_TRUE(contains(refused({{"a", 1, hash, "", ""}, {"b", 1, hash, "", ""}, {"a", 2, hash, "", ""}}), "'a' twice"));
  EXPECT_TRUE(contains(refused({{"a", 1, hash, "", ""}, {"a/b", 1, hash, "", ""}}), "'a' as a file and as a folder"));
}

TEST(Listing, IsReadBackAndDamageCountsAsAbsence) {
  const TempDir folder;
  const fs::path file = folder.path() / "trees/c.json";
  const Listing listing{{"a", 1, std::string(40, 'a'), "", ""},
                        {"b", 2, std::string(40, 'b'), std::string(64, 'c'), std::string(64, 'd')}};
  write_listing(file, listing);
  const auto read = read_listing(file);
  ASSERT_TRUE(read);
  ASSERT_EQ(read->size(), 2u);
  EXPECT_EQ((*read)[1].sha256, listing[1].sha256);
  EXPECT_EQ((*read)[1].xet, listing[1].xet);
  EXPECT_EQ((*read)[1].size, 2);
  for (const char* text : {"", "[]", "{\"format_version\": 2, \"files\": {}}", "{\"format_version\": 1}",
                           "{\"format_version\": 1, \"files\": {\"../x\": {\"size\": 1, \"blob_id\": \"\"}}}",
                           "{\"format_version\": 1, \"files\": {\"x\": 3}}"}) {
    testing::write_all(file, text);
    EXPECT_FALSE(read_listing(file)) << text;
  }
}

std::vector<Entry> entries(const std::vector<std::string>& paths) {
  std::vector<Entry> all;
  for (const std::string& path : paths) all.push_back({path, 10});
  return all;
}

using Names = std::vector<std::string>;

TEST(ModelFiles, AreWhatAModelNeeds) {
  const auto all =
      entries({".gitattributes", "LICENSE", "README.md", "chat_template.jinja", "config.json", "figure.png",
               "generation_config.json", "merges.txt", "model.safetensors", "onnx/config.json", "onnx/model.onnx",
               "original/consolidated.00.pth", "original/params.json", "pytorch_model.bin",
               "pytorch_model.bin.index.json", "templates/tool.jinja", "tokenizer.json"});
  EXPECT_EQ(model_texts(all),
            (Names{"LICENSE", "README.md", "chat_template.jinja", "config.json", "generation_config.json", "merges.txt",
                   "templates/tool.jinja", "tokenizer.json"}));
  EXPECT_EQ(model_weights(all, "/absent", "m"), Names{"model.safetensors"});
}

TEST(ModelFiles, AreTheShardsThatAreListed) {
  const TempDir folder;
  testing::write_all(
      folder.path() / "model.safetensors.index.json",
      R"({"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}})");
  const auto all = entries({"config.json", "consolidated.safetensors", "model-00001-of-00002.safetensors",
                            "model-00002-of-00002.safetensors", "model.safetensors.index.json"});
  EXPECT_EQ(model_weights(all, folder.path(), "m"),
            (Names{"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}));
  EXPECT_EQ(model_texts(all), (Names{"config.json", "model.safetensors.index.json"}));
  for (const char* shard : {"../secret.safetensors", "model-00003-of-00003.safetensors", "config.json"}) {
    folder.write("model.safetensors.index.json", str(R"({"weight_map": {"a": ")", shard, "\"}}"));
    EXPECT_TRUE(contains(refusal(ErrorCode::input, [&] { (void)model_weights(all, folder.path(), "m"); }), shard));
  }
}

TEST(ModelFiles, AreNeverPickles) {
  const auto all = entries({"config.json", "pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json"});
  const std::string refused = refusal(ErrorCode::unsupported, [&] { (void)model_weights(all, "/absent", "m"); });
  EXPECT_TRUE(contains(refused, "only as pickle ('pytorch_model-00001-of-00002.bin')")) << refused;
  EXPECT_EQ(model_texts(all), Names{"config.json"});
  const auto adapter = entries({"adapter_config.json", "adapter_model.safetensors"});
  EXPECT_TRUE(contains(refusal(ErrorCode::unsupported, [&] { (void)model_weights(adapter, "/absent", "m"); }),
                       "is an adapter"));
}

TEST(ModelFiles, AreOneFileWhereThatIsTheModel) {
  EXPECT_EQ(model_weights(entries({"README.md", "m-Q4_0.gguf"}), "/absent", "m"), Names{"m-Q4_0.gguf"});
  EXPECT_TRUE(contains(refusal(ErrorCode::unsupported,
                               [] {
                                 (void)model_weights(entries({"a.gguf", "b.gguf"}), "/absent", "m");
                               }),
                       "2 models of one file each"));
}

TEST(ModelFiles, HaveTheModulesOfAPipeline) {
  const TempDir folder;
  folder.write("modules.json", R"([{"path": ""}, {"path": "2_Dense"}])");
  EXPECT_EQ(model_weights(entries({"2_Dense/config.json", "2_Dense/model.safetensors", "2_Dense/pytorch_model.bin",
                                   "model.safetensors", "modules.json", "other/model.safetensors"}),
                          folder.path(), "m"),
            (Names{"model.safetensors", "2_Dense/config.json", "2_Dense/model.safetensors"}));
}

TEST(Retries, ReadsRetryAfter) {
  const auto after = [](const std::string& value) {
    Response response;
    response.headers["retry-after"] = value;
    return retry_after(response);
  };
  EXPECT_EQ(after("7"), 7);
  EXPECT_EQ(after("Thu, 01 Jan 1970 00:00:00 GMT"), 0);
  EXPECT_GT(after("Fri, 01 Jan 2100 00:00:00 GMT"), 1e6);
  for (const char* nonsense : {"", "-3", "soon", "1e9999"}) EXPECT_LT(after(nonsense), 0) << nonsense;
}

TEST(Urls, AreTakenApartAndPutTogether) {
  EXPECT_EQ(origin_of("https://Hub.example/x?y"), "https://hub.example:443");
  EXPECT_EQ(origin_of("http://localhost:8080"), "http://localhost:8080");
  for (const char* bad : {"file:///etc/passwd", "https://user:pw@host/", "nothing at all", ""})
    EXPECT_EQ(origin_of(bad), "") << bad;
  EXPECT_EQ(url_encoded("a b/c?d#e%", true), "a%20b/c%3Fd%23e%25");
  EXPECT_EQ(url_encoded("refs/pr/1", false), "refs%2Fpr%2F1");
}

}  // namespace
}  // namespace arkit::hub
