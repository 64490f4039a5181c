#include "jobs/token_source.h"

#include <fstream>
#include <sstream>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit {
namespace fs = std::filesystem;

at::Tensor read_input_ids(const fs::path& file) {
  const std::unique_ptr<WeightSource> source = open_safetensors(file);
  if (source->find("input_ids") == nullptr)
    throw_input(str("'", file.string(), "': no tensor 'input_ids'; it holds ", source->tensors().size(), " others"));
  const at::Tensor ids = source->load("input_ids");
  if (!at::isIntegralType(ids.scalar_type(), false))
    throw_input(str("'", file.string(), "': 'input_ids' is ", c10::toString(ids.scalar_type()), "; expected integers"));
  return ids.to(at::kLong).clone();  // independent of the mapped file
}

Tokenizer tokenizer_of(const ModelSource& source) {
  const std::string text = source.tokenizer_json();
  if (text.empty())
    throw_input(str("'", source.path().string(), "': the model brings no tokenizer.json; give token ids instead"));
  return Tokenizer(text, source.tokenizer_config());
}

at::Tensor tokenize_file(const fs::path& file, const Tokenizer& tokenizer) {
  std::ifstream in(file, std::ios::binary);
  if (!in) throw_input(str("'", file.string(), "': cannot be opened"));
  std::ostringstream text;
  text << in.rdbuf();
  if (!in) throw_input(str("'", file.string(), "': cannot be read, or is empty"));
  return at::tensor(tokenizer.encode(std::move(text).str()), at::kLong);
}

}  // namespace arkit
