// A GGUF file as a model: every tensor in both views, some of its rows, every packed layer, the files beside it. Every
// byte that comes out is looked at, so that a memory checker sees one that nobody wrote.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/json.h>
#include <arkit/model_source.h>
#include <arkit/scheme.h>

#include "fuzz_file.h"
#include "gguf_source.h"

namespace {

using namespace arkit;

volatile unsigned sum_of_bytes;  // that the loop below is not taken away

void look_at(const at::Tensor& tensor) {
  const at::Tensor whole = tensor.contiguous();
  const auto* bytes = static_cast<const unsigned char*>(whole.const_data_ptr());
  unsigned sum = 0;
  for (size_t i = 0; i < whole.nbytes(); ++i) sum += bytes[i];
  sum_of_bytes = sum;
}

bool same_bytes(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a.contiguous(), y = b.contiguous();
  return x.scalar_type() == y.scalar_type() && x.sizes() == y.sizes() &&
         std::memcmp(x.const_data_ptr(), y.const_data_ptr(), x.nbytes()) == 0;
}

void read_all(const WeightSource& weights) {
  for (const TensorInfo& info : weights.tensors()) {
    const at::Tensor whole = weights.load(info.name);
    look_at(whole);
    if (info.shape.empty()) continue;
    const int64_t last = info.shape[0] - 1;
    if (!same_bytes(weights.load_rows(info.name, last, 1), whole.narrow(0, last, 1))) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const fuzz::File file("model.gguf", {reinterpret_cast<const char*>(data), size});
  try {
    const auto source = gguf::open_gguf(file.path());
    (void)json::parse(json::dump(source->config()), "'config'");
    read_all(source->weights());
    read_all(source->plain()->weights());
    if (const PackedLayers* packed = source->packed())
      for (const LinearSpec& layer : packed->layers()) {
        const QuantizedWeight weight = packed->unpack(layer.name);
        look_at(weight.codes);
        look_at(weight.scale);
      }
    for (const CompanionFile& companion : source->companions()) (void)json::parse(companion.content, "'companion'");
  } catch (const Error& error) {
    if (error.code() == ErrorCode::internal) std::abort();
  }
  return 0;
}
