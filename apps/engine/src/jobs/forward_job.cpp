// `arkit forward`: token ids in, logits out.
#include <ATen/ATen.h>

#include <arkit/engine/jobs.h>
#include <arkit/engine/reported_jobs.h>
#include <arkit/engine/resident_jobs.h>
#include <arkit/error.h>
#include <arkit/model_source.h>
#include <arkit/str.h>

#include "inference/engine.h"
#include "inference/head_walk.h"
#include "inference/residency.h"
#include "jobs/source_notes.h"
#include "jobs/token_source.h"
#include "util/heap.h"
#include "util/safetensors_file.h"
#include "util/tensor_cache.h"

namespace arkit {
namespace {

// An optional tensor of the input file with the shape of input_ids.
at::Tensor companion(const WeightSource& file, std::string_view name, const at::Tensor& ids) {
  if (file.find(name) == nullptr) return {};
  const at::Tensor tensor = file.load(name).to(at::kLong).clone();
  if (tensor.sizes() != ids.sizes()) throw_input(str("'", name, "' and 'input_ids' differ in shape"));
  return tensor;
}

at::Tensor block_by_block(Engine& engine, const at::Tensor& ids, const at::Tensor& mask, const at::Tensor& positions) {
  const TensorCacheScope reuse;
  const Model& model = engine.model();
  engine.load_rest();
  const ForwardContext context = model.context(ids.size(0), ids.size(1), mask, positions, {});
  at::Tensor hidden = model.embed(ids);
  for (int64_t block = 0; block < model.num_blocks(); ++block) {
    throw_if_interrupted();
    engine.load_block(block);
    hidden = engine.run_block(block, hidden, context);
    engine.release_block(block);
  }
  if (!engine.has_head_strips()) return engine.logits(hidden).to(at::kFloat);
  at::Tensor logits = at::empty({ids.size(0), ids.size(1), model.vocab_size()}, at::kFloat);
  for_each_strip(model.vocab_size(), model.hidden_size(), [&](int64_t first, int64_t count) {
    logits.narrow(2, first, count).copy_(engine.strip_logits(hidden, engine.head_strip(first, count)));
  });
  return logits;
}

}  // namespace

json::Object forward(const ForwardOptions& options, const Registry& registry, Reporter& reporter) {
  return forward(options, "auto", registry, reporter);
}

json::Object forward(const ForwardOptions& options, const std::string& resident, const Registry& registry,
                     Reporter& reporter) {
  return_large_blocks();
  reporter.step("open the model");
  const std::unique_ptr<ModelSource> source = open_source(options.model, registry, reporter);
  warn_about_source(*source, reporter);
  warn_about_backend(backend_wish(options), *source, reporter);
  Engine engine(*source, registry, compute_dtype(options.dtype), exact_wish(options), reporter);

  at::Tensor ids = read_input_ids(options.input_ids);
  if (ids.dim() == 1) ids = ids.unsqueeze(0);
  if (ids.dim() != 2) throw_input(str("'", options.input_ids.string(), "': 'input_ids' must be [batch, seqlen]"));
  engine.check_ids(ids, str("'", options.input_ids.string(), "'"));
  const std::unique_ptr<WeightSource> file = open_safetensors(options.input_ids);
  const at::Tensor mask = companion(*file, "attention_mask", ids), positions = companion(*file, "position_ids", ids);
  if (positions.defined() && positions.min().item<int64_t>() < 0) throw_input("'position_ids' holds a negative number");

  reporter.step("compute logits");
  const ModelSource* const models[] = {source.get()};
  const Residency residency = choose_residency(resident, models, engine.dtype(), 1);
  if (residency.all) engine.keep_resident();
  const at::Tensor logits = block_by_block(engine, ids, mask, positions);
  io::write_safetensors(options.output, {{"logits", logits}});

  json::Object result;
  result["output"] = options.output.string();
  result["shape"] = json::Array{logits.size(0), logits.size(1), logits.size(2)};
  result["dtype"] = options.dtype;
  describe_backends(engine, result);
  result["resident"] = residency.describe();
  return result;
}

}  // namespace arkit
