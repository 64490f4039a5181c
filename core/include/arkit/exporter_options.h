#pragma once
// A further face of an Exporter that has options of its own: which tensor gets which type, how files are cut.

#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/export.h>

namespace arkit {

class Exporter;

// What was given of them: name -> values in their order, as typed.
using FormatWords = std::map<std::string, std::vector<std::string>, std::less<>>;

class ARKIT_EXPORT ExporterOptions {
 public:
  virtual ~ExporterOptions();
  // Those it takes, as the command line calls them ("tensor_type"); others come as --format_option NAME=VALUE.
  [[nodiscard]] virtual std::span<const std::string_view> option_names() const = 0;
  // The same format that does as told whatever it is asked. `given` has names of the above only; files are read here.
  // Throws ErrorCode::usage for a value it cannot take.
  [[nodiscard]] virtual std::shared_ptr<Exporter> with(const FormatWords& given) const = 0;
};

}  // namespace arkit
