// A llama-like family with biases on q, k and v.
#include <arkit/plugin.h>
#include <arkit/sdk/family.h>

namespace {

// What the family is, as data (docs/FAMILIES.md of arkit). Where no key reaches, override layout(), or open() with a
// Model of your own.
constexpr char kFamily[] = R"(
name = "sample_plugin"
summary = "llama-like decoder with q, k and v biases"
model_types = ["sample_plugin"]

[attention]
bias = true
)";

class SamplePluginAdapter final : public arkit::sdk::FamilyAdapter {
 public:
  SamplePluginAdapter() : FamilyAdapter(arkit::sdk::parse_family(kFamily, "the family of sample_plugin")) {}
};

}  // namespace

ARKIT_PLUGIN("org.example.sample_plugin", "0.1.0", "Example", "Apache-2.0", "https://example.org",
             arkit::component<arkit::ModelAdapter, SamplePluginAdapter>("sample_plugin",
                                                                        "llama-like decoder with q, k and v biases"));
