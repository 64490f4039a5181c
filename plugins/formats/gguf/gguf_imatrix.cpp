#include "gguf_imatrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/mapped_file.h>
#include <arkit/str.h>

#include "gguf_architecture.h"
#include "gguf_file.h"
#include "utf8.h"

namespace arkit::gguf {
namespace {

constexpr std::string_view kSums = ".in_sum2", kCounts = ".counts", kMatrix = ".weight";
constexpr std::string_view kMagic = "GGUF";
constexpr int32_t kMostEntries = 1 << 13;  // an entry of 17 bytes takes a thousand of memory; models have some 2^10
constexpr int32_t kLongestName = 4096;
// The older form counts calls, not tokens; this many a call are what llama-imatrix takes by itself. A power of two, so
// that quotients of sums and counts are those of the file.
constexpr int64_t kUsualChunk = 512;
constexpr int64_t kMostBlocks = 10000;

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string clean(std::string_view text) {
  return is_utf8(text) ? std::string(text) : printable(text);
}

// What tensors of an entry may hold, whatever form they came in.
void check_entry(const ImportanceEntry& entry, const std::string& what) {
  for (const at::Tensor& numbers : {entry.sums, entry.counts}) {
    const auto* begin = numbers.const_data_ptr<float>();
    const auto* end = begin + numbers.numel();
    if (std::all_of(begin, end, [](float x) { return std::isfinite(x) && x >= 0; })) continue;
    throw_input(str(what, ": entry '", printable(entry.name),
                    "' holds a number that is negative, infinite or none, expected sums of squares; the file is "
                    "damaged, make it again"));
  }
  const auto* sums = entry.sums.const_data_ptr<float>();
  const auto* counts = entry.counts.const_data_ptr<float>();
  for (int64_t row = 0; row < entry.sums.size(0); ++row, sums += entry.sums.size(1)) {
    const float count = counts[row];
    if (count == 0) continue;
    if (std::all_of(sums, sums + entry.sums.size(1), [&](float sum) { return std::isfinite(sum / count); })) continue;
    throw_input(str(what, ": entry '", printable(entry.name),
                    "' holds sums so large for their counts that means are infinite; the file is damaged, make it "
                    "again"));
  }
}

// The older form, read forward and never past the end.
class DatReader {
 public:
  DatReader(std::span<const std::byte> bytes, const std::string& what) : bytes_(bytes), what_(what) {}

  ImportanceMatrix read() {
    ImportanceMatrix matrix;
    matrix.chunk_tokens = kUsualChunk;
    const int32_t entries = bytes_.size() < sizeof(int32_t) ? 0 : number("the number of entries");
    if (entries < 1 || entries > kMostEntries)
      throw_input(str(
          what_, ": is no importance matrix: it begins neither as a GGUF file nor with a number of entries from 1 to ",
          kMostEntries, "; make one with --save-imatrix or llama-imatrix"));
    std::set<std::string, std::less<>> names;
    for (int32_t i = 0; i < entries; ++i) {
      matrix.entries.push_back(entry(i));
      if (!names.insert(matrix.entries.back().name).second)
        throw_input(str(what_, ": entry '", printable(matrix.entries.back().name), "' appears twice"));
    }
    read_end(matrix);
    return matrix;
  }

 private:
  [[nodiscard]] size_t left() const noexcept { return bytes_.size() - at_; }

  std::span<const std::byte> take(size_t size, std::string_view thing) {
    if (size > left())
      throw_input(str(what_, ": ", thing, " takes ", size, " bytes at byte ", at_, " but only ", left(),
                      " are left; the file is cut short or damaged, copy it again"));
    const auto out = bytes_.subspan(at_, size);
    at_ += size;
    return out;
  }

  int32_t number(std::string_view thing) {
    int32_t value;
    std::memcpy(&value, take(sizeof(value), thing).data(), sizeof(value));
    return value;
  }

