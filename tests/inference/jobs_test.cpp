// eval, forward and generate as functions from options to results.
#include <cmath>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/engine/jobs.h>
#include <arkit/error.h>
#include <arkit/model_source.h>
#include <arkit/sdk/testing.h>

#include "inference/support.h"
#include "util/safetensors_file.h"

namespace arkit {
namespace {

using tests::model_folder;
using tests::registry;
using tests::silent;

std::filesystem::path write_ids(const tests::ScratchFolder& scratch, const at::Tensor& ids) {
  const std::filesystem::path file = scratch.path() / "ids.safetensors";
  io::write_safetensors(file, {{"input_ids", ids}});
  return file;
}

TEST(SafetensorsFile, ReadsBackWhatItWrote) {
  const tests::ScratchFolder scratch;
  const TensorMap tensors = {{"a.f32", at::randn({3, 5})},        {"b.bf16", at::randn({2, 2}).to(at::kBFloat16)},
                             {"c.i64", at::arange(4, at::kLong)}, {"d.strided", at::randn({4, 6}).t()},
                             {"e.empty", at::empty({0, 3})},      {"f.scalar", at::scalar_tensor(2.5, at::kDouble)}};
  io::write_safetensors(scratch.path() / "x.safetensors", tensors);
  const auto back = open_safetensors(scratch.path() / "x.safetensors");
  ASSERT_EQ(back->tensors().size(), tensors.size());
  for (const auto& [name, tensor] : tensors) EXPECT_TRUE(back->load(name).equal(tensor)) << name;
  EXPECT_FALSE(std::filesystem::exists(scratch.path() / "x.safetensors.part"));
}

TEST(SafetensorsFile, LeavesNothingBehindWhenItCannotWrite) {
  const tests::ScratchFolder scratch;
  std::filesystem::create_directory(scratch.path() / "taken");
  EXPECT_THROW(io::write_safetensors(scratch.path() / "taken", {{"a", at::zeros({1})}}), Error);
  EXPECT_FALSE(std::filesystem::exists(scratch.path() / "taken.part"));
  EXPECT_THROW(io::write_safetensors(scratch.path() / "no/such/folder", {{"a", at::zeros({1})}}), Error);
}

TEST(ForwardJob, WritesTheReferenceLogits) {
  const tests::ScratchFolder scratch;
  const auto expected = open_safetensors(model_folder("llama31") / "expected.safetensors");
  const std::filesystem::path input = scratch.path() / "in.safetensors", output = scratch.path() / "out.safetensors";
  io::write_safetensors(input, {{"input_ids", expected->load("b.input_ids")},
                                {"attention_mask", expected->load("b.attention_mask")},
                                {"position_ids", expected->load("c.position_ids")}});
  const json::Object result =
      forward({.model = model_folder("llama31"), .input_ids = input, .output = output}, registry(), silent());
  EXPECT_EQ(result.at("shape"), (json::Array{2, 16, 256}));
  const at::Tensor real = expected->load("b.attention_mask").to(at::kBool);
  EXPECT_TRUE(sdk::close(open_safetensors(output)->load("logits").index({real}),
                         expected->load("c.logits").index({real}), 1e-4));
}

TEST(ForwardJob, RefusesBadInput) {
  const tests::ScratchFolder scratch;
  const auto run = [&](const TensorMap& tensors) {
    io::write_safetensors(scratch.path() / "in.safetensors", tensors);
    (void)forward({.model = model_folder("llama"),
                   .input_ids = scratch.path() / "in.safetensors",
                   .output = scratch.path() / "out.safetensors"},
                  registry(), silent());
  };
  const at::Tensor ids = at::zeros({2, 3}, at::kLong);
  EXPECT_THROW(run({{"ids", ids}}), Error);
  EXPECT_THROW(run({{"input_ids", at::zeros({2, 3})}}), Error);
  EXPECT_THROW(run({{"input_ids", ids + 256}}), Error);
  EXPECT_THROW(run({{"input_ids", at::zeros({1, 2, 3}, at::kLong)}}), Error);
  EXPECT_THROW(run({{"input_ids", ids}, {"attention_mask", at::ones({2, 4}, at::kLong)}}), Error);
  EXPECT_THROW(run({{"input_ids", ids}, {"position_ids", ids - 1}}), Error);
  EXPECT_FALSE(std::filesystem::exists(scratch.path() / "out.safetensors"));
}

TEST(EvaluateJob, CountsWindowsAndComparesWithItself) {
  const tests::ScratchFolder scratch;
  at::manual_seed(5);
  EvalOptions options{.model = model_folder("qwen2"),
                      .ids_file = write_ids(scratch, at::randint(0, 256, {100}, at::kInt)),
                      .against = model_folder("qwen2"),
                      .seqlen = 16};
  const json::Object all = evaluate_perplexity(options, registry(), silent());
  EXPECT_EQ(all.at("windows"), 6);
  EXPECT_EQ(all.at("tokens"), 90);
  EXPECT_NEAR(std::log(all.at("perplexity").as_double()), all.at("nll").as_double(), 1e-12);
  EXPECT_NEAR(all.at("against").at("mean_kl").as_double(), 0.0, 1e-6);
  EXPECT_EQ(all.at("against").at("perplexity"), all.at("perplexity"));
  options.max_windows = 2;
  options.batch_size = 1;
  EXPECT_EQ(evaluate_perplexity(options, registry(), silent()).at("windows"), 2);
}

TEST(EvaluateJob, RefusesImpossibleOptions) {
  const tests::ScratchFolder scratch;
  const auto ids = write_ids(scratch, at::zeros({20}, at::kLong));
  const auto run = [&](const EvalOptions& o) { (void)evaluate_perplexity(o, registry(), silent()); };
  const std::string model = model_folder("llama");
  EXPECT_THROW(run({.model = model}), Error);
  EXPECT_THROW(run({.model = model, .text_file = ids, .ids_file = ids}), Error);
  EXPECT_THROW(run({.model = model, .ids_file = ids, .seqlen = 1}), Error);
  EXPECT_THROW(run({.model = model, .ids_file = ids, .seqlen = 21}), Error);
  EXPECT_THROW(run({.model = model, .ids_file = ids, .seqlen = 8, .max_windows = 0}), Error);
  EXPECT_THROW(run({.model = model, .ids_file = ids, .seqlen = 8, .dtype = "int3"}), Error);
  EXPECT_THROW(run({.model = model, .ids_file = ids, .seqlen = 8, .backend = "cuda"}), Error);
  EXPECT_THROW(run({.model = model, .text_file = ids, .seqlen = 8}), Error) << "the model has no tokenizer";
}

TEST(GenerateJob, NeedsATokenizer) {
  EXPECT_THROW((void)generate({.model = model_folder("llama"), .prompts = {"hello"}}, registry(), silent()), Error);
}

}  // namespace
}  // namespace arkit
