#include "text/vocabulary.h"

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::text {

void Vocabulary::add(std::string_view token, int64_t id) {
  if (id < 0 || id >= kMaxTokenId)
    throw_input(
        str("tokenizer.json: token '", printable(token, 60), "' has id ", id, "; expected 0 to ", kMaxTokenId - 1));
  if (has_id(id))
    throw_input(str("tokenizer.json: id ", id, " is given to both '", printable(this->token(id), 60), "' and '",
                    printable(token, 60), "'; expected one token an id"));
  if (ids_.contains(token))
    throw_input(str("tokenizer.json: token '", printable(token, 60), "' has two ids, ", ids_.at(token), " and ", id));
  const std::string& stored = storage_.emplace_back(token);
  ids_.emplace(stored, static_cast<int32_t>(id));
  if (id >= end_id()) by_id_.resize(static_cast<size_t>(id) + 1, nullptr);
  by_id_[static_cast<size_t>(id)] = &stored;
}

std::optional<int32_t> Vocabulary::find(std::string_view token) const {
  const auto found = ids_.find(token);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

bool Vocabulary::has_id(int64_t id) const {
  return id >= 0 && id < end_id() && by_id_[static_cast<size_t>(id)] != nullptr;
}

std::string_view Vocabulary::token(int64_t id) const {
  return has_id(id) ? std::string_view(*by_id_[static_cast<size_t>(id)]) : std::string_view();
}

PairTable::PairTable(size_t expected) {
  size_t capacity = 16;
  while (capacity < expected * 2) capacity *= 2;
  mask_ = capacity - 1;
  keys_.assign(capacity, kEmpty);
  entries_.resize(capacity);
}

void PairTable::set(int32_t left, int32_t right, Entry entry) {
  const uint64_t key = make_key(left, right);
  size_t i = slot(key);
  while (keys_[i] != kEmpty && keys_[i] != key) i = (i + 1) & mask_;
  keys_[i] = key;
  entries_[i] = entry;
}

}  // namespace arkit::text