  ImportanceEntry entry(int32_t index) {
    const int32_t length = number("the length of a name");
    if (length < 1 || length > kLongestName)
      throw_input(str(what_, ": entry ", index, " has a name of ", length, " bytes, expected 1 to ", kLongestName,
                      "; the file is damaged or no importance matrix"));
    const std::string_view name = as_text(take(static_cast<size_t>(length), "a name"));
    if (!is_utf8(name))
      throw_input(str(what_, ": the name of entry ", index, " ('", printable(name, 60), "') is no UTF-8"));
    const int32_t calls = number("a count"), values = number("a number of values");
    if (calls < 0 || values < 1)
      throw_input(str(what_, ": entry '", printable(name), "' announces ", values, " values of ", calls,
                      " chunks, expected at least 1 and none below 0"));
    ImportanceEntry out{.name = std::string(name), .layer = {}, .sums = {}, .counts = {}};
    const auto stored = take(static_cast<size_t>(values) * sizeof(float), "an entry's values");
    out.sums = at::empty({1, values}, at::kFloat);
    std::memcpy(out.sums.mutable_data_ptr<float>(), stored.data(), stored.size());
    out.sums.mul_(static_cast<double>(kUsualChunk));
    // Without a count the values are means.
    out.counts = at::full({1}, static_cast<double>(kUsualChunk) * std::max(calls, 1), at::kFloat);
    check_entry(out, what_);
    return out;
  }

  // Chunks and data set, which the oldest files do not have.
  void read_end(ImportanceMatrix& matrix) {
    if (left() == 0) return;
    matrix.chunks = std::max(number("the number of chunks"), 0);
    if (left() == 0) return;
    const int32_t length = number("the length of a data set's name");
    if (length < 0 || static_cast<size_t>(length) != left())
      throw_input(str(what_, ": its last entry is followed by a data set's name of ", length, " bytes, and ", left(),
                      " are left; the file is damaged, copy it again"));
    if (length > 0) matrix.datasets.push_back(clean(as_text(take(static_cast<size_t>(length), "a data set's name"))));
  }

