#include "jobs/source_notes.h"

#include <string>
#include <utility>
#include <vector>

#include <arkit/json.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/str.h>

#include "quant/runtime_rules.h"
#include "source/canonical_source.h"

namespace arkit {
namespace {

constexpr const char* kConfig = "quantization_config";
constexpr int64_t kFullBits = 16;

}  // namespace

void warn_about_source(const ModelSource& source, Reporter& reporter) {
  warn_of_denied_biases(source, reporter);
  if (!sdk::packed_layers(source).empty()) return;
  const json::Value* found = json::find(source.config(), kConfig);
  const json::Object* config = found == nullptr ? nullptr : found->if_object();
  if (config == nullptr) return;
  const int64_t bits = json::get_int(*config, "act_bits", kConfig).value_or(kFullBits);
  if (bits >= kFullBits) return;
  reporter.warn(str("'", source.path().string(), "': its configuration asks for activations of ", bits,
                    " bits, which weights of full size do not bring along; they are computed in full here. A packed "
                    "format ('arkit list formats') is run with them"));
}

void warn_about_backend(const BackendWish& wish, const ModelSource& source, Reporter& reporter) {
  if (!sdk::packed_layers(source).empty()) return;
  std::vector<std::string> idle;
  if (!wish.backend.empty()) idle.emplace_back("--backend");
  if (!wish.device.empty()) idle.emplace_back("--device");
  if (!wish.prepared_cache.empty()) idle.emplace_back("--prepared_cache");
  if (!idle.empty())
    reporter.warn(str("'", source.path().string(), "' has no packed layers: ", listed(idle),
                      idle.size() == 1 ? " has" : " have", " no effect on it"));
}

void describe_backends(const Engine& engine, json::Object& result) {
  json::Object backends;
  for (const auto& [name, count] : engine.layers_by_backend()) backends[name] = count;
  result["backends"] = std::move(backends);
  if (const PreparedCache* cache = engine.prepared_cache())
    result["prepared_cache"] = json::Object{{"used", cache->used()}, {"written", cache->written()}};
}

}  // namespace arkit
