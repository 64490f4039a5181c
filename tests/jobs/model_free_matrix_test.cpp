// Model-free or not, the same numbers: every scheme that needs no samples in every format that takes it.
#include <ATen/ATen.h>

#include <arkit/json.h>
#include <arkit/model_source.h>
#include <arkit/scheme.h>
#include <arkit/sdk/forwarding_source.h>

#include "jobs/job_testing.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;
using testing::TemporaryFolder;

struct Cell {
  std::string scheme, format;
  bool asym = false;
  bool weights_alone = false;
};

// The cells of the matrix of formats and schemes, both symmetries.
std::vector<Cell> cells() {
  const std::vector<std::string> schemes = {"W2A16",   "W3A16", "W4A16", "W8A16",     "FP8_BLOCK",
                                            "FPW8A16", "MXFP4", "MXFP8", "INT8_W8A8", "NVFP4_E5M3"};
  const json::Object listed = list_things("formats", testing::registry());
  std::vector<Cell> all;
  for (const json::Value& row : listed.at("formats").as_array()) {
    const json::Object& verdicts = row.at("schemes").as_object();
    const auto yes = [&](const std::string& scheme) {
      const json::Value* verdict = verdicts.if_contains(scheme);
      return verdict != nullptr && verdict->is_string() && verdict->get_string() == "yes";
    };
    const std::string format(row.at("format").as_string());
    if (yes("NVFP4")) all.push_back({.scheme = "NVFP4", .format = format, .weights_alone = true});
    for (const std::string& scheme : schemes) {
      if (yes(scheme)) all.push_back({scheme, format});
      if (yes(scheme + " asym")) all.push_back({scheme, format, true});
    }
  }
  return all;
}

QuantizeOptions options_of(const Cell& cell, bool model_free, const fs::path& out) {
  QuantizeOptions options;
  options.model = testing::tiny_model("source-llama-bf16");
  options.output_dir = out;
  options.scheme = cell.scheme;
  options.formats = {cell.format};
  if (cell.asym) options.overrides.sym = false;
  if (cell.weights_alone) options.overrides.act_bits = 16;
  options.recipe = "rtn";
  options.model_free = model_free;
  return options;
}

// The first tensor that differs; of packed layers codes and scales, as a model-free run may lay them out otherwise.
std::string first_difference(const fs::path& a, const fs::path& b) {
  const auto left = open_source(a.string(), testing::registry()), right = open_source(b.string(), testing::registry());
  const auto same = [](const at::Tensor& x, const at::Tensor& y) {
    return x.defined() == y.defined() && (!x.defined() || at::equal(x.to(at::kFloat), y.to(at::kFloat)));
  };
  if (sdk::packed_layers(*left).size() != sdk::packed_layers(*right).size()) return "the number of packed layers";
  for (const LinearSpec& spec : sdk::packed_layers(*left)) {
    const QuantizedWeight x = sdk::packed_of(*left).unpack(spec.name), y = sdk::packed_of(*right).unpack(spec.name);
    if (!same(x.codes, y.codes) || !same(x.scale, y.scale) || !same(x.zero_point, y.zero_point) ||
        !same(x.global_scale, y.global_scale))
      return spec.name;
  }
  for (const TensorInfo& tensor : left->weights().tensors()) {
    const TensorInfo* other = right->weights().find(tensor.name);
    const bool plain = tensor.name.ends_with(".weight") || tensor.name.ends_with(".bias");
    if (plain && (other == nullptr || !same(left->weights().load(tensor.name), right->weights().load(tensor.name))))
      return tensor.name;
  }
  return {};
}

TEST(ModelFreeMatrix, EqualsTheRegularRunInEveryCell) {
  const std::vector<Cell> all = cells();
  ASSERT_GT(all.size(), 60U);
  Reporter silent;
  int compared = 0;
  for (const Cell& cell : all) {
    const std::string name = cell.scheme + (cell.asym ? " asym" : "") + " in " + cell.format;
    SCOPED_TRACE(name);
    const TemporaryFolder folder;
    const QuantizeOptions regular = options_of(cell, false, folder.path() / "regular");
    const QuantizeOptions model_free = options_of(cell, true, folder.path() / "model_free");
    (void)quantize(model_free, testing::registry(), silent);
    (void)quantize(regular, testing::registry(), silent);
    EXPECT_EQ(first_difference(regular.output_dir, model_free.output_dir), "");
    ++compared;
  }
  EXPECT_GT(compared, 60);
}

}  // namespace
}  // namespace arkit
