#pragma once

#include <filesystem>
#include <string>

#include <arkit/json.h>
#include <arkit/model_source.h>
#include <arkit/sdk/forwarding_source.h>

namespace arkit::tests {

// A real checkpoint with another configuration; "<absent>" takes a key away.
class PatchedSource final : public sdk::ForwardingSource {
 public:
  PatchedSource(const std::filesystem::path& folder, const std::string& patch)
      : ForwardingSource(open_hf_folder(folder)) {
    config_ = inner().config();
    const json::Value changes = json::parse(patch, "patch");
    for (const auto& [key, value] : changes.as_object()) {
      if (value == json::Value("<absent>"))
        config_.erase(key);
      else
        config_[key] = value;
    }
  }
  const json::Object& config() const override { return config_; }

 private:
  json::Object config_;
};

}  // namespace arkit::tests
