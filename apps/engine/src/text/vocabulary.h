#pragma once
// Tokens by id and ids by token.

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace arkit::text {

// No real vocabulary has more; a larger id in a file would only make the tables huge.
constexpr int64_t kMaxTokenId = int64_t{1} << 22;

class Vocabulary {
 public:
  // Throws ErrorCode::input when the id is out of range or the token or id is taken.
  void add(std::string_view token, int64_t id);

  [[nodiscard]] std::optional<int32_t> find(std::string_view token) const;
  [[nodiscard]] std::string_view token(int64_t id) const;  // empty = unknown
  [[nodiscard]] bool has_id(int64_t id) const;
  [[nodiscard]] int64_t size() const { return static_cast<int64_t>(ids_.size()); }
  [[nodiscard]] int64_t end_id() const { return static_cast<int64_t>(by_id_.size()); }  // largest id + 1

 private:
  std::deque<std::string> storage_;  // addresses are stable: the map and by_id_ look into it
  std::unordered_map<std::string_view, int32_t> ids_;
  std::vector<const std::string*> by_id_;  // null = hole
};

// (left id, right id) -> (rank, merged id), open addressing. Ids are below kMaxTokenId, so a key is never ~0.
class PairTable {
 public:
  struct Entry {
    int32_t rank = -1;
    int32_t id = -1;
  };
  explicit PairTable(size_t expected);
  void set(int32_t left, int32_t right, Entry entry);  // the last value given counts
  [[nodiscard]] const Entry* find(int32_t left, int32_t right) const {
    const uint64_t key = make_key(left, right);
    for (size_t i = slot(key);; i = (i + 1) & mask_) {
      if (keys_[i] == key) return &entries_[i];
      if (keys_[i] == kEmpty) return nullptr;
    }
  }

 private:
  static constexpr uint64_t kEmpty = ~uint64_t{0};
  static uint64_t make_key(int32_t left, int32_t right) {
    return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
  }
  [[nodiscard]] size_t slot(uint64_t key) const {
    key ^= key >> 29;
    return static_cast<size_t>((key * 0x9E3779B97F4A7C15ULL) >> 20) & mask_;
  }
  size_t mask_ = 0;
  std::vector<uint64_t> keys_;
  std::vector<Entry> entries_;
};

}  // namespace arkit::text
