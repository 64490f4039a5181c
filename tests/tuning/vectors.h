#pragma once
// Reads the vectors of tests/data/tuning and compares tensors with a message that names the first difference.

#include <string>

#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>

#include <arkit/json.h>

namespace arkit::test {

[[nodiscard]] const json::Object& vector_case(const std::string& name);
[[nodiscard]] at::Tensor tensor_of(const json::Value& value);  // {"shape", "dtype", "data"} as f32
[[nodiscard]] std::vector<double> numbers_of(const json::Value& value);

// How many elements differ by more than `tolerance`.
[[nodiscard]] int64_t count_different(const at::Tensor& actual, const at::Tensor& expected, double tolerance);
[[nodiscard]] ::testing::AssertionResult all_close(const at::Tensor& actual, const at::Tensor& expected,
                                                   double tolerance);

}  // namespace arkit::test
