// What a model's name and card say, as keys and names of files have it.
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "gguf_card.h"
#include "gguf_model_name.h"
#include "gguf_pretokenizers.h"

namespace arkit::gguf {
namespace {

TEST(GgufNames, SayBaseSizeFinetuneAndVersion) {
  struct Row {
    const char* name;
    int64_t parameters;
    const char *base, *size, *finetune, *version, *stem;
  };
  const Row rows[] = {
      {"SmolLM2-135M-Instruct", 134'515'008, "SmolLM2", "135M", "Instruct", "", "SmolLM2-135M-Instruct"},
      {"qwen2.5-coder-0.5b", 494'032'768, "qwen2.5-coder", "0.5B", "", "", "qwen2.5-coder-0.5B"},
      {"Meta-Llama-3-8B-Instruct", 8'030'000'000, "Meta-Llama-3", "8B", "Instruct", "", "Meta-Llama-3-8B-Instruct"},
      {"Mixtral-8x7B-Instruct-v0.1", 46'700'000'000, "Mixtral", "8x7B", "Instruct", "v0.1",
       "Mixtral-8x7B-Instruct-v0.1"},
      {"Qwen3-30B-A3B-Instruct-2507", 30'500'000'000, "Qwen3", "30B-A3B", "Instruct", "2507",
       "Qwen3-30B-A3B-Instruct-2507"},
      {"phi-2", 2'780'000'000, "phi", "", "", "2", "phi-2.8B-2"},
      {"model-small-350M-v2", 350'000'000, "model-small", "350M", "", "v2", "model-small-350M-v2"},
      {"Foo-Mini-chat", 123'456, "Foo", "Mini", "chat", "", "Foo-Mini-chat"},
      {"big-70B-chat", 1'000'000, "big", "", "70B-chat", "", "big-1000K-70B-chat"},  // not this model's size
      {"source-llama-bf16", 3'300'000, "", "", "", "", "source-llama-bf16-3.3M"},
      {"my own/model", 12'345'678'901, "", "", "", "", "my-own-model-12B"}};
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    const NameParts parts = parse_model_name(row.name, row.parameters);
    EXPECT_EQ(parts.basename, row.base);
    EXPECT_EQ(parts.size_label, row.size);
    EXPECT_EQ(parts.finetune, row.finetune);
    EXPECT_EQ(parts.version, row.version);
    EXPECT_EQ(file_stem(row.name, row.parameters), row.stem);
  }
  EXPECT_EQ(without_type("SmolLM2-135M.Q4_1"), "SmolLM2-135M");
  EXPECT_EQ(without_type("model-IQ4_XS"), "model");
  EXPECT_EQ(without_type("qwen2.5-coder-0.5b"), "qwen2.5-coder-0.5b");
}

TEST(GgufCard, ItsFrontMatterIsRead) {
  const auto said = read_front_matter(
      "---\nlicense: apache-2.0  # as it is\nlanguage:\n- en\n- \"de\"\ntags: [small, 'chat']\n"
      "model-index:\n- name: x\n  results:\n  - task:\n      type: y\nbase_model: org/base\nbad: \xff\n---\nlicense: "
      "mit\n");
  const auto values = [&](const char* key) {
    const auto found = said.find(key);
    return found == said.end() ? std::vector<std::string>() : found->second;
  };
  EXPECT_EQ(values("license"), std::vector<std::string>{"apache-2.0"});
  EXPECT_EQ(values("language"), (std::vector<std::string>{"en", "de"}));
  EXPECT_EQ(values("tags"), (std::vector<std::string>{"small", "chat"}));
  EXPECT_EQ(values("base_model"), std::vector<std::string>{"org/base"});
  EXPECT_TRUE(values("bad").empty());
  EXPECT_TRUE(read_front_matter("# A card\nlicense: mit\n").empty());
  EXPECT_TRUE(read_front_matter("---\nlicense: mit\n").empty()) << "without an end it is none";
}

// Qwen2's own folder normalizes, one that was made of a GGUF file does not.
TEST(PreTokenizers, AreRecognisedWithoutTheirNormalizer) {
  const auto recognised = [](const char* name, const json::Value& normalizer) {
    json::Object tokenizer{{"pre_tokenizer", gguf::pre_tokenizer_json(*gguf::find_pre_tokenizer(name), false)},
                           {"model", json::Object{{"ignore_merges", false}}}};
    if (!normalizer.is_null()) tokenizer["normalizer"] = normalizer;
    const gguf::PreTokenizer* found = gguf::recognise_pre_tokenizer(tokenizer);
    return found == nullptr ? std::string("none") : std::string(found->name);
  };
  const json::Object nfc{{"type", "NFC"}}, other{{"type", "Lowercase"}};
  EXPECT_EQ(recognised("qwen2", nfc), "qwen2");
  EXPECT_EQ(recognised("qwen2", nullptr), "qwen2");
  EXPECT_EQ(recognised("qwen2", other), "none");
  EXPECT_EQ(recognised("gpt-2", nullptr), "gpt-2");
  EXPECT_EQ(recognised("gpt-2", nfc), "none") << "it has none";
}

}  // namespace
}  // namespace arkit::gguf
