#include "text/bpe.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <functional>
#include <utility>

#include <arkit/error.h>
#include <arkit/str.h>

#include "text/byte_alphabet.h"
#include "text/unicode.h"

namespace arkit::text {
namespace {

constexpr std::string_view kWhat = "tokenizer.json: model";
constexpr uint32_t kShortSymbols = 0x200;
constexpr size_t kMaxCachedWords = 1 << 16;
constexpr size_t kMaxCachedLength = 64;
constexpr size_t kMaxAffix = 256;  // it stands at every character

struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};

// The left and right token of one entry of "merges": "a b" or ["a", "b"].
std::pair<std::string_view, std::string_view> merge_parts(const json::Value& entry, size_t rank) {
  if (entry.is_string()) {
    const std::string_view text = entry.get_string();
    const size_t space = text.find(' ');
    if (space != std::string_view::npos && text.find(' ', space + 1) == std::string_view::npos)
      return {text.substr(0, space), text.substr(space + 1)};
  } else if (entry.is_array() && entry.get_array().size() == 2 && entry.get_array()[0].is_string() &&
             entry.get_array()[1].is_string()) {
    return {entry.get_array()[0].get_string(), entry.get_array()[1].get_string()};
  }
  throw_input(str(kWhat, ": merge ", rank, " is ", printable(json::dump(entry), 80),
                  "; expected two tokens, \"a b\" or [\"a\", \"b\"]"));
}

}  // namespace

class BpeModel::Workspace {
 public:
  struct Symbol {
    int32_t id;
    int32_t previous, next;  // indices, -1 = none; a merged-away symbol has id -1
  };
  struct Candidate {
    int32_t rank;
    int32_t position;  // index of the left symbol
    bool operator>(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : position > other.position;
    }
  };
  struct Range {
    uint32_t begin, length;
  };

  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
  std::string mapped;
  std::unordered_map<std::string, Range, StringHash, std::equal_to<>> cache;  // word -> its ids in `cached_ids`
  std::vector<int32_t> cached_ids;

  void push(int32_t id) {
    const auto index = static_cast<int32_t>(symbols.size());
    symbols.push_back({id, index - 1, -1});
    if (index > 0) symbols[static_cast<size_t>(index) - 1].next = index;
  }
};

void BpeModel::Returner::operator()(Workspace* workspace) const {
  const std::lock_guard lock(model->mutex_);
  model->idle_.emplace_back(workspace);
}

BpeModel::~BpeModel() = default;

BpeModel::Borrowed BpeModel::borrow() const {
  const std::lock_guard lock(mutex_);
  if (idle_.empty()) return Borrowed(new Workspace, Returner{this});
  Borrowed borrowed(idle_.back().release(), Returner{this});
  idle_.pop_back();
  return borrowed;
}

BpeModel::BpeModel(const json::Object& model, Vocabulary& vocabulary, bool bytes_in)
    : vocabulary_(vocabulary), bytes_in_(bytes_in) {
  if (json::get_double(model, "dropout", kWhat).value_or(0.0) != 0.0)
    throw_unsupported(str(kWhat, ": 'dropout' is set, which makes encoding random; expected null"));
  prefix_ = json::get_string(model, "continuing_subword_prefix", kWhat).value_or("");
  suffix_ = json::get_string(model, "end_of_word_suffix", kWhat).value_or("");
  fuse_unk_ = json::get_bool(model, "fuse_unk", kWhat).value_or(false);
  byte_fallback_ = json::get_bool(model, "byte_fallback", kWhat).value_or(false);
  ignore_merges_ = json::get_bool(model, "ignore_merges", kWhat).value_or(false);
  if (std::max(prefix_.size(), suffix_.size()) > kMaxAffix)
    throw_input(str(kWhat, ": continuing_subword_prefix or end_of_word_suffix has more than ", kMaxAffix, " bytes"));
  load_vocab(model);
  load_merges(model);
  if (const auto unk = json::get_string(model, "unk_token", kWhat)) {
    unk_ = vocabulary_.find(*unk);
    if (!unk_) throw_input(str(kWhat, ": unk_token '", printable(*unk, 60), "' is not in the vocabulary"));
  }
}

