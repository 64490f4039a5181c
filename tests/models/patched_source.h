#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <arkit/json.h>
#include <arkit/model_source.h>

namespace arkit::tests {

// A real checkpoint with another configuration; "<absent>" takes a key away.
class PatchedSource final : public ModelSource {
 public:
  PatchedSource(const std::filesystem::path& folder, const std::string& patch) : inner_(open_hf_folder(folder)) {
    config_ = inner_->config();
    const json::Value changes = json::parse(patch, "patch");
    for (const auto& [key, value] : changes.as_object()) {
      if (value == json::Value("<absent>"))
        config_.erase(key);
      else
        config_[key] = value;
    }
  }
  std::string kind() const override { return inner_->kind(); }
  const std::filesystem::path& path() const override { return inner_->path(); }
  const json::Object& config() const override { return config_; }
  const WeightSource& weights() const override { return inner_->weights(); }
  std::string tokenizer_json() const override { return {}; }
  json::Object tokenizer_config() const override { return {}; }
  std::vector<CompanionFile> companions() const override { return {}; }

 private:
  std::unique_ptr<ModelSource> inner_;
  json::Object config_;
};

}  // namespace arkit::tests
