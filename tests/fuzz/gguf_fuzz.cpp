// Bytes as a GGUF file: the container, then everything made from its metadata.

#include <cstdint>
#include <cstdlib>
#include <span>

#include <arkit/error.h>
#include <arkit/json.h>

#include "gguf_architecture.h"
#include "gguf_file.h"
#include "gguf_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace arkit;
  try {
    const gguf::File file = gguf::parse_gguf(std::as_bytes(std::span(data, size)), "'fuzz'");
    for (const auto& tensor : file.tensors)
      if (tensor.offset < 0 || tensor.bytes < 0 || tensor.offset + tensor.bytes > static_cast<int64_t>(size))
        std::abort();
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