  std::span<const std::byte> bytes_;
  const std::string& what_;
  size_t at_ = 0;
};

struct Halves {
  const TensorEntry* sums = nullptr;
  const TensorEntry* counts = nullptr;
};

at::Tensor floats_of(const TensorEntry& tensor, std::span<const std::byte> bytes, int64_t rows, int64_t columns) {
  at::Tensor out = at::empty({rows, columns}, at::kFloat);
  std::memcpy(out.mutable_data_ptr<float>(), bytes.data() + tensor.offset, static_cast<size_t>(tensor.bytes));
  return out;
}

ImportanceEntry entry_of(const std::string& name, const Halves& halves, std::span<const std::byte> bytes,
                         const std::string& what) {
  if (halves.sums == nullptr || halves.counts == nullptr)
    throw_input(str(what, ": entry '", printable(name), "' has no tensor '", halves.sums == nullptr ? kSums : kCounts,
                    "'; the file is damaged, make it again"));
  for (const TensorEntry* tensor : {halves.sums, halves.counts})
    if (tensor->type->type != TensorType::f32)
      throw_input(str(what, ": tensor '", printable(tensor->name), "' is ", tensor->type->name, ", expected F32"));
  const int64_t matrices = halves.counts->bytes / static_cast<int64_t>(sizeof(float));
  const int64_t columns = halves.sums->shape.empty() ? 1 : halves.sums->shape.back();
  if (halves.sums->bytes / static_cast<int64_t>(sizeof(float)) != matrices * columns)
    throw_input(str(what, ": entry '", printable(name), "' has ", matrices, " counts, and its sums are no ", matrices,
                    " rows of ", columns, "; the file is damaged, make it again"));
  ImportanceEntry entry{.name = name,
                        .layer = {},
                        .sums = floats_of(*halves.sums, bytes, matrices, columns),
                        .counts = floats_of(*halves.counts, bytes, 1, matrices).view({matrices})};
  check_entry(entry, what);
  return entry;
}

// Tensors of other endings are statistics that rounding does not look at.
ImportanceMatrix read_gguf_form(std::span<const std::byte> bytes, const std::string& what) {
  const File file = parse_gguf(bytes, what);
  const Metadata& keys = file.metadata;
  const std::string type = keys.text("general.type").value_or("imatrix");
  std::map<std::string, Halves> entries;
  for (const TensorEntry& tensor : file.tensors) {
    const std::string_view name = tensor.name;
    if (name.ends_with(kSums)) entries[std::string(name.substr(0, name.size() - kSums.size()))].sums = &tensor;
    if (name.ends_with(kCounts)) entries[std::string(name.substr(0, name.size() - kCounts.size()))].counts = &tensor;
  }
  if (type != "imatrix" || entries.empty())
    throw_input(str(what, ": is a GGUF file but no importance matrix (its general.type is '", printable(type, 60),
                    "' and it has ", entries.size(), " entries); make one with --save-imatrix or llama-imatrix"));
  if (entries.size() > static_cast<size_t>(kMostEntries))
    throw_input(str(what, ": has ", entries.size(), " entries, at most ", kMostEntries, " are accepted"));
  ImportanceMatrix matrix;
  for (const std::string_view name : keys.texts("imatrix.datasets"))
    if (!name.empty()) matrix.datasets.emplace_back(name);
  const auto number = [&](const char* key, int64_t absent, int64_t least) {
    const int64_t value = keys.integer(key).value_or(absent);
    if (value < least || value > std::numeric_limits<int32_t>::max())
      throw_input(
          str(what, ": '", key, "' is ", value, ", expected ", least, " to ", std::numeric_limits<int32_t>::max()));
    return value;
  };
  matrix.chunks = number("imatrix.chunk_count", 0, 0);
  matrix.chunk_tokens = number("imatrix.chunk_size", kUsualChunk, 1);
  for (const auto& [name, halves] : entries) matrix.entries.push_back(entry_of(name, halves, bytes, what));
  return matrix;
}

template <typename T>
void append_bytes(std::string& to, const T* values, int64_t count) {
  to.append(reinterpret_cast<const char*>(values), static_cast<size_t>(count) * sizeof(T));
}

void append_number(std::string& to, int64_t value) {
  ARKIT_CHECK(value <= std::numeric_limits<int32_t>::max(), "the older form counts in 32 bits");
  const auto narrow = static_cast<int32_t>(value);
  append_bytes(to, &narrow, 1);
}

int64_t chunks_of(float tokens, int64_t chunk_tokens) {
  constexpr double kMost = std::numeric_limits<int32_t>::max();
  return static_cast<int64_t>(std::clamp(std::ceil(tokens / static_cast<double>(chunk_tokens)), 1.0, kMost));
}

int64_t most_chunks(const ImportanceMatrix& matrix) {
  int64_t most = 1;
  for (const ImportanceEntry& entry : matrix.entries)
    most = std::max(most, chunks_of(entry.counts.max().item<float>(), matrix.chunk_tokens));
  return matrix.chunks > 0 ? matrix.chunks : most;
}

// Means times chunks; experts that saw nothing count alike.
std::string dat_bytes(const ImportanceMatrix& matrix) {
  std::string out;
  append_number(out, static_cast<int64_t>(matrix.entries.size()));
  for (const ImportanceEntry& entry : matrix.entries) {
    append_number(out, static_cast<int64_t>(entry.name.size()));
    out += entry.name;
    const int64_t calls = chunks_of(entry.counts.max().item<float>(), matrix.chunk_tokens);
    append_number(out, calls);
    append_number(out, entry.sums.numel());
    const at::Tensor counts = entry.counts.unsqueeze(1);
    const at::Tensor means = at::where(counts > 0, entry.sums / counts, at::ones_like(entry.sums));
    const at::Tensor values = (means * static_cast<double>(calls)).contiguous();
    append_bytes(out, values.const_data_ptr<float>(), values.numel());
  }
  append_number(out, most_chunks(matrix));
  const std::string dataset = matrix.datasets.empty() ? std::string() : matrix.datasets.front();
  append_number(out, static_cast<int64_t>(dataset.size()));
  return out + dataset;
}

std::string gguf_form_bytes(const ImportanceMatrix& matrix) {
  KeyValues keys;
  keys.put_text("general.type", "imatrix");
  // Readers ask for the key, even where there is nothing to tell.
  keys.put_texts("imatrix.datasets", matrix.datasets.empty() ? std::vector<std::string>{""} : matrix.datasets);
  keys.put_u32("imatrix.chunk_count", most_chunks(matrix));
  keys.put_u32("imatrix.chunk_size", matrix.chunk_tokens);
  std::vector<StoredTensor> tensors;
  std::vector<at::Tensor> data;
  const auto add = [&](std::string name, std::vector<int64_t> shape, const at::Tensor& numbers) {
    if (shape.front() == 1 && shape.size() > 1) shape.erase(shape.begin());
    tensors.push_back({.name = std::move(name), .shape = std::move(shape)});
    data.push_back(numbers.contiguous());
  };
  for (const ImportanceEntry& entry : matrix.entries) {
    add(entry.name + std::string(kSums), entry.sums.sizes().vec(), entry.sums);
    const int64_t matrices = entry.counts.numel();
    add(entry.name + std::string(kCounts), matrices == 1 ? std::vector<int64_t>{1} : std::vector<int64_t>{matrices, 1},
        entry.counts);
  }
  const int64_t bytes = lay_out(tensors);
  std::string out = header_of(keys, tensors);
  const size_t begin = out.size();
  out.resize(begin + static_cast<size_t>(bytes), '\0');
  for (size_t i = 0; i < tensors.size(); ++i)
    std::memcpy(out.data() + begin + tensors[i].offset, data[i].const_data_ptr<float>(), data[i].nbytes());
  return out;
}

std::optional<ImatrixForm> form_of(const std::filesystem::path& name) {
  const std::string ending = lower(name.extension().string());
  if (ending == ".dat") return ImatrixForm::dat;
  return ending == ".gguf" ? std::optional(ImatrixForm::gguf) : std::nullopt;
}

std::string why_no_names(const json::Object& config) {
  const std::string type = json::get_string(config, "model_type", "config.json").value_or("");
  if (architecture_for(type) != nullptr) return {};
  return str("layers of models of type '", printable(type),
             "' have no names in llama.cpp's files; those of llama, mistral, qwen2 and qwen3 have");
}

// "model.layers.0.self_attn.q_proj" of "blk.0.attn_q.weight".
std::string layer_of(const std::string& name) {
  const std::optional<std::string> tensor = hf_tensor_name(name, kMostBlocks);
  if (!tensor || !tensor->ends_with(kMatrix)) return {};
  return tensor->substr(0, tensor->size() - kMatrix.size());
}

}  // namespace

ImportanceMatrix parse_imatrix(std::span<const std::byte> bytes, const std::string& what) {
  return as_text(bytes).starts_with(kMagic) ? read_gguf_form(bytes, what) : DatReader(bytes, what).read();
}

std::string imatrix_bytes(const ImportanceMatrix& matrix, ImatrixForm form) {
  return form == ImatrixForm::dat ? dat_bytes(matrix) : gguf_form_bytes(matrix);
}

void put_importance_keys(KeyValues& keys, const ImportanceRecord& record) {
  keys.put_text("quantize.imatrix.file", clean(record.file));
  keys.put_text("quantize.imatrix.dataset", record.dataset);
  keys.put_u32("quantize.imatrix.entries_count", record.entries);
  if (record.chunks > 0) keys.put_u32("quantize.imatrix.chunks_count", record.chunks);
}

ImportanceMatrix ImatrixFiles::read_importance(const std::filesystem::path& path, const json::Object& config) const {
  if (const std::string why = why_no_names(config); !why.empty())
    throw_unsupported(str("'", path.string(), "': ", why));
  const MappedFile map(path);
  ImportanceMatrix matrix = parse_imatrix(map.bytes(), str("'", path.string(), "'"));
  for (ImportanceEntry& entry : matrix.entries) entry.layer = layer_of(entry.name);
  return matrix;
}

Verdict ImatrixFiles::writes_importance(const std::filesystem::path& name, const json::Object& config) const {
  if (!form_of(name)) return Verdict::no("its ending says which form it gets: .gguf, or .dat for older programs");
  return {why_no_names(config)};
}

std::string ImatrixFiles::write_importance(const ImportanceMatrix& matrix, const std::filesystem::path& name,
                                           const json::Object&) const {
  const auto form = form_of(name);
  ARKIT_CHECK(form.has_value(), "writes_importance() was not asked");
  ImportanceMatrix named = matrix;
  for (ImportanceEntry& entry : named.entries) {
    if (!entry.name.empty()) continue;
    const auto tensor = gguf_tensor_name(entry.layer + std::string(kMatrix));
    if (!tensor) throw_unsupported(str("layer '", printable(entry.layer), "' has no name in llama.cpp's files"));
    entry.name = *tensor;
  }
  return imatrix_bytes(named, *form);
}

}  // namespace arkit::gguf