void BpeModel::load_vocab(const json::Object& model) {
  const json::Value* vocab = json::find(model, "vocab");
  if (vocab == nullptr) throw_input(str(kWhat, ": has no 'vocab'"));
  for (const auto& [token, id] : json::as_object(*vocab, "tokenizer.json: model.vocab")) {
    if (!id.is_int64())
      throw_input(str(kWhat, ": token '", printable(token, 60), "' has the id ", printable(json::dump(id), 40),
                      "; expected an integer"));
    vocabulary_.add(token, id.get_int64());
  }
  short_symbols_.assign(kShortSymbols, -1);
  for (uint32_t code = 0; code < kShortSymbols; ++code) {
    std::string symbol;
    append_utf8(symbol, code);
    short_symbols_[code] = vocabulary_.find(symbol).value_or(-1);
  }
  if (!byte_fallback_) return;
  for (unsigned byte = 0; byte < 256; ++byte) {
    std::array<char, 8> name{};
    std::snprintf(name.data(), name.size(), "<0x%02X>", byte);
    byte_tokens_.push_back(vocabulary_.find(name.data()).value_or(-1));
  }
}

void BpeModel::load_merges(const json::Object& model) {
  const json::Value* found = json::find(model, "merges");
  if (found == nullptr) return;
  const json::Array& merges = json::as_array(*found, "tokenizer.json: model.merges");
  merges_ = PairTable(merges.size());
  const auto id_of = [&](std::string_view token, size_t rank) {
    const auto id = vocabulary_.find(token);
    if (!id)
      throw_input(str(kWhat, ": merge ", rank, " needs the token '", printable(token, 60),
                      "', which is not in the vocabulary"));
    return *id;
  };
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const auto [left, right] = merge_parts(merges[rank], rank);
    const int32_t left_id = id_of(left, rank), right_id = id_of(right, rank);
    if (right.size() < prefix_.size())
      throw_input(str(kWhat, ": merge ", rank, " joins '", printable(right, 60), "', which lacks the prefix '",
                      printable(prefix_, 20), "'"));
    std::string merged(left);
    merged += right.substr(prefix_.size());
    merges_.set(left_id, right_id, {static_cast<int32_t>(rank), id_of(merged, rank)});
  }
}

// An unknown character as <0xXX> tokens of its bytes; false when one of them is missing.
bool BpeModel::append_byte_tokens(std::string_view symbol, Workspace& workspace) const {
  if (!byte_fallback_) return false;
  for (const char c : symbol)
    if (byte_tokens_[static_cast<unsigned char>(c)] < 0) return false;
  for (const char c : symbol) workspace.push(byte_tokens_[static_cast<unsigned char>(c)]);
  return true;
}

// One symbol a character. Unknown ones become byte tokens, else unk (runs fused on demand), else vanish. As in the
// crate a pending unk is written before the next known character, not before byte tokens.
void BpeModel::find_symbols(std::string_view word, Workspace& workspace) const {
  workspace.symbols.clear();
  bool pending_unk = false;
  std::string affixed;
  for (size_t at = 0; at < word.size();) {
    const CodePoint c = code_point_at(word, at);
    std::string_view symbol = word.substr(at, c.length);
    const bool first = at == 0, last = at + c.length == word.size();
    at += c.length;
    int32_t id = -1;
    if ((!first && !prefix_.empty()) || (last && !suffix_.empty())) {
      affixed = first ? std::string() : prefix_;
      affixed += symbol;
      if (last) affixed += suffix_;
      symbol = affixed;
      id = vocabulary_.find(symbol).value_or(-1);
    } else {
      id = c.code < kShortSymbols ? short_symbols_[c.code] : vocabulary_.find(symbol).value_or(-1);
    }
    if (id < 0 && append_byte_tokens(symbol, workspace)) continue;
    if (id < 0) {
      if (!unk_) continue;
      if (pending_unk && !fuse_unk_) workspace.push(*unk_);
      pending_unk = true;
      continue;
    }
    if (std::exchange(pending_unk, false)) workspace.push(*unk_);
    workspace.push(id);
  }
  if (pending_unk) workspace.push(*unk_);
}

