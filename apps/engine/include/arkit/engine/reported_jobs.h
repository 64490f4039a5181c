#pragma once
// The functions of jobs.h and open_source.h that may have to download a model and take no Reporter, told to whom they
// say how far that is. The short forms say it to nobody.

#include <string>

#include <arkit/engine/jobs.h>
#include <arkit/log.h>

namespace arkit {

[[nodiscard]] ARKIT_EXPORT std::unique_ptr<ModelSource> open_source(const std::string& model, const Registry&,
                                                                    Reporter&);
[[nodiscard]] ARKIT_EXPORT json::Object inspect_model(const std::string& model_or_file, const Registry&, Reporter&);
[[nodiscard]] ARKIT_EXPORT json::Object tokenize(const std::string& model, const std::filesystem::path& text_file,
                                                 const Registry&, Reporter&);

}  // namespace arkit
