#pragma once
// Keys, values and recurrent states of sequences that live side by side, each with its own length and its own pages:
// they come, grow and leave while others go on.
//
// Pages of all sequences lie in one tensor a block, [pages, kv_heads, page_size, dim], made when the block first writes.
// Where all positions of a sequence lie in one page, attention reads them where they are; else they are gathered for
// each call. A page size as large as the longest sequence is fastest, a small one wastes the least memory.

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include <arkit/model_adapter.h>

namespace arkit::sdk {

class SequenceCache {
 public:
  // `pages` of `page_size` positions for all sequences together. The system gives memory as pages are written.
  SequenceCache(int64_t page_size, int64_t pages);

  // A new sequence without positions; ids are never used twice.
  [[nodiscard]] int64_t add();
  // A new sequence that begins with the first `length` positions of another, which goes on by itself: full pages are
  // shared, the rest is copied. nullopt where there is no page for the rest, or the other has states (as truncate).
  [[nodiscard]] std::optional<int64_t> fork(int64_t id, int64_t length);
  // Its pages are free for others, but for those that sequences share.
  void remove(int64_t id);
  [[nodiscard]] int64_t length(int64_t id) const { return sequence(id).length; }
  [[nodiscard]] int64_t free_pages() const { return static_cast<int64_t>(free_.size()); }
  // Pages that `count` positions take.
  [[nodiscard]] int64_t pages_for(int64_t count) const { return (count + page_size_ - 1) / page_size_; }
  // Takes pages for `count` positions behind those the sequence has; false, and nothing is taken, when too few are free.
  [[nodiscard]] bool reserve(int64_t id, int64_t count);
  // For a forward over `count` new positions; they must have been reserved.
  [[nodiscard]] SequenceSpan next(int64_t id, int64_t count) const;
  // A forward over these went through every block: its positions and states count from now on. One that is given up
  // half-way leaves no trace.
  void advance(std::span<const SequenceSpan> spans);
  // Forgets all positions but the first `length`, and frees their pages. False, and nothing is changed, where the
  // sequence has states: those of an earlier position are gone; or no page for what it can no longer share.
  [[nodiscard]] bool truncate(int64_t id, int64_t length);

  // How many of the first spans can be computed as one batch: of equal past and count, their pages lying as a batch.
  [[nodiscard]] int64_t run_length(std::span<const SequenceSpan> spans) const;
  struct KeysValues {
    at::Tensor key, value;  // [n, kv_heads, past + count, dim]
  };
  // The pools of a block, [pages, heads, page_size, dim], for whoever writes and reads pages by itself.
  [[nodiscard]] const KeysValues& pools(int64_t block, int64_t heads, int64_t key_dim, int64_t value_dim,
                                        at::ScalarType dtype);
  // Its pages in the order of positions.
  [[nodiscard]] const std::vector<int64_t>& pages(int64_t id) const { return sequence(id).pages; }
  // Copies the new keys and values [n, kv_heads, count, dim] of a run into its pages; all positions up to the last new
  // one, views where they can be.
  [[nodiscard]] KeysValues append(int64_t block, std::span<const SequenceSpan> run, const at::Tensor& key,
                                  const at::Tensor& value);
  // States of a module after the last advance(); null = none yet.
  [[nodiscard]] const std::vector<at::Tensor>* states(int64_t id, std::string_view module) const;
  // What they will be after the next one.
  void set_states(int64_t id, std::string_view module, std::vector<at::Tensor> states);

 private:
  using States = std::map<std::string, std::vector<at::Tensor>, std::less<>>;
  struct Sequence {
    int64_t length = 0;
    std::vector<int64_t> pages;
    States states, next_states;
  };
  [[nodiscard]] const Sequence& sequence(int64_t id) const;
  [[nodiscard]] Sequence& sequence(int64_t id);
  [[nodiscard]] bool in_one_page(const SequenceSpan& span) const { return span.past + span.count <= page_size_; }
  [[nodiscard]] int64_t take_page();
  void give_back(std::span<const int64_t> pages);
  [[nodiscard]] int64_t copy_page(int64_t page);
  void write(const at::Tensor& pool, std::span<const SequenceSpan> run, const at::Tensor& x) const;
  [[nodiscard]] at::Tensor read(const at::Tensor& pool, std::span<const SequenceSpan> run) const;

  int64_t page_size_;
  int64_t num_pages_;
  int64_t next_id_ = 0;
  std::map<int64_t, Sequence> sequences_;
  std::set<int64_t> free_;       // the lowest first, so that sequences that come together lie together
  std::vector<int64_t> owners_;  // sequences that have a page
  std::vector<KeysValues> blocks_;
};

}  // namespace arkit::sdk
