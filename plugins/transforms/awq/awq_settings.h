#pragma once
// What users may set: awq{"n_grid": 40}.

#include <cstdint>

#include <arkit/json.h>

namespace arkit::awq {

enum class Duo { off, on, both };

struct Settings {
  int64_t n_grid = 20;   // exponents tried at each place
  Duo duo = Duo::on;     // do weights decide beside activations?
  int64_t nsamples = 8;  // of the calibration samples the search looks at
};

// Throws ErrorCode::usage for an unknown name or a value out of range.
[[nodiscard]] Settings read_settings(const json::Object& given);
// Every setting with its value.
[[nodiscard]] json::Object to_json(const Settings& settings);

}  // namespace arkit::awq
