#pragma once
// model.safetensors.index.json: which shard holds which tensor.

#include <map>
#include <set>
#include <string>
#include <string_view>

#include <arkit/json.h>

namespace arkit::io {

struct SafetensorsIndex {
  std::map<std::string, std::string, std::less<>> file_of;  // tensor -> shard
  std::set<std::string, std::less<>> files;
};

// Every shard is a plain name ending in ".safetensors". Throws ErrorCode::input; `what` names the index.
[[nodiscard]] SafetensorsIndex parse_safetensors_index(const json::Value& index, std::string_view what);

}  // namespace arkit::io
