#pragma once
// Before gigabytes of weights are fetched: what of a job can go wrong without them.

#include <functional>
#include <string>

#include <arkit/log.h>

namespace arkit {

// Where `model` is one of a hub whose weights are not here yet, `work` gets a path under which it opens without values
// (source/outlined_source.h), and a Reporter that passes on progress alone; what it throws is thrown, told of `model`
// instead of the path. Work that asks for values ends there: that question is answered when the weights are here.
// True = `work` was done to its end. Throws as locate_model() does.
bool rehearse(const std::string& model, Reporter& reporter,
              const std::function<void(const std::string& path, Reporter& quiet)>& work);

}  // namespace arkit
