#include "verify/verify_testing.h"

#include <fstream>

#include <ATen/ATen.h>

#include <arkit/sdk/safetensors_layout.h>
#include <arkit/str.h>

namespace arkit::testing {

namespace fs = std::filesystem;

Folder::Folder(const fs::path& from) : from_(from) {
  const auto files = open_safetensors(from);
  for (const TensorInfo& info : files->tensors()) tensors.emplace(info.name, files->load(info.name).clone());
  config = json::read_file(from / "config.json").as_object();
}

void Folder::write(const fs::path& to) const {
  fs::create_directories(to);
  for (const fs::directory_entry& entry : fs::directory_iterator(from_)) {
    const std::string name = entry.path().filename().string();
    if (name.find("safetensors") == std::string::npos && name != "config.json")
      fs::copy(entry.path(), to / name, fs::copy_options::overwrite_existing | fs::copy_options::recursive);
  }
  std::vector<sdk::FileTensor> placed;
  for (const auto& [name, tensor] : tensors) placed.push_back({name, tensor.scalar_type(), tensor.sizes().vec()});
  const sdk::FileLayout layout = sdk::layout_file(std::move(placed));
  std::ofstream out(to / "model.safetensors", std::ios::binary);
  out << layout.header;
  for (const sdk::FileTensor& place : layout.tensors) {
    const at::Tensor tensor = tensors.at(place.name).contiguous();
    out.seekp(place.offset);
    out.write(static_cast<const char*>(tensor.const_data_ptr()), static_cast<std::streamsize>(tensor.nbytes()));
  }
  std::ofstream(to / "config.json") << json::dump(config, 2);
}

void export_model(const fs::path& model, const fs::path& to, const Tweak& tweak) {
  QuantizeOptions options;
  options.model = model.string();
  options.recipe = "rtn";
  options.overrides.group_size = 32;
  options.output_dir = to;
  if (tweak) tweak(options);
  Reporter silent;
  (void)quantize(options, registry(), silent);
}

json::Object verified(const fs::path& folder, const std::string& against) {
  Reporter silent;
  return verify({.directory = folder, .against = against}, registry(), silent);
}

std::string failures(const json::Object& report) {
  std::string text;
  for (const json::Value& check : report.at("checks").as_array())
    if (!check.at("passed").as_bool())
      text += str(check.at("name").as_string().c_str(), ": ", check.at("detail").as_string().c_str(), "\n");
  return text;
}

}  // namespace arkit::testing
