#include <arkit/sdk/sequence_cache.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::sdk {

SequenceCache::SequenceCache(int64_t page_size, int64_t pages)
    : page_size_(page_size), num_pages_(pages), owners_(static_cast<size_t>(std::max<int64_t>(pages, 0))) {
  ARKIT_CHECK(page_size > 0 && pages > 0, "a cache has pages of at least one position");
  for (int64_t page = 0; page < pages; ++page) free_.insert(free_.end(), page);
}

const SequenceCache::Sequence& SequenceCache::sequence(int64_t id) const {
  const auto found = sequences_.find(id);
  ARKIT_CHECK(found != sequences_.end(), str("the cache has no sequence ", id));
  return found->second;
}

SequenceCache::Sequence& SequenceCache::sequence(int64_t id) {
  return const_cast<Sequence&>(std::as_const(*this).sequence(id));
}

int64_t SequenceCache::add() {
  sequences_.emplace(next_id_, Sequence());
  return next_id_++;
}

void SequenceCache::remove(int64_t id) {
  give_back(sequence(id).pages);
  sequences_.erase(id);
}

int64_t SequenceCache::take_page() {
  const int64_t page = free_.extract(free_.begin()).value();
  owners_[static_cast<size_t>(page)] = 1;
  return page;
}

void SequenceCache::give_back(std::span<const int64_t> pages) {
  for (const int64_t page : pages)
    if (--owners_[static_cast<size_t>(page)] == 0) free_.insert(page);
}

// A page of its own with what another holds, all of it: how positions lie in a page is the affair of whoever fills it.
int64_t SequenceCache::copy_page(int64_t page) {
  const int64_t fresh = take_page();
  const auto copy = [&](const at::Tensor& pool) {
    if (pool.defined()) pool.select(0, fresh).copy_(pool.select(0, page));
  };
  for (const KeysValues& pool : blocks_) {
    copy(pool.key);
    copy(pool.value);
  }
  return fresh;
}

std::optional<int64_t> SequenceCache::fork(int64_t id, int64_t length) {
  const Sequence& from = sequence(id);
  ARKIT_CHECK(length >= 0 && length <= from.length, str("sequence ", id, " has ", from.length, " positions"));
  const int64_t full = length / page_size_, rest = length % page_size_;
  if (!from.states.empty() || (rest > 0 && free_pages() == 0)) return std::nullopt;
  Sequence made{
      .length = length, .pages = {from.pages.begin(), from.pages.begin() + full}, .states = {}, .next_states = {}};
  for (const int64_t page : made.pages) ++owners_[static_cast<size_t>(page)];
  if (rest > 0) made.pages.push_back(copy_page(from.pages[static_cast<size_t>(full)]));
  sequences_.emplace(next_id_, std::move(made));
  return next_id_++;
}

bool SequenceCache::reserve(int64_t id, int64_t count) {
  Sequence& grown = sequence(id);
  const int64_t missing = pages_for(grown.length + count) - static_cast<int64_t>(grown.pages.size());
  if (missing > free_pages()) return false;
  for (int64_t i = 0; i < missing; ++i) grown.pages.push_back(take_page());
  return true;
}

SequenceSpan SequenceCache::next(int64_t id, int64_t count) const {
  const Sequence& grown = sequence(id);
  ARKIT_CHECK(pages_for(grown.length + count) <= static_cast<int64_t>(grown.pages.size()),
              str("sequence ", id, " has no room for ", count, " positions behind ", grown.length));
  return {.id = id, .past = grown.length, .count = count};
}

void SequenceCache::advance(std::span<const SequenceSpan> spans) {
  for (const SequenceSpan& span : spans) {
    Sequence& grown = sequence(span.id);
    grown.length = span.past + span.count;
    for (auto& [module, states] : grown.next_states) grown.states.insert_or_assign(module, std::move(states));
    grown.next_states.clear();
  }
}

bool SequenceCache::truncate(int64_t id, int64_t length) {
  Sequence& cut = sequence(id);
  ARKIT_CHECK(length >= 0 && length <= cut.length, str("sequence ", id, " has ", cut.length, " positions"));
  if (length < cut.length && !cut.states.empty()) return false;
  const auto kept = static_cast<size_t>(pages_for(length));
  // It will write behind its last position, into a page that others may read.
  const bool shares = length % page_size_ > 0 && owners_[static_cast<size_t>(cut.pages[kept - 1])] > 1;
  if (shares && free_pages() == 0) return false;
  cut.length = length;
  give_back(std::span<const int64_t>(cut.pages).subspan(kept));
  cut.pages.resize(kept);
  if (shares) {
    const int64_t own = copy_page(cut.pages.back());
    give_back({&cut.pages.back(), 1});
    cut.pages.back() = own;
  }
  return true;
}

