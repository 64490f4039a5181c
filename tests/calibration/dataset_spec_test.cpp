#include "calibration/dataset_spec.h"

#include <string>
#include <vector>

#include <arkit/error.h>
#include <gtest/gtest.h>

#include "calibration/dataset_registry.h"

namespace {

using arkit::calibration::find_dataset;
using arkit::calibration::parse_dataset;

TEST(DatasetSpec, ReadsTheGrammar) {
  const auto specs =
      parse_dataset("a.json : num = 16 : split=train+test, b : concat : apply_chat_template=False,c:concat=false");
  ASSERT_EQ(specs.size(), 3U);
  EXPECT_EQ(specs[0].name, "a.json");
  EXPECT_EQ(specs[0].num, 16);
  EXPECT_EQ(specs[0].splits, (std::vector<std::string>{"train", "test"}));
  EXPECT_FALSE(specs[0].concat);
  EXPECT_EQ(specs[1].name, "b");
  EXPECT_TRUE(specs[1].concat);
  EXPECT_FALSE(specs[1].apply_chat_template);
  EXPECT_FALSE(specs[2].concat);
}

TEST(DatasetSpec, QuotesProtectSpacesAndSeparators) {
  const auto specs = parse_dataset("'my data, old.json':system_prompt=\"Be brief: a=1, b\",x");
  ASSERT_EQ(specs.size(), 2U);
  EXPECT_EQ(specs[0].name, "my data, old.json");
  EXPECT_EQ(specs[0].system_prompt, "Be brief: a=1, b");
  EXPECT_TRUE(specs[0].apply_chat_template);
}

TEST(DatasetSpec, FieldsTemplatesAndPlaces) {
  const auto specs = parse_dataset(
      "a/b:config=sample-10BT:revision=v1:field=title+body.text,c:template=\"{question}\\n: {answer}\":split=dev");
  ASSERT_EQ(specs.size(), 2U);
  EXPECT_EQ(specs[0].config, "sample-10BT");
  EXPECT_EQ(specs[0].revision, "v1");
  EXPECT_EQ(specs[0].fields, (std::vector<std::string>{"title", "body.text"}));
  EXPECT_EQ(specs[1].pattern, "{question}\n: {answer}");
}

TEST(DatasetSpec, ASystemPromptPersistsToLaterEntries) {
  const auto specs = parse_dataset("a:apply_chat_template,b:system_prompt= You're kind ,c:apply_chat_template");
  ASSERT_EQ(specs.size(), 3U);
  EXPECT_EQ(specs[0].system_prompt, arkit::calibration::kDefaultSystemPrompt);
  EXPECT_EQ(specs[1].system_prompt, "You're kind");
  EXPECT_EQ(specs[2].system_prompt, "You're kind");
}

// A slip would calibrate with something else than was meant.
TEST(DatasetSpec, UnknownKeysAreRefused) {
  const auto said = [](const char* text) -> std::string {
    try {
      (void)parse_dataset(text);
    } catch (const arkit::Error& error) {
      EXPECT_EQ(error.code(), arkit::ErrorCode::usage);
      return error.what();
    }
    return "nothing was refused";
  };
  EXPECT_EQ(said("a:splt=train"), "dataset 'a:splt=train': key 'splt' is unknown; did you mean 'split'?");
  EXPECT_NE(said("b,a:zzzzzz=1").find("key 'zzzzzz' is unknown; known are 'split', "), std::string::npos);
}

TEST(DatasetSpec, MistakesAreUsageErrors) {
  for (const char* text : {"a:split", "a:field=", "a:template", "a:field=x:template={y}", "", "a,,b", ":num=3",
                           "a:num=0", "a:num=x", "a:num=-1", "a:system_prompt=\"open"}) {
    try {
      (void)parse_dataset(text);
      ADD_FAILURE() << "accepted: " << text;
    } catch (const arkit::Error& error) {
      EXPECT_EQ(error.code(), arkit::ErrorCode::usage) << text;
    }
  }
}

TEST(DatasetRegistry, FindsByNameAndByPart) {
  ASSERT_NE(find_dataset("NeelNanda/pile-10k"), nullptr);
  EXPECT_EQ(find_dataset("pile-10k"), find_dataset("NeelNanda/pile-10k"));
  EXPECT_EQ(find_dataset("ultrachat"), find_dataset("HuggingFaceH4/ultrachat_200k"));
  // An id with an owner is that data set, not one of a similar name.
  EXPECT_EQ(find_dataset("somewhere/ultrachat_200k"), nullptr);
  EXPECT_EQ(find_dataset("nothing-like-it"), nullptr);
  EXPECT_EQ(find_dataset("/"), nullptr);
}

}  // namespace
