// Bytes as an importance matrix in either form, and what is read written again.

#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>

#include <ATen/ATen.h>

#include <arkit/error.h>

#include "gguf_imatrix.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace arkit;
  try {
    const ImportanceMatrix matrix = gguf::parse_imatrix(std::as_bytes(std::span(data, size)), "'fuzz'");
    size_t numbers = 0;
    for (const ImportanceEntry& entry : matrix.entries) {
      if (entry.sums.dim() != 2 || entry.sums.size(0) != entry.counts.numel()) std::abort();
      numbers += static_cast<size_t>(entry.sums.numel());
    }
    if (numbers * sizeof(float) > size) std::abort();  // more than the file holds
    const std::string again = gguf::imatrix_bytes(matrix, gguf::ImatrixForm::gguf);
    if (gguf::parse_imatrix(std::as_bytes(std::span(again)), "'again'").entries.size() != matrix.entries.size())
      std::abort();
    (void)gguf::imatrix_bytes(matrix, gguf::ImatrixForm::dat);
  } catch (const Error&) {  // refused: fine
  }
  return 0;
}
