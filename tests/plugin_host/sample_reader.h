#pragma once
// The smallest useful component: a reader that says no to every path. Fixtures of this folder carry it.

#include <arkit/error.h>
#include <arkit/model_source.h>
#include <arkit/plugin.h>

namespace {

class SampleReader final : public arkit::ModelReader {
 public:
  const arkit::ReaderInfo& info() const noexcept override {
    static constexpr arkit::ReaderInfo kInfo{"sample", "reads nothing"};
    return kInfo;
  }
  arkit::Verdict matches(const std::filesystem::path&, const arkit::json::Object*) const override {
    return arkit::Verdict::no("the sample reader reads nothing");
  }
  // Throws across the shared object, as real readers do.
  std::unique_ptr<arkit::ModelSource> open(const std::filesystem::path& path) const override {
    arkit::throw_input("sample cannot open '" + path.string() + "'");
  }
};

}  // namespace
