#pragma once
// Is an export the one the reference made? Tensors bit for bit, JSON files as parsed objects without version keys.

#include <filesystem>
#include <string>

namespace arkit::test {

// The first difference found, with both values; empty = equal. `golden` holds either weights or tensor_digests.json, or
// neither where the reference's were not kept: then only the JSON files are compared. Tokenizer files are not compared.
[[nodiscard]] std::string first_difference(const std::filesystem::path& output, const std::filesystem::path& golden);

}  // namespace arkit::test
