// Qwen2, Qwen2.5 and Qwen3: llama-like with biases on q, k, v (qwen2) or normalised query and key heads (qwen3).
#include <array>
#include <memory>

#include <arkit/plugin.h>
#include <arkit/sdk/llama_like.h>
#include <arkit/str.h>

namespace arkit {
namespace {

// A window only counts with use_sliding_window, and then from block max_window_layers on.
std::vector<int64_t> qwen_windows(const sdk::ConfigReader& in, int64_t num_blocks) {
  constexpr int64_t kLongest = int64_t{1} << 32;
  std::optional<int64_t> window;
  if (in.flag("use_sliding_window", false))
    window = in.object().contains("sliding_window") ? in.optional_positive("sliding_window", kLongest) : 4096;
  const int64_t first = json::get_int(in.object(), "max_window_layers", in.what()).value_or(28);
  return sdk::block_windows(
      in, num_blocks, window, [](int64_t block, int64_t from) { return block >= from; }, first);
}

sdk::LlamaLikeConfig qwen_config(const sdk::ConfigReader& in) {
  const bool qwen3 = in.text("model_type", "qwen2") == "qwen3";
  sdk::LlamaLikeDefaults defaults{
      .vocab_size = 151936, .intermediate_size = 22016, .kv_heads = 32, .max_positions = 32768};
  if (qwen3) defaults.head_dim = 128;
  sdk::LlamaLikeConfig c = sdk::read_llama_like(in, defaults);
  c.qk_norm = qwen3;
  c.qkv_bias = qwen3 ? in.flag("attention_bias", false) : true;
  c.o_bias = qwen3 && c.qkv_bias;
  c.windows = qwen_windows(in, c.num_blocks);
  return c;
}

class QwenAdapter final : public ModelAdapter {
 public:
  const AdapterInfo& info() const noexcept override {
    static constexpr std::array<std::string_view, 2> kTypes = {"qwen2", "qwen3"};
    static const AdapterInfo kInfo = {"qwen", "Qwen2, Qwen2.5, Qwen3 (dense)", kTypes};
    return kInfo;
  }

  Verdict matches(const json::Object& config) const override { return sdk::match_model_type(config, info()); }

  std::unique_ptr<Model> open(const ModelSource& source, at::ScalarType dtype) const override {
    const sdk::ConfigReader in(source.config(), sdk::config_name(source));
    return std::make_unique<sdk::LlamaLikeModel>(qwen_config(in), source, dtype);
  }
};

}  // namespace
}  // namespace arkit

ARKIT_PLUGIN("org.arkit.model.qwen", "0.1.0", "arkit", "Apache-2.0", "https://github.com/arkit/arkit",
             arkit::component<arkit::ModelAdapter, arkit::QwenAdapter>("qwen", "Qwen2 and Qwen3 families"));
