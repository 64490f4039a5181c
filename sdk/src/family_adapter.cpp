#include <algorithm>

#include <arkit/error.h>
#include <arkit/sdk/family.h>
#include <arkit/sdk/llama_like.h>
#include <arkit/str.h>

namespace arkit::sdk {

FamilyAdapter::FamilyAdapter(std::string name, std::string summary)
    : name_(std::move(name)), summary_(std::move(summary)), info_{name_, summary_, {}} {}

FamilyAdapter::FamilyAdapter(Family family) : FamilyAdapter(family.name, family.summary) {
  add(std::move(family));
}

void FamilyAdapter::add(Family family) {
  families_.push_back(std::make_unique<const Family>(std::move(family)));
  for (const std::string& type : families_.back()->model_types)
    if (std::find(types_.begin(), types_.end(), type) == types_.end()) types_.emplace_back(type);
  info_.model_types = types_;
}

const Family* FamilyAdapter::find(const json::Object& config) const {
  const json::Value* type = json::find(config, "model_type");
  if (type == nullptr || !type->is_string()) return nullptr;
  const auto holds = [&](const auto& condition) {
    const json::Value* given = json::find(config, condition.first);
    return (given != nullptr && given->is_bool() && given->get_bool()) == condition.second;
  };
  for (const auto& family : families_)
    for (const std::string& known : family->model_types)
      if (known == std::string_view(type->get_string()) && std::all_of(family->when.begin(), family->when.end(), holds))
        return family.get();
  return nullptr;
}

Verdict FamilyAdapter::matches(const json::Object& config) const {
  if (find(config) != nullptr) return Verdict::yes();
  const json::Value* given = json::find(config, "model_type");
  const std::string_view type = given != nullptr && given->is_string() ? std::string_view(given->get_string()) : "";
  return Verdict::no(str("model_type '", printable(type), "' is not of family ", name_));
}

ModelLayout FamilyAdapter::layout(const ModelSource& source) const {
  const Family* family = find(source.config());
  ARKIT_CHECK(family != nullptr, str("family ", name_, " was asked about a model that it does not match"));
  ModelLayout layout = family_layout(*family, source);
  require_llama_like(layout, source.path().string());
  return layout;
}

std::unique_ptr<Model> FamilyAdapter::open(const ModelSource& source, at::ScalarType dtype) const {
  return std::make_unique<LlamaLikeModel>(layout(source), source, dtype);
}

}  // namespace arkit::sdk
