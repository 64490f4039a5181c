#include <stdexcept>

#include "../sample_reader.h"

namespace {

class ThrowingReader final : public arkit::ModelReader {
 public:
  ThrowingReader() { throw std::runtime_error("no licence found"); }
  const arkit::ReaderInfo& info() const noexcept override {
    static constexpr arkit::ReaderInfo kInfo{"throwing", ""};
    return kInfo;
  }
  arkit::Verdict matches(const std::filesystem::path&, const arkit::json::Object*) const override {
    return arkit::Verdict::yes();
  }
  std::unique_ptr<arkit::ModelSource> open(const std::filesystem::path&) const override { return nullptr; }
};

}  // namespace

ARKIT_PLUGIN("org.example.throwing", "1.0", "Example", "Apache-2.0", "https://example.org",
             arkit::component<arkit::ModelReader, ThrowingReader>("throwing", "throws when it is created"),
             arkit::component<arkit::ModelReader, SampleReader>("misnamed", "its info() has another name"));
