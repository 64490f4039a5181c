#pragma once
// What a tuner trains, by name.

#include <string_view>

#include <arkit/error.h>
#include <arkit/scheme.h>
#include <arkit/str.h>

namespace arkit::test {

inline Trainable& trainable(WeightTuner& tuner, std::string_view name) {
  for (Trainable& candidate : tuner.trainables())
    if (candidate.name == name) return candidate;
  throw Error(ErrorCode::internal, str("this tuner trains no '", name, "'"));
}

inline const at::Tensor& value(WeightTuner& tuner, std::string_view name) {
  return trainable(tuner, name).value;
}
inline const at::Tensor& gradient(WeightTuner& tuner, std::string_view name) {
  return trainable(tuner, name).gradient;
}

}  // namespace arkit::test
