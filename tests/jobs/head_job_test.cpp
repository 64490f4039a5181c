// A quantized lm_head in every format: written, read again, run, and held beside its source.
#include <algorithm>

#include <gtest/gtest.h>

#include <arkit/model_source.h>
#include <arkit/sdk/forwarding_source.h>

#include "jobs/job_testing.h"

namespace arkit {
namespace {

using testing::registry;

struct HeadCase {
  std::string scheme, format;
  int64_t group_size = 0;  // 0 = the scheme's own
};

class PackedHead : public ::testing::TestWithParam<HeadCase> {};

TEST_P(PackedHead, IsWrittenAndReadAgain) {
  const testing::TemporaryFolder folder;
  testing::Recorder recorder;
  QuantizeOptions options;
  options.model = testing::tiny_model("source-llama-bf16");
  options.scheme = GetParam().scheme;
  options.formats = {GetParam().format};
  if (GetParam().group_size != 0) options.overrides.group_size = GetParam().group_size;
  options.output_dir = folder.path() / "out";
  options.recipe = "rtn";
  options.model_free = false;
  options.dataset = "self";
  options.tuning.nsamples = 2;
  options.tuning.seqlen = 16;
  options.quant_lm_head = true;
  (void)quantize(options, registry(), recorder);
  EXPECT_TRUE(recorder.warnings.empty()) << recorder.warnings.front();

  const std::unique_ptr<ModelSource> exported = open_source(options.output_dir.string(), registry());
  const auto packed = sdk::packed_layers(*exported);
  EXPECT_TRUE(std::any_of(packed.begin(), packed.end(), [](const LinearSpec& spec) { return spec.name == "lm_head"; }));
  const json::Object verified = verify({.directory = options.output_dir, .against = {}}, registry(), recorder);
  EXPECT_TRUE(verified.at("passed").as_bool()) << json::dump(verified, 2);
  const json::Object generated =
      generate({.model = options.output_dir.string(), .prompts = {"a"}, .max_new_tokens = 2}, registry(), recorder);
  EXPECT_EQ(generated.at("outputs").as_array().size(), 1U);
}

INSTANTIATE_TEST_SUITE_P(All, PackedHead,
                         ::testing::Values(HeadCase{"W4A16", "auto_round"}, HeadCase{"W4A16", "auto_gptq"},
                                           HeadCase{"W4A16", "auto_awq"}, HeadCase{"W8A16", "llm_compressor"},
                                           HeadCase{"W4A16", "mlx", 32}, HeadCase{"MXFP4", "llm_compressor"},
                                           HeadCase{"MXFP8", "auto_round"}, HeadCase{"NVFP4", "llm_compressor"},
                                           HeadCase{"FP8_STATIC", "llm_compressor"},
                                           HeadCase{"FP8_BLOCK", "llm_compressor"},
                                           HeadCase{"FPW8A16", "llm_compressor"},
                                           HeadCase{"INT8_W8A8", "llm_compressor"}),
                         [](const auto& info) { return info.param.scheme + "_" + info.param.format; });

}  // namespace
}  // namespace arkit
