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
  // (formats.md 0.2). Ours are the quantizer's.
  cases.back().deviation.other_bytes = {"weight_packed$"};
  cases.push_back(from(with_group(of("llm_compressor-W4A16G32-bias-fp32", format, "W4A16"), 32), kLlamaF32));
  cases.push_back(of("auto_round_llm_compressor-W4A16", "auto_round:llm_compressor", "W4A16"));
  cases.push_back(mixed(of("mixed-llm_compressor-W4A16", format, "W4A16"), kCompressedConfig));
  cases.push_back(with_head(of("lmhead-llm_compressor-W4A16", format, "W4A16")));
  cases.push_back(of("lowcpu-llm_compressor-W4A16", format, "W4A16"));
  cases.push_back(from(of("qwen3tied-llm_compressor-W4A16", format, "W4A16"), kQwen3));
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
  cases.back().allow_w8_asym = true;
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
  if (golden.max_shard_bytes < int64_t{1} << 30)
    flags.insert(flags.end(), {"--max_shard_size", std::to_string(golden.max_shard_bytes)});
  return flags;
}

std::string golden_root() {
  return std::string(ARKIT_TEST_DATA) + "/golden";
}

}  // namespace arkit::test
