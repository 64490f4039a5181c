#include "jobs/token_source.h"

#include <algorithm>
#include <system_error>

#include <ATen/ATen.h>

#include <arkit/engine/jobs.h>
#include <arkit/error.h>
#include <arkit/file_start.h>
#include <arkit/input_file.h>
#include <arkit/json.h>
#include <arkit/str.h>

#include "io/safe_path.h"

namespace arkit {
namespace fs = std::filesystem;

namespace {

constexpr int64_t kMaxTextBytes = int64_t{1} << 30, kMaxTokenizerBytes = int64_t{256} << 20;

}  // namespace

at::Tensor read_input_ids(const fs::path& file) {
  const std::unique_ptr<WeightSource> source = open_safetensors(file);
  if (source->find("input_ids") == nullptr)
    throw_input(str("'", file.string(), "': no tensor 'input_ids'; it holds ", source->tensors().size(), " others"));
  const at::Tensor ids = source->load("input_ids");
  if (!at::isIntegralType(ids.scalar_type(), false))
    throw_input(str("'", file.string(), "': 'input_ids' is ", c10::toString(ids.scalar_type()), "; expected integers"));
  return ids.to(at::kLong).clone();  // independent of the mapped file
}

std::string read_text_file(const fs::path& file) {
  return std::string(without_byte_order_mark(read_input_file(file, kMaxTextBytes)));
}

Tokenizer tokenizer_in(const std::string& model, const Registry& registry) {
  std::error_code error;
  const fs::path folder = fs::absolute(model, error);
  if (error || !fs::is_directory(folder, error) || !io::has_entry(folder, "tokenizer.json"))
    return tokenizer_of(*open_source(model, registry));
  const std::string text = read_input_file(io::resolve_file(folder, "tokenizer.json"), kMaxTokenizerBytes);
  json::Object config;
  if (io::has_entry(folder, "tokenizer_config.json")) {
    const fs::path file = io::resolve_file(folder, "tokenizer_config.json");
    config = json::as_object(json::read_file(file), str("'", file.string(), "'"));
  }
  return Tokenizer(text, config);
}

Tokenizer tokenizer_of(const ModelSource& source) {
  const TokenizerTexts* texts = source.tokenizer();
  const std::string text = texts == nullptr ? std::string() : texts->tokenizer_json();
  if (text.empty())
    throw_input(str("'", source.path().string(), "': the model brings no tokenizer.json; give token ids instead"));
  return Tokenizer(text, texts->tokenizer_config());
}

at::Tensor tokenize_file(const fs::path& file, const Tokenizer& tokenizer) {
  const std::string text = read_text_file(file);
  if (text.empty()) throw_input(str("'", file.string(), "': is empty; give a file with text"));
  return at::tensor(tokenizer.encode(text), at::kLong);
}

void check_window_options(int64_t seqlen, int64_t batch_size, const std::optional<int64_t>& max_windows) {
  if (seqlen < 2) throw_usage(str("seqlen ", seqlen, " must be 2 or more"));
  if (batch_size < 1) throw_usage(str("batch_size ", batch_size, " must be 1 or more"));
  if (max_windows && *max_windows < 1) throw_usage(str("max_windows ", *max_windows, " must be 1 or more"));
}

at::Tensor make_windows(const at::Tensor& ids, int64_t seqlen, const std::optional<int64_t>& max_windows) {
  const at::Tensor flat = ids.reshape({-1});
  int64_t count = flat.size(0) / seqlen;
  if (count == 0)
    throw_input(
        str("only ", flat.size(0), " tokens for windows of ", seqlen, "; give more text or a smaller ", "--seqlen"));
  if (max_windows) count = std::min(count, *max_windows);
  return flat.narrow(0, 0, count * seqlen).reshape({count, seqlen});
}

}  // namespace arkit
