#include "inference/engine.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/error.h>
#include <arkit/scheme.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/sdk/testing.h>

#include "inference/support.h"
#include "inference/window_eval.h"

namespace arkit {
namespace {

// A checkpoint two of whose layers are "packed": their tensors are only to be had through its facet.
class HalfPackedSource final : public sdk::ForwardingSource, private PackedLayers {
 public:
  explicit HalfPackedSource(std::string packing) : ForwardingSource(open_hf_folder(tests::model_folder("llama"))) {
    for (const std::string layer : {"model.layers.0.self_attn.k_proj", "model.layers.1.mlp.down_proj"}) {
      const TensorInfo* info = weights().find(layer + ".weight");
      specs_.push_back({.name = layer,
                        .packing = packing,
                        .out_features = info->shape[0],
                        .in_features = info->shape[1],
                        .quant = {.weight = {.data_type = "int", .bits = 4}}});
    }
  }
  const PackedLayers* packed() const override { return this; }
  std::vector<LinearSpec> specs_;

 private:
  std::span<const LinearSpec> layers() const override { return specs_; }
  TensorMap tensors(std::string_view) const override { return {}; }
  QuantizedWeight unpack(std::string_view) const override { throw_input("nobody unpacks this"); }
};

TEST(Engine, GivesTheReferenceLogits) {
  const auto source = open_hf_folder(tests::model_folder("qwen3"));
  const auto expected = open_safetensors(tests::model_folder("qwen3") / "expected.safetensors");
  Engine engine(*source, tests::registry(), at::kFloat, "");
  engine.load_all();
  const at::Tensor ids = expected->load("a.input_ids"), logits = expected->load("a.logits");
  EXPECT_TRUE(sdk::close(engine.forward(ids, {}, {}, false), logits, 1e-4));
  EXPECT_TRUE(sdk::close(engine.forward(ids, {}, {}, true), logits.narrow(1, 15, 1), 1e-4));
  EXPECT_TRUE(engine.layers_by_backend().empty());
}

TEST(Engine, SendsPackedLayersToABackend) {
  const HalfPackedSource source("test");
  const Engine engine(source, tests::registry(), at::kFloat, "torch");
  EXPECT_EQ(engine.layers_by_backend(), (std::map<std::string, int64_t>{{"torch", 2}}));
}

TEST(Engine, NamesLayerAndReasonWhenNoBackendCan) {
  HalfPackedSource source("test");
  source.specs_[1].quant.rotation = "hadamard";
  try {
    const Engine engine(source, tests::registry(), at::kFloat, "torch");
    FAIL() << "accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::unsupported);
    EXPECT_NE(std::string(e.what()).find("model.layers.1.mlp.down_proj"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("hadamard"), std::string::npos) << e.what();
  }
}

TEST(Engine, RefusesForeignTokenIds) {
  const auto source = open_hf_folder(tests::model_folder("llama"));
  const Engine engine(*source, tests::registry(), at::kFloat, "");
  EXPECT_NO_THROW(engine.check_ids(at::tensor({0, 255}, at::kLong), "ids"));
  EXPECT_THROW(engine.check_ids(at::tensor({0, 256}, at::kLong), "ids"), Error);
  EXPECT_THROW(engine.check_ids(at::tensor({-1, 5}, at::kLong), "ids"), Error);
  EXPECT_THROW(engine.check_ids(at::empty({0}, at::kLong), "ids"), Error);
}

TEST(Engine, ComputeDtypeByName) {
  EXPECT_EQ(compute_dtype("float32"), at::kFloat);
  EXPECT_EQ(compute_dtype("bfloat16"), at::kBFloat16);
  EXPECT_NO_THROW((void)compute_dtype("auto"));
  EXPECT_THROW((void)compute_dtype("float8"), Error);
}

// Against the plain formula over all logits at once.
TEST(WindowEval, EqualsTheFormula) {
  const auto source = open_hf_folder(tests::model_folder("llama")),
             other = open_hf_folder(tests::model_folder("qwen3"));
  Engine model(*source, tests::registry(), at::kFloat, ""), reference(*other, tests::registry(), at::kFloat, "");
  at::manual_seed(3);
  const at::Tensor windows = at::randint(0, 256, {5, 12}, at::kLong);
  const EvalResult got = evaluate_windows(model, &reference, windows, 2, tests::silent());

  model.load_all();
  reference.load_all();
  const auto log_probs = [&](Engine& e) {
    return e.forward(windows, {}, {}, false).narrow(1, 0, 11).reshape({55, 256}).to(at::kDouble).log_softmax(-1);
  };
  const at::Tensor mine = log_probs(model), theirs = log_probs(reference),
                   next = windows.narrow(1, 1, 11).reshape({55, 1});
  EXPECT_NEAR(got.model.nll, -mine.gather(1, next).mean().item<double>(), 1e-5);
  EXPECT_NEAR(got.reference->nll, -theirs.gather(1, next).mean().item<double>(), 1e-5);
  EXPECT_EQ(got.model.tokens, 55);
  const at::Tensor kl = (theirs.exp() * (theirs - mine)).sum(1);
  EXPECT_NEAR(got.divergence->mean_kl, kl.mean().item<double>(), 1e-5);
  EXPECT_NEAR(got.divergence->p99_kl, kl.quantile(0.99, {}).item<double>(), 1e-4);
  EXPECT_NEAR(got.divergence->top1_agreement, mine.argmax(1).eq(theirs.argmax(1)).to(at::kDouble).mean().item<double>(),
              1e-12);
}

TEST(WindowEval, AModelIsNoDistanceFromItself) {
  const auto source = open_hf_folder(tests::model_folder("llama"));
  Engine a(*source, tests::registry(), at::kFloat, ""), b(*source, tests::registry(), at::kFloat, "");
  const EvalResult got = evaluate_windows(a, &b, at::arange(32, at::kLong).reshape({2, 16}), 1, tests::silent());
  EXPECT_NEAR(got.divergence->mean_kl, 0.0, 1e-7);
  EXPECT_EQ(got.divergence->top1_agreement, 1.0);
}

TEST(WindowEval, RefusesWindowsLongerThanThePositions) {
  const auto source = open_hf_folder(tests::model_folder("llama"));
  Engine engine(*source, tests::registry(), at::kFloat, "");
  EXPECT_THROW((void)evaluate_windows(engine, nullptr, at::zeros({1, 129}, at::kLong), 1, tests::silent()), Error);
}

}  // namespace
}  // namespace arkit
