#pragma once
// Reads the tensors of tests/data/schemes/*.json: {"shape", "dtype", "data"}.

#include <string>

#include <ATen/ATen.h>

#include <arkit/json.h>

namespace arkit::testing {

inline at::Tensor tensor_of(const json::Value& value) {
  const json::Object& object = value.as_object();
  std::vector<int64_t> shape;
  for (const json::Value& size : object.at("shape").as_array()) shape.push_back(size.to_number<int64_t>());
  std::vector<float> data;
  for (const json::Value& x : object.at("data").as_array()) data.push_back(static_cast<float>(x.to_number<double>()));
  const std::string dtype(object.at("dtype").as_string());
  const at::ScalarType type = dtype == "bfloat16" ? at::kBFloat16 : dtype == "float16" ? at::kHalf : at::kFloat;
  return at::tensor(data, at::kFloat).reshape(shape).to(type);
}

// The member `key` as a tensor, or an undefined one.
inline at::Tensor tensor_at(const json::Object& object, std::string_view key) {
  const json::Value* value = json::find(object, key);
  return value != nullptr && value->is_object() ? tensor_of(*value) : at::Tensor();
}

}  // namespace arkit::testing
