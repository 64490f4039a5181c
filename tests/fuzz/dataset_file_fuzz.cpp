// Bytes as a data set: the first chooses .json, .jsonl or .txt, and whether it is read as one of the known sets.

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include <arkit/error.h>

#include "calibration/documents.h"
#include "fuzz_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace arkit;
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    const fuzz::File file(data[0] == 't'                     ? "set.txt"
                          : data[0] == 'j' || data[0] == 'k' ? "set.json"
                                                             : "set.jsonl",
                          text);
    if (data[0] == 't') {
      if (calibration::read_running_text(file.path()).size() != text.size()) std::abort();
    } else if (data[0] == 'k' || data[0] == 'K') {
      for (const calibration::KnownDataset& known : calibration::known_datasets())
        (void)calibration::read_known_documents(file.path(), known);
    } else {
      for (const calibration::Document& document : calibration::read_documents(file.path()))
        if (!document.text.empty() && !document.messages.empty()) std::abort();
    }
  } catch (const Error&) {  // refused: fine
  }
  return 0;
}
