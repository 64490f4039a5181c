#include "formats/golden_cases.h"

namespace arkit::test {
namespace {

constexpr const char* kLlama = "source-llama-bf16";
constexpr const char* kLlamaF32 = "source-llama-fp32";
constexpr const char* kQwen3 = "source-qwen3-bf16";

constexpr const char* kMixedConfig = R"({"model.layers.0.mlp.down_proj": {"bits": 8}, ".*k_proj": {"bits": 16},)"
                                     R"( "model.layers.1.self_attn.q_proj": {"bits": 2, "group_size": 32}})";
constexpr const char* kAwqConfig = R"({"k_proj": {"bits": 16}, "model.layers.1.mlp.up_proj": {"bits": 16}})";
constexpr const char* kAsymConfig = R"({"model.layers.1.self_attn.q_proj": {"bits": 2, "group_size": 32}})";

constexpr const char* kCompressedConfig = R"({"model.layers.0.mlp.down_proj": {"bits": 8}, "k_proj": {"bits": 16}})";

GoldenCase of(std::string name, std::string format, std::string scheme) {
  return {.name = std::move(name), .source = kLlama, .format = std::move(format), .scheme = std::move(scheme)};
}

GoldenCase with_group(GoldenCase golden, int64_t group_size) {
  golden.group_size = group_size;
  return golden;
}

GoldenCase asym(GoldenCase golden) {
  golden.asym = true;
  return golden;
}

GoldenCase from(GoldenCase golden, const char* source) {
  golden.source = source;
  return golden;
}

GoldenCase mixed(GoldenCase golden, const char* layer_config) {
  golden.layer_config = layer_config;
  return golden;
}

GoldenCase with_head(GoldenCase golden) {
  golden.quant_lm_head = true;
  return golden;
}

void add_llm_compressor(std::vector<GoldenCase>& cases) {
  const char* format = "llm_compressor";
  for (const char* scheme : {"W2A16", "W3A16", "W4A16", "W5A16", "W6A16", "W7A16", "W8A16"})
    cases.push_back(of(std::string("llm_compressor-") + scheme, format, scheme));
  cases.push_back(with_group(of("llm_compressor-W4A16-pc", format, "W4A16"), -1));
  cases.push_back(with_group(of("llm_compressor-W4A16G32", format, "W4A16"), 32));
  for (const char* scheme : {"W3A16", "W4A16", "W8A16"})
    cases.push_back(asym(with_group(of(std::string("llm_compressor-") + scheme + "G32-asym", format, scheme), 32)));
  // The reference makes codes again from weights that were rounded to bfloat16; 8 bits are too many for that
  // (docs/spec/export-folder.md 9). Ours are the quantizer's.
  cases.back().deviation.other_bytes = {R"(0\.mlp\.gate_proj\.weight_packed$)",
                                        R"(0\.self_attn\.[ko]_proj\.weight_packed$)",
                                        R"(1\.self_attn\.[oq]_proj\.weight_packed$)"};
  cases.push_back(from(with_group(of("llm_compressor-W4A16G32-bias-fp32", format, "W4A16"), 32), kLlamaF32));
  cases.push_back(of("auto_round_llm_compressor-W4A16", "auto_round:llm_compressor", "W4A16"));
  cases.push_back(mixed(of("mixed-llm_compressor-W4A16", format, "W4A16"), kCompressedConfig));
  cases.push_back(with_head(of("lmhead-llm_compressor-W4A16", format, "W4A16")));
  cases.push_back(of("lowcpu-llm_compressor-W4A16", format, "W4A16"));
  cases.push_back(from(of("qwen3tied-llm_compressor-W4A16", format, "W4A16"), kQwen3));
}

GoldenCase ignoring(GoldenCase golden, const char* layers) {
  golden.ignore_layers = layers;
  return golden;
}

// Without the head in `ignore`, transformers looks for its scales and computes NaN
// (docs/spec/format-compressed-tensors.md 3).
GoldenCase ignores_head(GoldenCase golden, const char* ignore = R"(["lm_head"])") {
  golden.deviation.config = {{"ignore", ignore}};
  return golden;
}

GoldenCase with_kv(GoldenCase golden, const char* type) {
  golden.static_kv_dtype = type;
  return golden;
}

void add_float_auto_round(std::vector<GoldenCase>& cases) {
  for (const char* scheme : {"MXFP4", "MXFP4_RCEIL", "MXFP8", "MXFP8_RCEIL", "MXINT4", "NVFP4", "NVFP4_E5M3", "FPW8A16",
                             "FP8_STATIC", "FP8_BLOCK"})
    cases.push_back(of(std::string("auto_round-") + scheme, "auto_round", scheme));
  cases.push_back(of("auto_round_fp8-FP8_BLOCK", "auto_round:fp8", "FP8_BLOCK"));
  cases.push_back(with_kv(of("auto_round-FP8_STATIC-kvfp8", "auto_round", "FP8_STATIC"), "fp8"));
  cases.push_back(
      mixed(of("mixed-auto_round-MXFP4-MXFP8", "auto_round", "MXFP4"), R"({"down_proj": {"scheme": "MXFP8"}})"));
  cases.push_back(ignoring(of("mixed-auto_round-FP8_STATIC-ignore", "auto_round", "FP8_STATIC"), "k_proj"));
  cases.push_back(from(of("qwen3tied-auto_round-NVFP4", "auto_round", "NVFP4"), kQwen3));
  cases.push_back(of("auto_round-BF16", "auto_round", "BF16"));
  cases.back().deviation.no_quantization_config = true;  // loaders refuse 16 bits (docs/DEFECTS.md)
  cases.push_back(of("fp8-FP8_BLOCK", "fp8", "FP8_BLOCK"));
  cases.push_back(ignoring(of("mixed-fp8-FP8_BLOCK-ignore", "fp8", "FP8_BLOCK"), "k_proj"));
  cases.push_back(from(of("qwen3tied-fp8-FP8_BLOCK", "fp8", "FP8_BLOCK"), kQwen3));
}

void add_float_llm_compressor(std::vector<GoldenCase>& cases) {
  const char* format = "llm_compressor";
  for (const char* scheme :
       {"MXFP4", "MXFP4_RCEIL", "MXFP8", "MXFP8_RCEIL", "NVFP4", "NVFP4_E5M3", "FPW8A16", "FP8_BLOCK", "INT8_W8A8"})
    cases.push_back(of(std::string("llm_compressor-") + scheme, format, scheme));
  cases.push_back(ignores_head(of("llm_compressor-FP8_STATIC", format, "FP8_STATIC")));
  cases.push_back(ignores_head(with_kv(of("llm_compressor-FP8_STATIC-kvfp8", format, "FP8_STATIC"), "fp8")));
  for (const char* scheme : {"MXFP4", "NVFP4", "FP8_BLOCK"})
    cases.push_back(of(std::string("auto_round_llm_compressor-") + scheme, "auto_round:llm_compressor", scheme));
  cases.push_back(ignores_head(of("auto_round_llm_compressor-FP8_STATIC", "auto_round:llm_compressor", "FP8_STATIC")));
  cases.push_back(mixed(of("mixed-llm_compressor-MXFP4-MXFP8", format, "MXFP4"),
                        R"({"down_proj": {"scheme": "MXFP8"}, "k_proj": {"bits": 16, "act_bits": 16}})"));
  cases.push_back(
      mixed(of("mixed-llm_compressor-BF16-MXFP4", format, "BF16"), R"({"down_proj": {"scheme": "MXFP4"}})"));
  cases.push_back(ignoring(of("mixed-llm_compressor-NVFP4-ignore", format, "NVFP4"), "k_proj,down_proj"));
  cases.push_back(ignores_head(ignoring(of("mixed-llm_compressor-FP8_STATIC-ignore", format, "FP8_STATIC"), "k_proj"),
                               R"(["model.layers.0.self_attn.k_proj", "model.layers.1.self_attn.k_proj", "lm_head"])"));
  cases.push_back(ignores_head(from(of("qwen3tied-llm_compressor-FP8_STATIC", format, "FP8_STATIC"), kQwen3)));
  cases.push_back(from(of("qwen3tied-llm_compressor-INT8_W8A8", format, "INT8_W8A8"), kQwen3));
}

void add_fake(std::vector<GoldenCase>& cases) {
  for (const char* scheme : {"MXFP4", "NVFP4", "FP8_STATIC", "INT8_W8A8"})
    cases.push_back(of(std::string("fake-") + scheme, "fake", scheme));
  // Without it, what loads the export computes NaN (docs/spec/format-fake.md 1).
  for (GoldenCase& golden : cases)
    if (golden.name == "fake-NVFP4") golden.deviation.added = {"input_global_scale$"};
  // What the reference writes where it cannot write auto_round and does not say so (docs/DEFECTS.md).
  for (const char* scheme : {"INT8_W8A8", "INT4"})
    cases.push_back(of(std::string("auto_round-") + scheme, "fake", scheme));
}

void add_mlx(std::vector<GoldenCase>& cases) {
  for (const char* scheme : {"W2A16", "W3A16", "W4A16", "W5A16", "W6A16", "W8A16"})
    cases.push_back(with_group(of(std::string("mlx-") + scheme + "G32", "mlx", scheme), 32));
  cases.push_back(of("mlx-W4A16", "mlx", "W4A16"));
  cases.push_back(asym(with_group(of("mlx-W4A16G32-asym", "mlx", "W4A16"), 32)));
  cases.push_back(with_group(of("auto_round_mlx-W4A16G32", "auto_round:mlx", "W4A16"), 32));
  cases.push_back(mixed(with_group(of("mixed-mlx-W4A16G32", "mlx", "W4A16"), 32), kCompressedConfig));
  cases.push_back(with_head(with_group(of("lmhead-mlx-W4A16G32", "mlx", "W4A16"), 32)));
  cases.push_back(from(with_group(of("qwen3tied-mlx-W4A16", "mlx", "W4A16"), 32), kQwen3));
}

std::vector<GoldenCase> make_cases() {
  std::vector<GoldenCase> cases;
  for (const char* scheme : {"W2A16", "W3A16", "W4A16", "W8A16", "W2A16G32", "W4A16_MIXED"})
    cases.push_back(of(std::string("auto_round-") + scheme, "auto_round", scheme));
  for (const char* scheme : {"W2A16", "W3A16", "W4A16", "W5A16"})
    cases.push_back(asym(of(std::string("auto_round-") + scheme + "-asym", "auto_round", scheme)));
  for (const char* scheme : {"W6A16", "W7A16"})
    cases.push_back(with_group(asym(of(std::string("auto_round-") + scheme + "G32-asym", "auto_round", scheme)), 32));
  cases.push_back(asym(of("auto_round-W8A16-asym-env", "auto_round", "W8A16")));
  cases.push_back(with_group(of("auto_round-W4A16-pc", "auto_round", "W4A16"), -1));
  cases.push_back(from(with_group(of("auto_round-W4A16G32-bias-fp32", "auto_round", "W4A16"), 32), kLlamaF32));
  cases.push_back(asym(with_group(of("auto_round_auto_gptq-W4A16G32-asym", "auto_round:auto_gptq", "W4A16"), 32)));
  cases.push_back(with_group(of("auto_round_gptqmodel-W4A16G32", "auto_round:gptqmodel", "W4A16"), 32));
  cases.push_back(with_group(of("auto_round_auto_awq-W4A16G32", "auto_round:auto_awq", "W4A16"), 32));
  for (const char* scheme : {"W4A16", "W5A16", "W6A16", "W7A16"})
    cases.push_back(asym(
        with_group(of(std::string("auto_round_auto_awq-") + scheme + "G32-asym", "auto_round:auto_awq", scheme), 32)));

  for (const char* scheme : {"W2A16", "W3A16", "W4A16", "W8A16"})
    cases.push_back(of(std::string("auto_gptq-") + scheme, "auto_gptq", scheme));
  cases.push_back(with_group(of("auto_gptq-W4A16G32", "auto_gptq", "W4A16"), 32));
  cases.push_back(asym(with_group(of("auto_gptq-W4A16G32-asym", "auto_gptq", "W4A16"), 32)));
  cases.push_back(asym(with_group(of("auto_gptq-W3A16G32-asym", "auto_gptq", "W3A16"), 32)));
  cases.push_back(from(with_group(of("auto_gptq-W4A16G32-bias-fp32", "auto_gptq", "W4A16"), 32), kLlamaF32));
  cases.push_back(of("lowcpu-auto_gptq-W4A16", "auto_gptq", "W4A16"));

  cases.push_back(of("auto_awq-W4A16", "auto_awq", "W4A16"));
  cases.push_back(asym(with_group(of("auto_awq-W4A16G32-asym", "auto_awq", "W4A16"), 32)));
  cases.push_back(from(asym(with_group(of("auto_awq-W4A16G32-asym-bias-fp32", "auto_awq", "W4A16"), 32)), kLlamaF32));

  cases.push_back(mixed(of("mixed-auto_round-W4A16", "auto_round", "W4A16"), kMixedConfig));
  cases.push_back(asym(mixed(of("mixed-auto_round-W4A16-asym", "auto_round", "W4A16"), kAsymConfig)));
  cases.push_back(mixed(of("mixed-auto_gptq-W4A16", "auto_gptq", "W4A16"), kMixedConfig));
  cases.push_back(mixed(of("mixed-auto_awq-W4A16", "auto_awq", "W4A16"), kAwqConfig));
  for (const char* format : {"auto_round", "auto_gptq", "auto_awq"})
    cases.push_back(with_head(of(std::string("lmhead-") + format + "-W4A16", format, "W4A16")));
  cases.push_back(from(of("qwen3tied-auto_round-W4A16", "auto_round", "W4A16"), kQwen3));
  cases.push_back(from(of("qwen3tied-auto_gptq-W4A16", "auto_gptq", "W4A16"), kQwen3));
  cases.push_back(from(asym(of("qwen3tied-auto_awq-W4A16", "auto_awq", "W4A16")), kQwen3));
  cases.push_back(of("shard200KB-auto_round-W4A16", "auto_round", "W4A16"));
  cases.back().max_shard_bytes = 200 * 1024;
  cases.push_back(of("tuned1-auto_round-W4A16", "auto_round", "W4A16"));
  cases.back().iters = 1;
  cases.push_back(of("fake-W4A16", "fake", "W4A16"));
  add_llm_compressor(cases);
  add_mlx(cases);
  add_float_auto_round(cases);
  add_float_llm_compressor(cases);
  add_fake(cases);
  return cases;
}

}  // namespace

std::span<const GoldenCase> golden_cases() {
  static const std::vector<GoldenCase> kCases = make_cases();
  return kCases;
}

std::vector<std::string> command_flags(const GoldenCase& golden) {
  std::vector<std::string> flags = {"--scheme",    golden.scheme, "--format",
                                    golden.format, "--iters",     std::to_string(golden.iters)};
  if (golden.iters == 0) flags.emplace_back("--disable_opt_rtn");
  if (golden.group_size) flags.insert(flags.end(), {"--group_size", std::to_string(*golden.group_size)});
  if (golden.asym) flags.emplace_back("--asym");
  if (!golden.layer_config.empty()) flags.insert(flags.end(), {"--layer_config", golden.layer_config});
  if (!golden.ignore_layers.empty()) flags.insert(flags.end(), {"--ignore_layers", golden.ignore_layers});
  if (golden.quant_lm_head) flags.emplace_back("--quant_lm_head");
  if (!golden.static_kv_dtype.empty()) flags.insert(flags.end(), {"--static_kv_dtype", golden.static_kv_dtype});
  if (golden.max_shard_bytes < int64_t{1} << 30)
    flags.insert(flags.end(), {"--max_shard_size", std::to_string(golden.max_shard_bytes)});
  return flags;
}

std::string golden_root() {
  return std::string(ARKIT_TEST_DATA) + "/golden";
}

}  // namespace arkit::test
