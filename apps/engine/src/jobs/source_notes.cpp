#include "jobs/source_notes.h"

#include <arkit/json.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/str.h>

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
                    "format (--format llm_compressor, auto_round) is run with them"));
}

void warn_about_backend(const std::string& backend, const ModelSource& source, Reporter& reporter) {
  if (!backend.empty() && sdk::packed_layers(source).empty())
    reporter.warn(str("'", source.path().string(), "' has no packed layers: --backend has no effect on it"));
}

}  // namespace arkit
