// Bytes as a GGUF file: the container, the numbers of its tensors, then everything made from its metadata.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <vector>

#include <arkit/error.h>
#include <arkit/json.h>

#include "gguf_architecture.h"
#include "gguf_dequantize.h"
#include "gguf_file.h"
#include "gguf_tokenizer.h"

namespace {

// The first and the last blocks of a tensor, where the sanitizer sees a byte too many on either side.
void read_ends(const arkit::gguf::TensorEntry& tensor, const std::byte* file) {
  constexpr int64_t kMostBlocks = 64;
  const int64_t blocks = tensor.bytes / tensor.type->block_bytes, some = std::min(blocks, kMostBlocks);
  std::vector<float> numbers(static_cast<size_t>(some * tensor.type->block_size));
  for (const int64_t first : {int64_t{0}, blocks - some})
    arkit::gguf::dequantize(tensor.type->type, file + tensor.offset + first * tensor.type->block_bytes,
                            some * tensor.type->block_size, numbers.data());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* input, size_t size) {
  using namespace arkit;
  // Memory of its own size: a byte behind it is nobody's.
  const auto copy = std::make_unique<uint8_t[]>(size);
  std::copy_n(input, size, copy.get());
  const uint8_t* data = copy.get();
  try {
    const gguf::File file = gguf::parse_gguf(std::as_bytes(std::span(data, size)), "'fuzz'");
    for (const auto& tensor : file.tensors)
      if (tensor.offset < 0 || tensor.bytes < 0 || tensor.offset + tensor.bytes > static_cast<int64_t>(size))
        std::abort();
    for (const auto& tensor : file.tensors) read_ends(tensor, reinterpret_cast<const std::byte*>(data));
    const std::string tokenizer = gguf::make_tokenizer_json(file.metadata);
    if (!tokenizer.empty()) (void)json::parse(tokenizer, "'fuzz' tokenizer");
    const auto& architecture = gguf::architecture_of(file.metadata);
    const auto parameters = gguf::read_hyper_parameters(file.metadata, architecture);
    for (const auto& tensor : file.tensors) (void)gguf::hf_tensor_name(tensor.name, parameters.block_count);
    const json::Object config = gguf::make_config(file, architecture, parameters, {});
    (void)json::dump(gguf::make_tokenizer_config(file.metadata, config));
    (void)json::dump(gguf::make_generation_config(file.metadata));
  } catch (const Error&) {  // refused: fine
  }
  return 0;
}
