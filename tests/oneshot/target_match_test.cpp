#include "oneshot/target_match.h"

#include <gtest/gtest.h>

#include <arkit/error.h>

namespace arkit::oneshot {
namespace {

constexpr const char* kGate = "model.layers.0.mlp.gate_proj";

std::optional<size_t> scheme_of(const std::vector<std::vector<std::string>>& targets, std::string_view name,
                                LayerKind kind = LayerKind::linear, const std::vector<std::string>& ignore = {}) {
  return TargetList(targets, ignore, "recipe").scheme_of(name, kind);
}

TEST(TargetMatch, ExpressionsMatchFromTheStartOfTheName) {
  EXPECT_TRUE(scheme_of({{"re:.*gate_proj"}}, kGate));
  EXPECT_TRUE(scheme_of({{"re:model.layers"}}, kGate));  // a prefix is enough
  EXPECT_FALSE(scheme_of({{"re:gate_proj"}}, kGate));
  EXPECT_FALSE(scheme_of({{"re:.*gate$"}}, kGate));
  EXPECT_TRUE(scheme_of({{"re:x|model"}}, kGate));  // every alternative is anchored
  EXPECT_FALSE(scheme_of({{"re:x|gate"}}, kGate));
}

TEST(TargetMatch, NamesAndClassesAreWhole) {
  EXPECT_TRUE(scheme_of({{kGate}}, kGate));
  EXPECT_FALSE(scheme_of({{"gate_proj"}}, kGate));
  EXPECT_TRUE(scheme_of({{"Linear"}}, kGate));
  EXPECT_TRUE(scheme_of({{"Module"}}, kGate));
  EXPECT_TRUE(scheme_of({{"Linear"}}, "model.layers.0.mlp.experts.3.up_proj", LayerKind::expert));
  EXPECT_FALSE(scheme_of({{"Linear"}}, "model.embed_tokens", LayerKind::embedding));
  EXPECT_TRUE(scheme_of({{"Embedding"}}, "model.embed_tokens", LayerKind::embedding));
  EXPECT_FALSE(scheme_of({{"linear"}}, kGate));
}

TEST(TargetMatch, NamesWinOverExpressionsOverClasses) {
  EXPECT_EQ(scheme_of({{"Linear"}, {"re:.*mlp.*"}, {kGate}}, kGate), 2U);
  EXPECT_EQ(scheme_of({{"Linear"}, {"re:.*mlp.*"}}, kGate), 1U);
  // In the order of text, not of the file; of equal texts the later scheme.
  EXPECT_EQ(scheme_of({{"re:.*m.*"}, {"re:.*g.*"}}, kGate), 1U);
  EXPECT_EQ(scheme_of({{"Linear"}, {"Linear"}}, kGate), 1U);
}

TEST(TargetMatch, IgnoreWins) {
  EXPECT_FALSE(scheme_of({{kGate}}, kGate, LayerKind::linear, {"re:.*mlp.*"}));
  EXPECT_FALSE(scheme_of({{kGate}}, kGate, LayerKind::linear, {"Linear"}));
  EXPECT_TRUE(scheme_of({{kGate}}, kGate, LayerKind::linear, {"lm_head", "mlp"}));
}

TEST(TargetMatch, RemembersWhatMatchedNothing) {
  TargetList list({{"Linear", "re:.*nothing"}}, {"lm_head", "re:.*vision.*"}, "recipe");
  EXPECT_TRUE(list.scheme_of(kGate, LayerKind::linear));
  EXPECT_FALSE(list.scheme_of("lm_head", LayerKind::linear));
  EXPECT_EQ(list.unmatched(), std::vector<std::string>{"re:.*nothing"});
  EXPECT_EQ(list.unmatched_ignores(), std::vector<std::string>{"re:.*vision.*"});
}

TEST(TargetMatch, RefusesBrokenExpressions) {
  EXPECT_THROW(TargetList({{"re:("}}, {}, "recipe"), Error);
  EXPECT_THROW(TargetList({{"re:a)(b"}}, {}, "recipe"), Error);  // not even where it would close our own group
  EXPECT_THROW(TargetList({}, {"re:*"}, "recipe"), Error);
}

}  // namespace
}  // namespace arkit::oneshot
