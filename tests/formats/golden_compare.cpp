#include "formats/golden_compare.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>

#include <ATen/ATen.h>

#include <arkit/json.h>
#include <arkit/model_source.h>
#include <arkit/regex.h>
#include <arkit/sdk/safetensors_layout.h>
#include <arkit/str.h>

namespace arkit::test {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 4> kUnordered = {"modules_to_not_convert", "ignore", "targets",
                                                        "ignored_layers"};
constexpr std::array<std::string_view, 4> kCalibrated = {".input_scale", ".input_global_scale", ".k_scale", ".v_scale"};

bool matches_any(const std::vector<std::string>& patterns, const std::string& name) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const std::string& pattern) { return Regex(pattern, "deviation").search(name); });
}

bool is_calibrated(const std::string& name) {
  return std::any_of(kCalibrated.begin(), kCalibrated.end(), [&](std::string_view end) { return name.ends_with(end); });
}

// Sorted where the order means nothing; without the keys that name versions.
json::Value comparable(const json::Value& value, std::string_view key = {}) {
  if (value.is_object()) {
    json::Object out;
    for (const auto& member : value.get_object()) {
      if (member.key() == "autoround_version" || member.key() == "transformers_version") continue;
      out[member.key()] = comparable(member.value(), member.key());
    }
    return out;
  }
  if (!value.is_array()) return value;
  json::Array out;
  for (const json::Value& entry : value.get_array()) out.push_back(comparable(entry));
  if (std::find(kUnordered.begin(), kUnordered.end(), key) != kUnordered.end())
    std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.get_string() < b.get_string(); });
  return out;
}

std::string json_difference(const json::Value& got, const json::Value& expected, const std::string& where) {
  if (got == expected) return {};
  if (!got.is_object() || !expected.is_object())
    return str(where, " is ", json::dump(got), ", the reference has ", json::dump(expected));
  for (const auto& member : expected.get_object()) {
    const json::Value* other = got.get_object().if_contains(member.key());
    const std::string place = str(where, ".", std::string_view(member.key()));
    if (other == nullptr) return str(place, " is missing, the reference has ", json::dump(member.value()));
    if (std::string difference = json_difference(*other, member.value(), place); !difference.empty()) return difference;
  }
  for (const auto& member : got.get_object())
    if (!expected.get_object().contains(member.key()))
      return str(where, ".", std::string_view(member.key()), " is not in the reference");
  return {};
}

json::Value expected_file(const fs::path& path, const Deviation& deviation) {
  json::Value file = json::read_file(path);
  if (deviation.no_quantization_config) file.as_object().erase("quantization_config");
  if (deviation.config.empty()) return file;
  const bool whole = path.filename() == "config.json";
  json::Object& config = whole ? file.at("quantization_config").as_object() : file.as_object();
  for (const auto& [member, text] : deviation.config) config[member] = json::parse(text, "deviation");
  return file;
}

std::string file_difference(const fs::path& output, const fs::path& golden, const std::string& name,
                            const Deviation& deviation) {
  const bool left_out = deviation.no_quantization_config && name == "quantization_config.json";
  const bool here = fs::exists(output / name);
  const bool there = fs::exists(golden / name) && !left_out;
  if (here != there) return str("'", name, "' is ", here ? "written, the reference has none" : "missing");
  if (!here) return {};
  return json_difference(comparable(json::read_file(output / name)),
                         comparable(expected_file(golden / name, deviation)), name);
}

std::string describe(const TensorInfo& info) {
  return arkit::str(info.stored_type, " ", at::IntArrayRef(info.shape));
}

std::string tensor_difference(const at::Tensor& got, const at::Tensor& expected, const std::string& name) {
  const auto* a = static_cast<const uint8_t*>(got.const_data_ptr());
  const auto* b = static_cast<const uint8_t*>(expected.const_data_ptr());
  const auto bytes = static_cast<int64_t>(got.nbytes());
  if (std::memcmp(a, b, static_cast<size_t>(bytes)) == 0) return {};
  const auto at_byte = std::mismatch(a, a + bytes, b).first - a;
  const int64_t element = at_byte / static_cast<int64_t>(got.element_size());
  const at::Tensor x = got.flatten()[element];
  const at::Tensor y = expected.flatten()[element];
  return str("tensor '", name, "' element ", element, " is ", x.item<double>(), ", the reference has ",
             y.item<double>());
}

std::string calibrated_difference(double got, double expected, const std::string& name, const Deviation& deviation) {
  const double factor = deviation.calibrated_factor;
  if (factor == 0.0) return {};
  if (got >= expected / factor && got <= expected * factor) return {};
  return str("calibrated '", name, "' is ", got, ", the reference has ", expected);
}