int64_t SequenceCache::run_length(std::span<const SequenceSpan> spans) const {
  const SequenceSpan& first = spans.front();
  if (!in_one_page(first)) return 1;
  const int64_t page = sequence(first.id).pages.front();
  int64_t length = 1;
  for (; length < static_cast<int64_t>(spans.size()); ++length) {
    const SequenceSpan& span = spans[static_cast<size_t>(length)];
    if (span.past != first.past || span.count != first.count) break;
    if (sequence(span.id).pages.front() != page + length) break;
  }
  return length;
}

const SequenceCache::KeysValues& SequenceCache::pools(int64_t block, int64_t heads, int64_t key_dim, int64_t value_dim,
                                                      at::ScalarType dtype) {
  if (static_cast<size_t>(block) >= blocks_.size()) blocks_.resize(static_cast<size_t>(block) + 1);
  KeysValues& pool = blocks_[static_cast<size_t>(block)];
  const auto pages = [&](int64_t dim) { return at::empty({num_pages_, heads, page_size_, dim}, dtype); };
  if (!pool.key.defined()) pool = {pages(key_dim), pages(value_dim)};
  return pool;
}

SequenceCache::KeysValues SequenceCache::append(int64_t block, std::span<const SequenceSpan> run, const at::Tensor& key,
                                                const at::Tensor& value) {
  const KeysValues& pool = pools(block, key.size(1), key.size(3), value.size(3), key.scalar_type());
  write(pool.key, run, key);
  write(pool.value, run, value);
  return {read(pool.key, run), read(pool.value, run)};
}

void SequenceCache::write(const at::Tensor& pool, std::span<const SequenceSpan> run, const at::Tensor& x) const {
  const SequenceSpan& span = run.front();
  const std::vector<int64_t>& pages = sequence(span.id).pages;
  if (in_one_page(span)) {
    pool.narrow(0, pages.front(), x.size(0)).narrow(2, span.past, span.count).copy_(x);
    return;
  }
  for (int64_t done = 0; done < span.count;) {
    const int64_t position = span.past + done, slot = position % page_size_;
    const int64_t count = std::min(page_size_ - slot, span.count - done);
    const int64_t page = pages[static_cast<size_t>(position / page_size_)];
    pool.narrow(0, page, 1).narrow(2, slot, count).copy_(x.narrow(2, done, count));
    done += count;
  }
}

at::Tensor SequenceCache::read(const at::Tensor& pool, std::span<const SequenceSpan> run) const {
  const SequenceSpan& span = run.front();
  const std::vector<int64_t>& pages = sequence(span.id).pages;
  const int64_t positions = span.past + span.count;
  if (in_one_page(span)) return pool.narrow(0, pages.front(), static_cast<int64_t>(run.size())).narrow(2, 0, positions);
  at::Tensor out = at::empty({1, pool.size(1), positions, pool.size(3)}, pool.options());
  const auto* from = static_cast<const char*>(pool.const_data_ptr());
  auto* to = static_cast<char*>(out.mutable_data_ptr());
  const int64_t bytes = pool.size(3) * static_cast<int64_t>(pool.element_size());  // of one position of a head
  for (int64_t head = 0; head < pool.size(1); ++head)
    for (int64_t first = 0; first < positions; first += page_size_) {
      const int64_t page = pages[static_cast<size_t>(first / page_size_)];
      std::memcpy(to + (head * positions + first) * bytes, from + (page * pool.size(1) + head) * page_size_ * bytes,
                  static_cast<size_t>(std::min(page_size_, positions - first) * bytes));
    }
  return out;
}

const std::vector<at::Tensor>* SequenceCache::states(int64_t id, std::string_view module) const {
  const States& states = sequence(id).states;
  const auto found = states.find(module);
  return found == states.end() ? nullptr : &found->second;
}

void SequenceCache::set_states(int64_t id, std::string_view module, std::vector<at::Tensor> states) {
  sequence(id).next_states.insert_or_assign(std::string(module), std::move(states));
}

}  // namespace arkit::sdk
