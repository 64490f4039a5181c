#pragma once
// Tiny models with scales in their weights, as logits.

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include <arkit/engine/open_source.h>
#include <arkit/model_adapter.h>
#include <arkit/model_source.h>
#include <arkit/sdk/block_hooks.h>

#include "jobs/job_testing.h"
#include "transform/folded_source.h"
#include "transform/scale_places.h"

namespace arkit::testing {

inline const std::filesystem::path kModels = ARKIT_TEST_DATA "/models";

inline at::Tensor logits_of(const ModelSource& source) {
  const std::unique_ptr<Model> model = adapter_for(source, registry()).open(source, at::kFloat);
  model->load_rest();
  const at::Tensor ids = at::arange(0, 48, at::kLong).mul(37).remainder(251).reshape({2, 24});
  const ForwardContext context = model->context(ids.size(0), ids.size(1), {}, {}, {});
  sdk::PlainHook plain;
  at::Tensor hidden = model->embed(ids);
  for (int64_t block = 0; block < model->num_blocks(); ++block) {
    model->load_block(block);
    hidden = model->run_block(block, hidden, context, plain);
  }
  return model->logits(hidden, plain);
}

// Scales from 1/8 to 8 at every place of a model.
inline TransformRecord some_folds(const std::string& model, at::ScalarType norms) {
  const auto source = open_hf_folder(kModels / model);
  TransformRecord record{.name = "some", .settings = {}, .norms = norms, .folds = {}, .notes = {}};
  at::manual_seed(5);
  for (ScalePlace& place : scale_places(*source, adapter_for(*source, registry()).layout(*source))) {
    const at::Tensor scales = recorded_scales(at::rand({place.channels}).mul(6.0).sub(3.0).exp2());
    record.folds.push_back({std::move(place), scales, {}});
  }
  return record;
}

}  // namespace arkit::testing
