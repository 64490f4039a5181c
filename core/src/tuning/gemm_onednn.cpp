#include "tuning/gemm_onednn.h"

#include <exception>
#include <mutex>
#include <utility>
#include <vector>

#include <oneapi/dnnl/dnnl_debug.h>
#include <oneapi/dnnl/dnnl.hpp>

namespace arkit::onednn {
namespace {

using dnnl::memory;

const dnnl::engine& cpu() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

memory::data_type data_type(Type type) {
  return type == Type::f32 ? memory::data_type::f32 : memory::data_type::bf16;
}

// Row-major [rows, cols], or its transpose in place.
memory::desc matrix(int64_t rows, int64_t cols, bool transposed, Type type) {
  const memory::dims strides = transposed ? memory::dims{1, rows} : memory::dims{cols, 1};
  return {{rows, cols}, data_type(type), strides};
}

struct Plan {
  Product product;
  memory::desc a, b, c;
  dnnl::matmul primitive;
};

dnnl::matmul compile(const memory::desc& a, const memory::desc& b, const memory::desc& c) {
  return dnnl::matmul(dnnl::matmul::primitive_desc(dnnl::matmul::desc(a, b, c), cpu()));
}

// Compiled products; a model has a dozen shapes, so a list is enough.
Plan plan_for(const Product& product) {
  static std::mutex mutex;
  static std::vector<Plan> plans;
  const std::lock_guard lock(mutex);
  for (const Plan& plan : plans)
    if (plan.product == product) return plan;
  const memory::desc a = matrix(product.m, product.k, product.trans_a, product.in);
  const memory::desc b = matrix(product.k, product.n, product.trans_b, product.in);
  const memory::desc c = matrix(product.m, product.n, false, product.out);
  plans.push_back({product, a, b, c, compile(a, b, c)});
  return plans.back();
}

void multiply(const Product& product, const void* a, const void* b, void* c) {
  Plan plan = plan_for(product);
  dnnl::stream stream(cpu());
  plan.primitive.execute(stream, {{DNNL_ARG_SRC, memory(plan.a, cpu(), const_cast<void*>(a))},
                                  {DNNL_ARG_WEIGHTS, memory(plan.b, cpu(), const_cast<void*>(b))},
                                  {DNNL_ARG_DST, memory(plan.c, cpu(), c)}});
  stream.wait();
}

}  // namespace
}  // namespace arkit::onednn

// oneDNN's exceptions stay inside: their type_info is this module's.
extern "C" __attribute__((visibility("default"))) const char* arkit_onednn_multiply(
    const arkit::onednn::Product& product, const void* a, const void* b, void* c) {
  const dnnl_version_t* version = dnnl_version();
  if (version->major != DNNL_VERSION_MAJOR) return "oneDNN of another major version was loaded";
  try {
    arkit::onednn::multiply(product, a, b, c);
    return nullptr;
  } catch (const dnnl::error& error) {
    return dnnl_status2str(error.status);
  } catch (const std::exception&) {
    return "out of memory";
  }
}
