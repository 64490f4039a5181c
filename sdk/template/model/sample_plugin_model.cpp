// A llama-like family with biases on q, k and v.
#include <array>

#include <arkit/plugin.h>
#include <arkit/sdk/llama_like.h>

namespace {

class SamplePluginAdapter final : public arkit::ModelAdapter {
 public:
  const arkit::AdapterInfo& info() const noexcept override {
    static constexpr std::array<std::string_view, 1> kTypes{"sample_plugin"};
    static constexpr arkit::AdapterInfo kInfo{"sample_plugin", "llama-like decoder with q, k and v biases", kTypes};
    return kInfo;
  }

  arkit::Verdict matches(const arkit::json::Object& config) const override {
    return arkit::sdk::match_model_type(config, info());
  }

  std::unique_ptr<arkit::Model> open(const arkit::ModelSource& source, at::ScalarType dtype) const override {
    const arkit::sdk::ConfigReader reader(source.config(), arkit::sdk::config_name(source));
    arkit::sdk::LlamaLikeConfig config = arkit::sdk::read_llama_like(reader, {});
    config.qkv_bias = true;
    return std::make_unique<arkit::sdk::LlamaLikeModel>(config, source, dtype);
  }
};

}  // namespace

ARKIT_PLUGIN("org.example.sample_plugin", "0.1.0", "Example", "Apache-2.0", "https://example.org",
             arkit::component<arkit::ModelAdapter, SamplePluginAdapter>("sample_plugin",
                                                                        "llama-like decoder with q, k and v biases"));
