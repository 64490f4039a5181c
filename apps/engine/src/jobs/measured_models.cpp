#include "jobs/measured_models.h"

#include <vector>

#include <arkit/sdk/forwarding_source.h>
#include <arkit/str.h>

#include "jobs/source_notes.h"
#include "jobs/token_source.h"

namespace arkit {

MeasuredModels::MeasuredModels(const ModelSource& source, const ModelSource* reference, at::ScalarType dtype,
                               const BackendWish& wish, const Registry& registry, Reporter& reporter)
    : source_(source), reference_source_(reference) {
  warn_about_source(source, reporter);
  if (reference != nullptr) warn_about_source(*reference, reporter);
  if (reference == nullptr || sdk::packed_layers(*reference).empty()) warn_about_backend(wish, source, reporter);
  model_ = std::make_unique<Engine>(source, registry, dtype, wish, reporter);
  if (reference != nullptr) reference_ = std::make_unique<Engine>(*reference, registry, dtype, wish, reporter);
}

Tokenizer MeasuredModels::tokenizer() const {
  const TokenizerTexts* own = source_.tokenizer();
  const bool none = own == nullptr || own->tokenizer_json().empty();
  return tokenizer_of(none && reference_source_ != nullptr ? *reference_source_ : source_);
}

void MeasuredModels::check_ids(const at::Tensor& ids, const std::string& what) const {
  model_->check_ids(ids, what);
  if (reference_) reference_->check_ids(ids, what);
}

at::Tensor MeasuredModels::read_windows(const std::filesystem::path& text, const std::filesystem::path& ids,
                                        int64_t seqlen, const std::optional<int64_t>& max_windows) const {
  const at::Tensor tokens = text.empty() ? read_input_ids(ids) : tokenize_file(text, tokenizer());
  at::Tensor windows = make_windows(tokens, seqlen, max_windows);
  check_ids(windows, str("'", (text.empty() ? ids : text).string(), "'"));
  return windows;
}

Residency MeasuredModels::settle(const std::string& asked, int64_t passes) const {
  std::vector<const ModelSource*> models = {&source_};
  if (reference_source_ != nullptr) models.push_back(reference_source_);
  Residency chosen = choose_residency(asked, models, model_->dtype(), passes);
  if (chosen.all) model_->keep_resident();
  if (chosen.all && reference_) reference_->keep_resident();
  return chosen;
}

}  // namespace arkit
