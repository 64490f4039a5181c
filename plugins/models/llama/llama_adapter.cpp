// Llama and Mistral: the plain llama-like decoder, with biases by flag (llama) or a sliding window (mistral).
#include <array>
#include <memory>

#include <arkit/plugin.h>
#include <arkit/sdk/llama_like.h>
#include <arkit/str.h>

namespace arkit {
namespace {

sdk::LlamaLikeConfig llama_config(const sdk::ConfigReader& in) {
  sdk::LlamaLikeConfig c = sdk::read_llama_like(in, {});
  c.qkv_bias = c.o_bias = in.flag("attention_bias", false);
  c.mlp_bias = in.flag("mlp_bias", false);
  return c;
}

// The window is on for every block; an absent key means 4096, null means none.
sdk::LlamaLikeConfig mistral_config(const sdk::ConfigReader& in) {
  sdk::LlamaLikeConfig c =
      sdk::read_llama_like(in, {.intermediate_size = 14336, .kv_heads = 8, .max_positions = 131072});
  constexpr int64_t kLongest = int64_t{1} << 32;
  const std::optional<int64_t> window =
      in.object().contains("sliding_window") ? in.optional_positive("sliding_window", kLongest) : 4096;
  c.windows = sdk::block_windows(
      in, c.num_blocks, window, [](int64_t, int64_t) { return true; }, 0);
  return c;
}

class LlamaAdapter final : public ModelAdapter {
 public:
  const AdapterInfo& info() const noexcept override {
    static constexpr std::array<std::string_view, 2> kTypes = {"llama", "mistral"};
    static const AdapterInfo kInfo = {"llama", "Llama 2, 3, 3.1, 3.2, SmolLM2, Falcon3, Mistral", kTypes};
    return kInfo;
  }

  Verdict matches(const json::Object& config) const override { return sdk::match_model_type(config, info()); }

  std::unique_ptr<Model> open(const ModelSource& source, at::ScalarType dtype) const override {
    const sdk::ConfigReader in(source.config(), sdk::config_name(source));
    const bool mistral = in.text("model_type", "llama") == "mistral";
    return std::make_unique<sdk::LlamaLikeModel>(mistral ? mistral_config(in) : llama_config(in), source, dtype);
  }
};

}  // namespace
}  // namespace arkit

ARKIT_PLUGIN("org.arkit.model.llama", "0.1.0", "arkit", "Apache-2.0", "https://github.com/arkit/arkit",
             arkit::component<arkit::ModelAdapter, arkit::LlamaAdapter>("llama", "Llama and Mistral families"));
