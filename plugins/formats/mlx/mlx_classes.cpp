#include "mlx_classes.h"

#include <algorithm>
#include <array>
#include <span>

namespace arkit::mlx {
namespace {

using Name = std::string_view;

// mlx-lm loads these with the class of another.
constexpr std::array<std::pair<Name, Name>, 9> kSameAs = {{{"mistral", "llama"},
                                                           {"xverse", "llama"},
                                                           {"iquestcoder", "llama"},
                                                           {"llava", "mistral3"},
                                                           {"falcon_mamba", "mamba"},
                                                           {"kimi_k2", "deepseek_v3"},
                                                           {"joyai_llm_flash", "deepseek_v3"},
                                                           {"qwen2_5_vl", "qwen2_vl"},
                                                           {"minimax_m2", "minimax"}}};

constexpr std::array kScalesRope = {Name{"afmoe"},
                                    Name{"apertus"},
                                    Name{"bailing_hybrid"},
                                    Name{"bailing_moe"},
                                    Name{"bitnet"},
                                    Name{"bailing_moe_v3"},
                                    Name{"bailing_moe_linear"},
                                    Name{"deepseek"},
                                    Name{"deepseek_v2"},
                                    Name{"deepseek_v3"},
                                    Name{"deepseek_v32"},
                                    Name{"deepseek_v41"},
                                    Name{"dots1"},
                                    Name{"exaone"},
                                    Name{"exaone4"},
                                    Name{"exaone_moe"},
                                    Name{"falcon_h1"},
                                    Name{"gear"},
                                    Name{"gemma3_text"},
                                    Name{"gemma3n"},
                                    Name{"glm4_moe"},
                                    Name{"glm4_moe_lite"},
                                    Name{"glm_moe_dsa"},
                                    Name{"gpt_oss"},
                                    Name{"granite"},
                                    Name{"granitemoe"},
                                    Name{"hunyuan"},
                                    Name{"hunyuan_v1_dense"},
                                    Name{"internlm2"},
                                    Name{"internlm3"},
                                    Name{"iquestloopcoder"},
                                    Name{"kimi_linear"},
                                    Name{"kimi_vl"},
                                    Name{"llama"},
                                    Name{"llama4"},
                                    Name{"longcat_flash"},
                                    Name{"mimo"},
                                    Name{"minicpm"},
                                    Name{"longcat_flash_ngram"},
                                    Name{"minicpm3"},
                                    Name{"mistral4"},
                                    Name{"mixtral"},
                                    Name{"nanbeige"},
                                    Name{"nemotron-nas"},
                                    Name{"nemotron"},
                                    Name{"olmo2"},
                                    Name{"olmo3"},
                                    Name{"olmoe"},
                                    Name{"phi3"},
                                    Name{"phimoe"},
                                    Name{"qwen2"},
                                    Name{"qwen2_moe"},
                                    Name{"qwen3"},
                                    Name{"qwen3_5"},
                                    Name{"qwen3_moe"},
                                    Name{"qwen3_next"},
                                    Name{"seed_oss"},
                                    Name{"smollm3"},
                                    Name{"step3p5"},
                                    Name{"telechat3"},
                                    Name{"youtu_llm"}};
constexpr std::array kReadsParameters = {
    Name{"exaone_moe"}, Name{"gemma4_text"}, Name{"glm_moe_dsa"},  Name{"granitemoehybrid"}, Name{"laguna"},
    Name{"lfm2"},       Name{"lfm2_moe"},    Name{"mellum"},       Name{"minimax_m3_vl"},    Name{"ministral3"},
    Name{"mistral4"},   Name{"muse_spark"},  Name{"muse_glimmer"}, Name{"olmo_hybrid"},      Name{"qwen3"},
    Name{"qwen3_5"},    Name{"spark2_5"}};
constexpr std::array kNested = {
    Name{"gemma3"},   Name{"gemma3n"}, Name{"gemma4"},      Name{"kimi_k25"},      Name{"kimi_k3"},     Name{"kimi_vl"},
    Name{"lfm2-vl"},  Name{"llama4"},  Name{"mistral3"},    Name{"minimax_m3_vl"}, Name{"muse_spark"},  Name{"pixtral"},
    Name{"qwen2_vl"}, Name{"qwen3_5"}, Name{"qwen3_5_moe"}, Name{"qwen3_vl"},      Name{"qwen3_vl_moe"}};
constexpr std::array kNeither = {Name{"Klear"},
                                 Name{"afm7"},
                                 Name{"baichuan_m1"},
                                 Name{"cohere"},
                                 Name{"cohere2"},
                                 Name{"dbrx"},
                                 Name{"ernie4_5"},
                                 Name{"ernie4_5_moe"},
                                 Name{"gemma"},
                                 Name{"gemma2"},
                                 Name{"glm"},
                                 Name{"glm4"},
                                 Name{"gpt2"},
                                 Name{"gpt_bigcode"},
                                 Name{"gpt_neox"},
                                 Name{"gptj"},
                                 Name{"helium"},
                                 Name{"jamba"},
                                 Name{"lille-130m"},
                                 Name{"llama4_text"},
                                 Name{"mamba"},
                                 Name{"mamba2"},
                                 Name{"mimo_v2_flash"},
                                 Name{"minimax"},
                                 Name{"nanochat"},
                                 Name{"nemotron_h"},
                                 Name{"olmo"},
                                 Name{"openelm"},
                                 Name{"phi"},
                                 Name{"phi3small"},
                                 Name{"phixtral"},
                                 Name{"plamo"},
                                 Name{"plamo2"},
                                 Name{"plamo3"},
                                 Name{"prism_hadamard_qwen35"},
                                 Name{"qwen"},
                                 Name{"rwkv7"},
                                 Name{"recurrent_gemma"},
                                 Name{"stablelm"},
                                 Name{"starcoder2"},
                                 Name{"talkie"}};

// Their sanitize() does nothing else where experts are stacked already.
constexpr std::array kStacked = {Name{"deepseek"},  Name{"deepseek_v2"}, Name{"deepseek_v3"}, Name{"deepseek_v32"},
                                 Name{"glm4_moe"},  Name{"mixtral"},     Name{"olmoe"},       Name{"phimoe"},
                                 Name{"qwen2_moe"}, Name{"qwen3_moe"}};
constexpr std::array kJoins = {
    Name{"afmoe"},   Name{"bailing_hybrid"}, Name{"bailing_moe"}, Name{"bailing_moe_linear"}, Name{"dots1"},
    Name{"hunyuan"}, Name{"exaone_moe"},     Name{"jamba"},       Name{"glm4_moe_lite"},      Name{"laguna"},
    Name{"kimi_vl"}, Name{"longcat_flash"},  Name{"mistral4"},    Name{"mimo_v2_flash"},      Name{"minimax_m3_vl"}};

bool in(std::span<const Name> names, Name name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

ModelClass model_class(std::string_view model_type) {
  const auto* same = std::find_if(kSameAs.begin(), kSameAs.end(), [&](const auto& p) { return p.first == model_type; });
  const Name name = same == kSameAs.end() ? model_type : same->second;
  ModelClass found{.scales_rope = in(kScalesRope, name),
                   .reads_parameters = in(kReadsParameters, name),
                   .nested = in(kNested, name)};
  found.known = found.scales_rope || found.reads_parameters || found.nested || in(kNeither, name);
  found.experts = in(kStacked, name) ? Experts::stacked : in(kJoins, name) ? Experts::joins : Experts::refused;
  return found;
}

double default_theta(std::string_view model_type) {
  struct Base {
    Name model_type;
    double theta;
  };
  static constexpr std::array kBases = {
      Base{"apertus", 12e6},     Base{"bitnet", 5e5},  Base{"cohere", 5e5},        Base{"ernie4_5", 5e5},
      Base{"gpt_oss", 150e3},    Base{"helium", 1e5},  Base{"ernie4_5_moe", 5e5},  Base{"gemma3_text", 1e6},
      Base{"gemma3n_text", 1e6}, Base{"lfm2", 1e6},    Base{"lfm2_moe", 1e6},      Base{"llama4_text", 5e5},
      Base{"minimax", 1e6},      Base{"mixtral", 1e6}, Base{"longcat_flash", 1e7}, Base{"minimax_m2", 5e6},
      Base{"olmo3", 5e5},        Base{"phimoe", 1e6},  Base{"qwen2_vl_text", 1e6}, Base{"qwen2_5_vl_text", 1e6}};
  const auto* found =
      std::find_if(kBases.begin(), kBases.end(), [&](const Base& b) { return b.model_type == model_type; });
  return found == kBases.end() ? 1e4 : found->theta;
}

}  // namespace arkit::mlx
