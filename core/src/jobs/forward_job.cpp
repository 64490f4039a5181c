// `arkit forward`: token ids in, logits out.
#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/jobs.h>
#include <arkit/model_source.h>
#include <arkit/str.h>

#include "inference/engine.h"
#include "inference/source_notes.h"
#include "io/safetensors_file.h"
#include "jobs/token_source.h"

namespace arkit {
namespace {

// An optional tensor of the input file with the shape of input_ids.
at::Tensor companion(const WeightSource& file, std::string_view name, const at::Tensor& ids) {
  if (file.find(name) == nullptr) return {};
  const at::Tensor tensor = file.load(name).to(at::kLong).clone();
  if (tensor.sizes() != ids.sizes()) throw_input(str("'", name, "' and 'input_ids' differ in shape"));
  return tensor;
}

}  // namespace

json::Object forward(const ForwardOptions& options, const Registry& registry, Reporter& reporter) {
  reporter.step("open the model");
  const std::unique_ptr<ModelSource> source = open_source(options.model, registry);
  warn_about_source(*source, reporter);
  warn_about_backend(options.backend, *source, reporter);
  Engine engine(*source, registry, compute_dtype(options.dtype), options.backend);

  at::Tensor ids = read_input_ids(options.input_ids);
  if (ids.dim() == 1) ids = ids.unsqueeze(0);
  if (ids.dim() != 2) throw_input(str("'", options.input_ids.string(), "': 'input_ids' must be [batch, seqlen]"));
  engine.check_ids(ids, str("'", options.input_ids.string(), "'"));
  const std::unique_ptr<WeightSource> file = open_safetensors(options.input_ids);
  const at::Tensor mask = companion(*file, "attention_mask", ids), positions = companion(*file, "position_ids", ids);
  if (positions.defined() && positions.min().item<int64_t>() < 0) throw_input("'position_ids' holds a negative number");

  reporter.step("compute logits");
  engine.load_all();
  const at::Tensor logits = engine.forward(ids, mask, positions, nullptr, false).to(at::kFloat);
  io::write_safetensors(options.output, {{"logits", logits}});

  json::Object result;
  result["output"] = options.output.string();
  result["shape"] = json::Array{logits.size(0), logits.size(1), logits.size(2)};
  result["dtype"] = options.dtype;
  json::Object backends;
  for (const auto& [name, count] : engine.layers_by_backend()) backends[name] = count;
  result["backends"] = std::move(backends);
  return result;
}

}  // namespace arkit
