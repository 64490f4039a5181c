#pragma once
// What the end of a run reads of its source besides weights: labels for the model card, texts that travel. All of it is
// judged before the start, so that no finished work is lost to a line nobody computes with.

#include <filesystem>
#include <string>
#include <string_view>

#include <arkit/export.h>
#include <arkit/json.h>
#include <arkit/log.h>
#include <arkit/model_source.h>

namespace arkit {

// A key that is only shown to people; empty when it is absent or of another type than a string.
[[nodiscard]] std::string text_label(const json::Object& config, std::string_view key);

// Does the path lead to a file that can be read from end to end? Never throws.
[[nodiscard]] bool is_regular(const std::filesystem::path& path) noexcept;

// Warns about labels of the wrong type, which the model card will go without. Throws ErrorCode::input for a companion
// file that cannot be read or rewritten.
ARKIT_INTERNAL void judge_source_texts(const ModelSource& source, Reporter& reporter);

// A line about the weights in the folder of the source that no export takes along: copies in other formats, models and
// adapters of their own.
ARKIT_INTERNAL void say_what_stays(const ModelSource& source, Reporter& reporter);

}  // namespace arkit
