#include "tuning/product_speed.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <limits>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/headeronly/version.h>

#include <arkit/error.h>
#include <arkit/inference_backend.h>
#include <arkit/part_file.h>
#include <arkit/str.h>

#include "tuning/gemm.h"
#include "util/cpu_limit.h"
#include "util/seconds.h"
#include "util/sha256.h"

namespace arkit {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kTokens = 512, kIn = 768, kOut = 1024;
constexpr int kRounds = 4;
constexpr double kPatience = 0.06;  // seconds after which no further round begins

// Everything the figures follow from. The number counts changes of the products themselves.
std::string key() {
  return str("products 1, ", host_info().cpu_name, ", ", cpu_limit_name(), ", ", at::get_num_threads(),
             " threads, LibTorch ", TORCH_VERSION_MAJOR, ".", TORCH_VERSION_MINOR, ".", TORCH_VERSION_PATCH,
             ", f32 by ", gemm_library_name(gemm_library_for(at::kFloat)), ", bf16 by ",
             gemm_library_name(gemm_library_for(at::kBFloat16)));
}

fs::path cache_folder() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && *cache == '/') return fs::path(cache) / "arkit";
  const char* home = std::getenv("HOME");
  return home != nullptr && *home == '/' ? fs::path(home) / ".cache" / "arkit" : fs::path();
}

// Seconds of a layer's forward product and weight gradient in one dtype.
class Trial {
 public:
  explicit Trial(at::ScalarType dtype)
      : x_(at::full({kTokens, kIn}, 0.5, dtype)),
        weight_(at::full({kOut, kIn}, 0.25, dtype)),
        dy_(at::full({kTokens, kOut}, 0.5, dtype)),
        dw_(at::empty({kOut, kIn}, at::kFloat)) {}
  void run() {
    const auto start = std::chrono::steady_clock::now();
    (void)linear_forward(x_, weight_, {});
    linear_weight_gradient(dy_, x_, dw_);
    best_ = std::min(best_, seconds_since(start));
  }
  void forget() { best_ = std::numeric_limits<double>::max(); }
  [[nodiscard]] double gflops() const { return 4e-9 * static_cast<double>(kTokens * kIn * kOut) / best_; }

 private:
  at::Tensor x_, weight_, dy_, dw_;
  double best_ = std::numeric_limits<double>::max();
};

std::optional<double> figure(const json::Object& file, const char* name) {
  const std::optional<double> value = json::get_double(file, name, "products");
  return value && std::isfinite(*value) && *value > 0 ? value : std::nullopt;
}

std::optional<ProductSpeed> read(const fs::path& file) {
  try {
    const json::Value root = json::read_file(file);
    const json::Object& object = json::as_object(root, "products");
    const auto float32 = figure(object, "float32_gflops"), bfloat16 = figure(object, "bfloat16_gflops");
    if (json::get_string(object, "key", "products") != key() || !float32 || !bfloat16) return std::nullopt;
    return ProductSpeed{*float32, *bfloat16, true};
  } catch (const Error&) {
    return std::nullopt;
  }
}

void write(const fs::path& file, const ProductSpeed& speed) {
  try {
    std::error_code ignored;
    fs::create_directories(file.parent_path(), ignored);
    const json::Object object{{"key", key()}, {"float32_gflops", speed.float32}, {"bfloat16_gflops", speed.bfloat16}};
    write_file(file, json::dump(object, 2) + "\n");
  } catch (const Error&) {
    return;  // the next run measures again
  }
}

}  // namespace

ProductSpeed measure_products() {
  Trial float32(at::kFloat), bfloat16(at::kBFloat16);
  for (Trial* trial : {&float32, &bfloat16}) {  // the first products compile kernels and start threads
    trial->run();
    trial->forget();
  }
  const auto start = std::chrono::steady_clock::now();
  for (int round = 0; round < kRounds && (round == 0 || seconds_since(start) < kPatience); ++round) {
    float32.run();
    bfloat16.run();
  }
  return {float32.gflops(), bfloat16.gflops(), false};
}

ProductSpeed kept_product_speed(const fs::path& folder) {
  constexpr size_t kDigits = 16;
  const fs::path file = folder / str("products-", sha256_hex(key()).substr(0, kDigits), ".json");
  std::error_code error;
  if (!folder.empty() && fs::is_regular_file(file, error))
    if (const auto kept = read(file)) return *kept;
  const ProductSpeed measured = measure_products();
  if (!folder.empty()) write(file, measured);
  return measured;
}

const ProductSpeed& product_speed() {
  static const ProductSpeed speed = kept_product_speed(cache_folder());
  return speed;
}

}  // namespace arkit
