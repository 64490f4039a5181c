#pragma once
// What is known of mlx-lm's model classes (0.32.2, read 2026-11): it has one file a model_type, whose class reads some
// keys of config.json, fills in what is missing in its own way, and refuses tensors it has no place for.

#include <string>
#include <string_view>

namespace arkit::mlx {

// How a class takes the experts of a mixture, which it keeps as one 3-D tensor a projection.
enum class Experts {
  none,     // not known to have any
  joins,    // of packed ones too: one by one is fine
  stacked,  // under the name it keeps them by, joined by us
  refused   // it rebuilds them from plain tensors of its source, and would lose or misread packed ones
};

struct ModelClass {
  bool known = false;               // there is a class of this name
  bool scales_rope = false;         // reads rope_scaling
  bool reads_parameters = false;    // reads rope_parameters where transformers 5 puts them
  bool nested = false;              // reads text_config
  Experts experts = Experts::none;  // of language models
};

[[nodiscard]] ModelClass model_class(std::string_view model_type);

// The base of the rotary embedding that transformers takes where config.json names none.
[[nodiscard]] double default_theta(std::string_view model_type);

}  // namespace arkit::mlx