// Merges the pair with the lowest rank, leftmost first, until none is left. A heap entry is stale when its symbol or
// its pair has changed.
void BpeModel::merge(Workspace& workspace) const {
  auto& symbols = workspace.symbols;
  auto& heap = workspace.heap;
  heap.clear();
  const auto pair_at = [&](int32_t position) -> const PairTable::Entry* {
    const auto& left = symbols[static_cast<size_t>(position)];
    if (left.id < 0 || left.next < 0) return nullptr;
    return merges_.find(left.id, symbols[static_cast<size_t>(left.next)].id);
  };
  const auto offer = [&](int32_t position) {
    if (position < 0) return;
    if (const auto* pair = pair_at(position)) {
      heap.push_back({pair->rank, position});
      std::push_heap(heap.begin(), heap.end(), std::greater<>());
    }
  };
  for (size_t i = 0; i + 1 < symbols.size(); ++i)
    if (const auto* pair = pair_at(static_cast<int32_t>(i))) heap.push_back({pair->rank, static_cast<int32_t>(i)});
  std::make_heap(heap.begin(), heap.end(), std::greater<>());
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    const auto [rank, position] = heap.back();
    heap.pop_back();
    const auto* pair = pair_at(position);
    if (pair == nullptr || pair->rank != rank) continue;
    auto& left = symbols[static_cast<size_t>(position)];
    auto& right = symbols[static_cast<size_t>(left.next)];
    left.id = pair->id;
    left.next = right.next;
    right.id = -1;
    if (left.next >= 0) symbols[static_cast<size_t>(left.next)].previous = position;
    offer(left.previous);
    offer(position);
  }
}

void BpeModel::encode(std::string_view word, Workspace& workspace, std::vector<int64_t>& out) const {
  if (word.empty()) return;
  const bool cacheable = word.size() <= kMaxCachedLength;
  if (cacheable) {
    const auto found = workspace.cache.find(word);
    if (found != workspace.cache.end()) {
      const int32_t* ids = workspace.cached_ids.data() + found->second.begin;
      out.insert(out.end(), ids, ids + found->second.length);
      return;
    }
  }
  if (word.size() >= (size_t{1} << 30))
    throw_resource(str("tokenizer: a word of ", word.size(), " bytes; at most 1 GiB can be encoded at once"));
  std::string_view characters = word;
  if (bytes_in_) {
    workspace.mapped.clear();
    append_printable_bytes(workspace.mapped, word);
    characters = workspace.mapped;
  }
  const size_t before = out.size();
  const auto whole = ignore_merges_ ? vocabulary_.find(characters) : std::nullopt;
  if (whole) {
    out.push_back(*whole);
  } else {
    find_symbols(characters, workspace);
    merge(workspace);
    for (const auto& symbol : workspace.symbols)
      if (symbol.id >= 0) out.push_back(symbol.id);
  }
  if (cacheable && workspace.cache.size() < kMaxCachedWords) {
    const auto begin = static_cast<uint32_t>(workspace.cached_ids.size());
    for (size_t i = before; i < out.size(); ++i) workspace.cached_ids.push_back(static_cast<int32_t>(out[i]));
    workspace.cache.emplace(word, Workspace::Range{begin, static_cast<uint32_t>(out.size() - before)});
  }
}

}  // namespace arkit::text
