#include "convert/convert_testing.h"

#include <cstring>
#include <fstream>

#include <ATen/ATen.h>

#include <arkit/sdk/safetensors_layout.h>
#include <arkit/str.h>

namespace arkit::testing {
namespace fs = std::filesystem;

void make_export(const fs::path& folder, const std::string& source, int bits, bool sym, int64_t group_size,
                 const std::vector<std::string>& formats) {
  QuantizeOptions options;
  options.model = tiny_model(source);
  options.output_dir = folder;
  options.recipe = "rtn";
  options.model_free = false;
  options.overrides.bits = bits;
  options.overrides.sym = sym;
  options.overrides.group_size = group_size;
  options.formats = formats;
  Reporter silent;
  (void)quantize(options, registry(), silent);
}

json::Object converted(const fs::path& from, const fs::path& to, const std::vector<std::string>& formats,
                       bool allow_rounding) {
  ConvertOptions options;
  options.model = from.string();
  options.output_dir = to;
  options.formats = formats;
  options.allow_rounding = allow_rounding;
  Reporter silent;
  return convert(options, registry(), silent);
}

json::Object compared(const fs::path& a, const fs::path& b) {
  Reporter silent;
  return diff({.a = a.string(), .b = b.string()}, registry(), silent);
}

std::string tensor_difference(const fs::path& a, const fs::path& b) {
  const auto left = open_safetensors(a), right = open_safetensors(b);
  if (left->tensors().size() != right->tensors().size())
    return str(left->tensors().size(), " tensors and ", right->tensors().size());
  for (const TensorInfo& info : left->tensors()) {
    const TensorInfo* other = right->find(info.name);
    if (other == nullptr) return info.name + " is missing";
    if (other->stored_type != info.stored_type || other->shape != info.shape)
      return info.name + " is " + info.stored_type + " and " + other->stored_type + ", or has another shape";
    const at::Tensor x = left->load(info.name), y = right->load(info.name);
    if (std::memcmp(x.const_data_ptr(), y.const_data_ptr(), x.nbytes()) != 0) return info.name + " differs";
  }
  return {};
}

void write_safetensors(const fs::path& file, const TensorMap& tensors) {
  std::vector<sdk::FileTensor> planned;
  for (const auto& [name, tensor] : tensors) planned.push_back({name, tensor.scalar_type(), tensor.sizes().vec()});
  const sdk::FileLayout layout = sdk::layout_file(std::move(planned));
  std::ofstream out(file, std::ios::binary);
  out << layout.header;
  for (const sdk::FileTensor& entry : layout.tensors) {
    const at::Tensor dense = tensors.at(entry.name).contiguous();
    out.write(static_cast<const char*>(dense.const_data_ptr()), static_cast<std::streamsize>(dense.nbytes()));
  }
}

void rewrite(const fs::path& from, const fs::path& to, const std::function<void(TensorMap&)>& change) {
  fs::create_directories(to);
  TensorMap tensors;
  const auto source = open_safetensors(from);
  for (const TensorInfo& info : source->tensors()) tensors[info.name] = source->load(info.name).clone();
  change(tensors);
  for (const fs::directory_entry& entry : fs::directory_iterator(from))
    if (entry.path().extension() == ".json" && entry.path().filename() != "model.safetensors.index.json")
      fs::copy_file(entry.path(), to / entry.path().filename());
  write_safetensors(to / "model.safetensors", tensors);
}

}  // namespace arkit::testing
