#include "jobs/rehearsal.h"

#include <memory>

#include <arkit/error.h>

#include "source/outlined_source.h"

namespace arkit {
namespace {

// The job itself will say everything else.
class ProgressAlone final : public Reporter {
 public:
  explicit ProgressAlone(Reporter& reporter) : reporter_(reporter) {}
  void progress(const Progress& progress) override { reporter_.progress(progress); }

 private:
  Reporter& reporter_;
};

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

}  // namespace

bool rehearse(const std::string& model, Reporter& reporter,
              const std::function<void(const std::string& path, Reporter& quiet)>& work) {
  const std::unique_ptr<hub::ModelOutline> outline = outline_of(model, reporter);
  if (outline == nullptr) return false;
  ProgressAlone quiet(reporter);
  try {
    work(outline->path().string(), quiet);
    return true;
  } catch (const hub::WeightsAbsent&) {
    return false;
  } catch (const Error& error) {
    throw Error(error.code(), replaced(error.what(), outline->path().string(), model));
  }
}

}  // namespace arkit