std::string unexpected_tensor(const WeightSource& got, const std::function<bool(const std::string&)>& expected,
                              const Deviation& deviation) {
  for (const TensorInfo& info : got.tensors())
    if (!expected(info.name) && !matches_any(deviation.added, info.name))
      return str("tensor '", info.name, "' is not in the reference");
  for (const std::string& pattern : deviation.added) {
    const auto hit = [&](const TensorInfo& info) { return Regex(pattern, "deviation").search(info.name); };
    if (std::none_of(got.tensors().begin(), got.tensors().end(), hit))
      return str("no tensor '", pattern, "' was added");
  }
  return {};
}

std::string weights_difference(const WeightSource& got, const WeightSource& expected, const Deviation& deviation) {
  for (const TensorInfo& info : expected.tensors()) {
    const TensorInfo* ours = got.find(info.name);
    if (ours == nullptr) return str("tensor '", info.name, "' is missing");
    if (matches_any(deviation.other_dtype, info.name)) continue;
    if (describe(*ours) != describe(info))
      return str("tensor '", info.name, "' is ", describe(*ours), ", the reference has ", describe(info));
    if (matches_any(deviation.other_bytes, info.name)) continue;
    const at::Tensor a = got.load(info.name), b = expected.load(info.name);
    std::string difference = is_calibrated(info.name)
                                 ? calibrated_difference(a.item<double>(), b.item<double>(), info.name, deviation)
                                 : tensor_difference(a, b, info.name);
    if (!difference.empty()) return difference;
  }
  return unexpected_tensor(
      got, [&](const std::string& name) { return expected.find(name) != nullptr; }, deviation);
}

std::string fnv1a(const at::Tensor& tensor) {
  uint64_t value = 0xCBF29CE484222325U;
  const auto* bytes = static_cast<const uint8_t*>(tensor.const_data_ptr());
  for (size_t i = 0; i < tensor.nbytes(); ++i) value = (value ^ bytes[i]) * 0x100000001B3U;
  std::array<char, 17> text{};
  std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(value));
  return text.data();
}

std::string digests_difference(const WeightSource& got, const json::Object& expected, const Deviation& deviation) {
  for (const auto& member : expected) {
    const std::string name(member.key());
    const TensorInfo* ours = got.find(name);
    if (ours == nullptr) return str("tensor '", name, "' is missing");
    if (matches_any(deviation.other_dtype, name)) continue;
    json::Object digest = member.value().get_object();
    json::Object here;
    here["dtype"] = sdk::safetensors_dtype(ours->dtype);
    here["shape"] = json::Array(ours->shape.begin(), ours->shape.end());
    if (const json::Value* value = digest.if_contains("value")) {
      std::string difference =
          calibrated_difference(got.load(name).item<double>(), value->to_number<double>(), name, deviation);
      if (!difference.empty()) return difference;
      digest.erase("value");
      digest.erase("fnv1a");
    }
    if (matches_any(deviation.other_bytes, name))
      digest.erase("fnv1a");
    else if (digest.contains("fnv1a"))
      here["fnv1a"] = fnv1a(got.load(name));
    if (std::string difference = json_difference(here, digest, "tensor '" + name + "'"); !difference.empty())
      return difference;
  }
  return unexpected_tensor(
      got, [&](const std::string& name) { return expected.contains(name); }, deviation);
}

}  // namespace

std::string first_difference(const fs::path& output, const fs::path& golden, const Deviation& deviation) {
  for (const char* name : {"config.json", "quantization_config.json"})
    if (std::string difference = file_difference(output, golden, name, deviation); !difference.empty())
      return difference;
  if (std::string difference = file_difference(output, golden, "generation_config.json", {}); !difference.empty())
    return difference;
  const bool sharded = fs::exists(golden / "model.safetensors.index.json");
  if (sharded || fs::exists(golden / "model.safetensors"))
    if (std::string difference = file_difference(output, golden, "model.safetensors.index.json", {});
        !difference.empty())
      return difference;
  return first_tensor_difference(output, golden, deviation);
}

std::string first_tensor_difference(const fs::path& output, const fs::path& golden, const Deviation& deviation) {
  const auto got = open_safetensors(output);
  if (fs::exists(golden / "model.safetensors.index.json") || fs::exists(golden / "model.safetensors"))
    return weights_difference(*got, *open_safetensors(golden), deviation);
  if (!fs::exists(golden / "tensor_digests.json")) return {};
  const json::Value digests = json::read_file(golden / "tensor_digests.json");
  const json::Value* same_as = digests.get_object().if_contains("same_as");
  if (same_as != nullptr) {
    const fs::path other = golden.parent_path() / std::string(same_as->get_string());
    if (fs::exists(other / "model.safetensors")) return weights_difference(*got, *open_safetensors(other), deviation);
    return digests_difference(*got, json::read_file(other / "tensor_digests.json").get_object(), deviation);
  }
  return digests_difference(*got, digests.get_object(), deviation);
}

}  // namespace arkit::test
