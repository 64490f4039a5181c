#include "tuning/vectors.h"

#include <ATen/ATen.h>

#include <arkit/str.h>

namespace arkit::test {

const json::Object& vector_case(const std::string& name) {
  static const json::Value all = json::read_file(std::string(ARKIT_TEST_DATA) + "/tuning/signround.json");
  for (const json::Value& item : all.at("cases").as_array())
    if (item.at("name").as_string() == name) return item.as_object();
  throw std::runtime_error("no vector case " + name);
}

std::vector<double> numbers_of(const json::Value& value) {
  std::vector<double> out;
  for (const json::Value& x : value.as_array()) out.push_back(x.to_number<double>());
  return out;
}

at::Tensor tensor_of(const json::Value& value) {
  std::vector<int64_t> shape;
  for (const json::Value& d : value.at("shape").as_array()) shape.push_back(d.to_number<int64_t>());
  return at::tensor(numbers_of(value.at("data")), at::kDouble).to(at::kFloat).reshape(shape);
}

int64_t count_different(const at::Tensor& actual, const at::Tensor& expected, double tolerance) {
  return ((actual.to(at::kFloat) - expected.to(at::kFloat)).abs() > tolerance).sum().item<int64_t>();
}

::testing::AssertionResult all_close(const at::Tensor& actual, const at::Tensor& expected, double tolerance) {
  if (actual.sizes() != expected.sizes())
    return ::testing::AssertionFailure() << "shape " << actual.sizes() << ", expected " << expected.sizes();
  const at::Tensor a = actual.detach().to(at::kFloat).flatten(), e = expected.detach().to(at::kFloat).flatten();
  const at::Tensor bad = ((a - e).abs() > tolerance).logical_or(a.isnan()).nonzero();
  if (bad.size(0) == 0) return ::testing::AssertionSuccess();
  const int64_t first = bad[0][0].item<int64_t>();
  return ::testing::AssertionFailure() << bad.size(0) << " of " << a.numel() << " differ, first at " << first << ": "
                                       << a[first].item<float>() << ", expected " << e[first].item<float>();
}

}  // namespace arkit::test
