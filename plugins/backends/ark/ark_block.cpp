#include "ark_block.h"

#include <algorithm>
#include <atomic>

#include <omp.h>
#include <sched.h>

#include "float_rows.h"
#include "layer_blob.h"

namespace arkit::ark {

// Rows first .. first+count-1 of the rows at hand are positions position .. of a sequence.
struct ArkBlock::Part {
  int64_t first = 0, count = 0, position = 0;
  const int64_t* pages = nullptr;
};

struct ArkBlock::Rows {
  int64_t count = 0;
  std::vector<Part> parts;
  const sdk::BlockRun* run = nullptr;
  int64_t offset = 0;          // of the first in run->x
  float* x = nullptr;          // [count][hidden]
  float* projected = nullptr;  // [count][query_width + 2 * kv_width]; queries become what was attended
  float* added = nullptr;      // [count][hidden], of a sublayer before its norm
  float* gates = nullptr;      // [count][2 * width]
  float* scratch = nullptr;    // of each thread
  int64_t scratch_size = 0;
  std::vector<LayerGroup::Input> inputs[4];
  std::vector<std::pair<size_t, int64_t>> tasks;  // of attention: a part, its first query
  std::atomic<int64_t> next_task = 0;
  std::atomic<int64_t> waiting = 0, round = 0;
};

namespace {

constexpr int64_t kRowsAtOnce = 256;

// All threads of a region; spins, since what is waited for takes microseconds, but lets others run when it takes longer.
void wait_for_all(std::atomic<int64_t>& waiting, std::atomic<int64_t>& round, int64_t of) {
  if (of == 1) return;
  const int64_t mine = round.load(std::memory_order_acquire);
  if (waiting.fetch_add(1, std::memory_order_acq_rel) + 1 == of) {
    waiting.store(0, std::memory_order_relaxed);
    round.store(mine + 1, std::memory_order_release);
    return;
  }
  for (int spins = 0; round.load(std::memory_order_acquire) == mine; ++spins) {
    if (spins < 500) {
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
    } else {
      ::sched_yield();
    }
  }
}

bool has_roles(std::span<const ArkitRole> roles, std::initializer_list<ArkitRole> wanted) {
  return std::all_of(wanted.begin(), wanted.end(),
                     [&](ArkitRole role) { return std::count(roles.begin(), roles.end(), role) == 1; });
}

std::vector<ArkLayer> taken(std::vector<ArkLayer>& layers, std::span<const ArkitRole> roles,
                            std::initializer_list<ArkitRole> wanted) {
  std::vector<ArkLayer> group;
  for (const ArkitRole role : wanted)
    for (size_t i = 0; i < roles.size(); ++i)
      if (roles[i] == role) group.push_back(std::move(layers[i]));
  return group;
}

}  // namespace

std::string why_no_block(const sdk::BlockSpec& block) {
  const std::string name = "block '" + std::string(block.name) + "'";
  if (block.norm_kind != "rms") return name + " has norms of kind '" + std::string(block.norm_kind) + "'";
  if (block.activation != "silu" && block.activation != "gelu_pytorch_tanh" && block.activation != "gelu_new")
    return name + " has the activation '" + std::string(block.activation) + "'";
  if (block.head_dim % 16 != 0 || block.head_dim > kMaxHeadDim)
    return name + " has heads of " + std::to_string(block.head_dim) + " channels";
  if (block.softcap != 0) return name + " caps its scores";
  if (block.rope_dim % 2 != 0 || block.rope_dim > block.head_dim)
    return name + " turns " + std::to_string(block.rope_dim) + " channels";
  const bool apart = has_roles(block.roles, {ARKIT_ROLE_QUERY, ARKIT_ROLE_KEY, ARKIT_ROLE_VALUE});
  const bool both = has_roles(block.roles, {ARKIT_ROLE_GATE, ARKIT_ROLE_UP});
  if ((!apart && !has_roles(block.roles, {ARKIT_ROLE_QKV})) ||
      (!both && !has_roles(block.roles, {ARKIT_ROLE_GATE_UP})) ||
      !has_roles(block.roles, {ARKIT_ROLE_OUTPUT, ARKIT_ROLE_DOWN}) ||
      block.roles.size() != size_t{2} + (apart ? 3 : 1) + (both ? 2 : 1))
    return name + " has other layers than a block of attention and a gated feed-forward network";
  const auto width_of = [&](ArkitRole role, int64_t& in) -> int64_t {
    for (size_t i = 0; i < block.roles.size(); ++i)
      if (block.roles[i] == role) {
        in = block.layers[i].in_features;
        return block.layers[i].out_features;
      }
    return -1;
  };
  const int64_t query = block.heads * block.head_dim, kv = block.kv_heads * block.head_dim;
  struct Wanted {
    ArkitRole role;
    int64_t out, in;
  };
  const Wanted all[] = {
      {ARKIT_ROLE_QUERY, query, block.hidden_size},     {ARKIT_ROLE_KEY, kv, block.hidden_size},
      {ARKIT_ROLE_VALUE, kv, block.hidden_size},        {ARKIT_ROLE_QKV, query + 2 * kv, block.hidden_size},
      {ARKIT_ROLE_OUTPUT, block.hidden_size, query},    {ARKIT_ROLE_GATE, block.width, block.hidden_size},
      {ARKIT_ROLE_UP, block.width, block.hidden_size},  {ARKIT_ROLE_GATE_UP, 2 * block.width, block.hidden_size},
      {ARKIT_ROLE_DOWN, block.hidden_size, block.width}};
  for (const Wanted& wanted : all) {
    int64_t in = 0;
    const int64_t out = width_of(wanted.role, in);
    if (out >= 0 && (out != wanted.out || in != wanted.in))
      return name + " has a layer of another shape than its heads";
  }
  if (block.kv_heads <= 0 || block.heads % block.kv_heads != 0) return name + " shares its keys unevenly";
  return {};
}

ArkBlock::ArkBlock(const Kernels& kernels, const BlockKernels& between, int threads, const sdk::BlockRequest& request,
                   std::vector<ArkLayer> layers)
    : kernels_(kernels),
      between_(between),
      threads_(threads),
      type_(request.compute_type == ARKIT_BFLOAT16 ? ARKIT_BFLOAT16 : ARKIT_FLOAT32),
      roles_(request.block.roles.begin(), request.block.roles.end()),
      attention_in_(kernels,
                    taken(layers, roles_, {ARKIT_ROLE_QKV, ARKIT_ROLE_QUERY, ARKIT_ROLE_KEY, ARKIT_ROLE_VALUE}),
                    kMostLevels, request.exact()),
      attention_out_(kernels, taken(layers, roles_, {ARKIT_ROLE_OUTPUT}), kMostLevels, request.exact()),
      feed_in_(kernels, taken(layers, roles_, {ARKIT_ROLE_GATE_UP, ARKIT_ROLE_GATE, ARKIT_ROLE_UP}), kMostLevels,
               request.exact()),
      feed_out_(kernels, taken(layers, roles_, {ARKIT_ROLE_DOWN}), kMostLevels, request.exact()) {
  const sdk::BlockSpec& block = request.block;
  shape_ = {.hidden = block.hidden_size,
            .heads = block.heads,
            .kv_heads = block.kv_heads,
            .head_dim = block.head_dim,
            .rope_half = block.rope_dim / 2,
            .window = block.window,
            .width = block.width,
            .query_width = block.heads * block.head_dim,
            .kv_width = block.kv_heads * block.head_dim,
            .attention_scale = static_cast<float>(block.attention_scale),
            .residual_scale = static_cast<float>(block.residual_scale),
            .epsilon = static_cast<float>(block.norm_epsilon),
            .offset = static_cast<float>(block.norm_offset),
            .neighbours = (block.flags & ARKIT_BLOCK_ROPE_NEIGHBOURS) != 0,
            .activation = block.activation == "silu" ? Activation::silu : Activation::gelu_tanh};
  for (size_t i = 0; i < norms_.size(); ++i) {
    const bool of_head = i == ARKIT_NORM_QUERY || i == ARKIT_NORM_KEY;
    if (!request.norms[i]) continue;
    const std::span<const float> factors = request.norms[i]->values<const float>();
    if (factors.size() != static_cast<size_t>(of_head ? shape_.head_dim : shape_.hidden))
      throw sdk::BackendError(ARKIT_BAD_INPUT, "block '" + std::string(block.name) + "': a norm has " +
                                                   std::to_string(factors.size()) + " factors");
    norms_[i].assign(factors.begin(), factors.end());
  }
}

int64_t ArkBlock::bytes() const {
  size_t all = attention_in_.bytes() + attention_out_.bytes() + feed_in_.bytes() + feed_out_.bytes();
  for (const std::vector<float>& norm : norms_) all += norm.size() * sizeof(float);
  return static_cast<int64_t>(all);
}

void ArkBlock::save(const sdk::BlobSink& sink) const {
  std::vector<const ArkLayer*> layers;
  const auto add = [&](const LayerGroup& group, std::initializer_list<ArkitRole> order, ArkitRole role) {
    size_t at = 0;
    for (const ArkitRole one : order) {
      if (std::find(roles_.begin(), roles_.end(), one) == roles_.end()) continue;
      if (one == role) layers.push_back(&group.layers()[at]);
      ++at;
    }
  };
  for (const ArkitRole role : roles_) {
    add(attention_in_, {ARKIT_ROLE_QKV, ARKIT_ROLE_QUERY, ARKIT_ROLE_KEY, ARKIT_ROLE_VALUE}, role);
    add(attention_out_, {ARKIT_ROLE_OUTPUT}, role);
    add(feed_in_, {ARKIT_ROLE_GATE_UP, ARKIT_ROLE_GATE, ARKIT_ROLE_UP}, role);
    add(feed_out_, {ARKIT_ROLE_DOWN}, role);
  }
  write_layers(layers, sink);
}

void ArkBlock::norm_row(int place, const float* x, int64_t n, float* out) const {
  const std::vector<float>& factors = norms_[static_cast<size_t>(place)];
  if (factors.empty())
    std::copy_n(x, n, out);
  else
    between_.rms_norm(x, factors.data(), n, shape_.epsilon, shape_.offset, out);
}

// Norms and turns the queries and keys of a row, and puts its keys and values into their page.
void ArkBlock::turn_row(const Rows& rows, const Part& part, int64_t row) const {
  const int64_t dim = shape_.head_dim, stride = shape_.query_width + 2 * shape_.kv_width;
  float* query = rows.projected + row * stride;
  float* key = query + shape_.query_width;
  float* value = key + shape_.kv_width;
  for (const auto& [place, states, heads] :
       {std::tuple(ARKIT_NORM_QUERY, query, shape_.heads), std::tuple(ARKIT_NORM_KEY, key, shape_.kv_heads)})
    if (!norms_[static_cast<size_t>(place)].empty())
      for (int64_t h = 0; h < heads; ++h) norm_row(place, states + h * dim, dim, states + h * dim);
  if (shape_.rope_half > 0) {
    const int64_t at = (rows.offset + row) * shape_.rope_half;
    const float* cos = static_cast<const float*>(rows.run->cos->host) + at;
    const float* sin = static_cast<const float*>(rows.run->sin->host) + at;
    between_.rope(query, shape_.heads, dim, shape_.rope_half, shape_.neighbours, cos, sin);
    between_.rope(key, shape_.kv_heads, dim, shape_.rope_half, shape_.neighbours, cos, sin);
  }
  keep(rows, part, part.position + row - part.first, key, value);
}

void ArkBlock::keep(const Rows& rows, const Part& part, int64_t position, const float* key, const float* value) const {
  const int64_t dim = shape_.head_dim, page_size = rows.run->keys.shape[2], slot = position % page_size;
  const bool bytes = rows.run->keys.type == ARKIT_INT8;
  for (int64_t h = 0; h < shape_.kv_heads; ++h, key += dim, value += dim) {
    const int64_t head = part.pages[position / page_size] * shape_.kv_heads + h;
    if (!bytes) {
      from_floats(key, dim, rows.run->keys, (head * page_size + slot) * dim);
      from_floats(value, dim, rows.run->values, (head * page_size + slot) * dim);
      continue;
    }
    int8_t codes[kMaxHeadDim];
    float scale = 0;
    int32_t sum = 0;
    const int64_t at = (head * page_size + slot / kStrip * kStrip) * (dim + 4);
    kernels_.quantize(key, 1, static_cast<int32_t>(dim), kMostLevels, codes, &scale, &sum);
    put_key(codes, scale, dim, slot % kStrip, static_cast<uint8_t*>(rows.run->keys.host) + at);
    kernels_.quantize(value, 1, static_cast<int32_t>(dim), kMostLevels, codes, &scale, &sum);
    put_value(codes, scale, dim, slot % kStrip, static_cast<uint8_t*>(rows.run->values.host) + at);
  }
}

void ArkBlock::attend(const Rows& rows, int64_t task, float* scratch) const {
  const auto& [index, first] = rows.tasks[static_cast<size_t>(task / shape_.kv_heads)];
  const Part& part = rows.parts[index];
  const int64_t h = task % shape_.kv_heads, dim = shape_.head_dim, heads = shape_.heads / shape_.kv_heads;
  const int64_t page_size = rows.run->keys.shape[2], stride = shape_.query_width + 2 * shape_.kv_width;
  const bool floats = rows.run->keys.type == ARKIT_FLOAT32;
  const auto at_head = [&](const sdk::TensorView& pool) -> const void* {
    return static_cast<const std::byte*>(pool.host) + h * page_size * dim * (floats ? 4 : 2);
  };
  float* query = rows.projected + (part.first + first) * stride + h * heads * dim;
  const int64_t count = std::min<int64_t>(kQueryTile, part.count - first);
  if (rows.run->keys.type == ARKIT_INT8) {
    const int64_t of_head = page_size * (dim + 4);
    kernels_.attend({.keys = static_cast<const uint8_t*>(rows.run->keys.host) + h * of_head,
                     .values = static_cast<const uint8_t*>(rows.run->values.host) + h * of_head,
                     .pages = part.pages,
                     .page_stride = shape_.kv_heads * of_head,
                     .page_size = page_size,
                     .first = part.position + first,
                     .queries = count,
                     .heads = heads,
                     .dim = dim,
                     .window = shape_.window,
                     .scale = shape_.attention_scale,
                     .query = query,
                     .out = query,
                     .stride = stride,
                     .scratch = scratch});
    return;
  }
  between_.attend({.cache = {.keys = at_head(rows.run->keys),
                             .values = at_head(rows.run->values),
                             .pages = part.pages,
                             .page_stride = shape_.kv_heads * page_size * dim,
                             .page_size = page_size,
                             .type = floats ? CacheType::float32 : CacheType::bfloat16},
                   .first = part.position + first,
                   .queries = count,
                   .heads = heads,
                   .dim = dim,
                   .window = shape_.window,
                   .scale = shape_.attention_scale,
                   .query = query,
                   .out = query,
                   .stride = stride,
                   .scratch = scratch});
}

// What a sublayer gave of a row, where its norm stands between it and the sum.
void ArkBlock::add_output(const Rows& rows, int place, const float* sublayer, int64_t row, float* scratch) const {
  norm_row(place, sublayer + row * shape_.hidden, shape_.hidden, scratch);
  between_.add(scratch, shape_.residual_scale, shape_.hidden, rows.x + row * shape_.hidden);
}

// Thread `me` of `of`; steps follow each other for all threads.
void ArkBlock::run_rows(Rows& rows, int64_t me, int64_t of) const {
  const int64_t n = rows.count, hidden = shape_.hidden, width = shape_.width;
  const int64_t stride = shape_.query_width + 2 * shape_.kv_width;
  const int64_t begin = n * me / of, end = n * (me + 1) / of;
  float* own = rows.scratch + me * rows.scratch_size;
  float* more = own + std::max(hidden, width);
  const auto wait = [&] { wait_for_all(rows.waiting, rows.round, of); };
  const auto multiply = [&](const LayerGroup& group, int input, std::span<const Output> outputs) {
    wait();
    group.multiply(group.panels() * me / of, group.panels() * (me + 1) / of, rows.inputs[input], n, outputs);
    wait();
  };
  const auto side_by_side = [](const LayerGroup& group, float* to, int64_t all) {
    std::vector<Output> outputs;
    for (const ArkLayer& layer : group.layers()) {
      outputs.push_back({.floats = to, .stride = all});
      to += layer.weight.out_features();
    }
    return outputs;
  };
  const auto sublayer = [&](int place) {
    const bool normed = !norms_[static_cast<size_t>(place)].empty();
    return Output{
        .floats = normed ? rows.added : rows.x, .stride = hidden, .add = !normed, .scale = shape_.residual_scale};
  };

  for (int64_t row = begin; row < end; ++row) {
    float* x = rows.x + row * hidden;
    to_floats(rows.run->x, (rows.offset + row) * hidden, hidden, x);
    norm_row(ARKIT_NORM_MIXER_IN, x, hidden, own);
    attention_in_.quantize(own, rows.inputs[0], row, more);
  }
  multiply(attention_in_, 0, side_by_side(attention_in_, rows.projected, stride));
  for (const Part& part : rows.parts)
    for (int64_t row = std::max(begin, part.first); row < std::min(end, part.first + part.count); ++row)
      turn_row(rows, part, row);
  wait();
  const auto tasks = static_cast<int64_t>(rows.tasks.size()) * shape_.kv_heads;
  for (int64_t task; (task = rows.next_task.fetch_add(1, std::memory_order_relaxed)) < tasks;) attend(rows, task, own);
  wait();
  for (int64_t row = begin; row < end; ++row)
    attention_out_.quantize(rows.projected + row * stride, rows.inputs[1], row, more);
  const Output mixer = sublayer(ARKIT_NORM_MIXER_OUT);
  multiply(attention_out_, 1, {&mixer, 1});
  for (int64_t row = begin; row < end; ++row) {
    if (!mixer.add) add_output(rows, ARKIT_NORM_MIXER_OUT, rows.added, row, own);
    norm_row(ARKIT_NORM_FEED_FORWARD_IN, rows.x + row * hidden, hidden, own);
    feed_in_.quantize(own, rows.inputs[2], row, more);
  }
  multiply(feed_in_, 2, side_by_side(feed_in_, rows.gates, 2 * width));
  for (int64_t row = begin; row < end; ++row) {
    float* gate = rows.gates + row * 2 * width;
    between_.gated(shape_.activation, gate, gate + width, width, gate);
    feed_out_.quantize(gate, rows.inputs[3], row, more);
  }
  const Output feed = sublayer(ARKIT_NORM_FEED_FORWARD_OUT);
  multiply(feed_out_, 3, {&feed, 1});
  for (int64_t row = begin; row < end; ++row) {
    if (!feed.add) add_output(rows, ARKIT_NORM_FEED_FORWARD_OUT, rows.added, row, own);
    from_floats(rows.x + row * hidden, hidden, rows.run->x, (rows.offset + row) * hidden);
  }
}

void ArkBlock::run(const sdk::BlockRun& run, ArkitStream*) {
  const int64_t all = static_cast<int64_t>(run.x.count()) / shape_.hidden, at_once = std::min(all, kRowsAtOnce);
  const bool in_bytes = run.keys.type == ARKIT_INT8;
  const bool pools =
      run.keys.shape.size() == 4 && run.keys.type == run.values.type && run.keys.shape[1] == shape_.kv_heads &&
      run.keys.shape[3] == shape_.head_dim + (in_bytes ? 4 : 0) && run.keys.count() == run.values.count() &&
      (in_bytes ? run.keys.shape[2] % kStrip == 0 : run.keys.type == ARKIT_FLOAT32 || run.keys.type == ARKIT_BFLOAT16);
  if (!pools || run.x.type != type_ || (shape_.rope_half > 0 && (!run.cos || !run.sin)))
    throw sdk::BackendError(ARKIT_MISUSED, "a block is run on tensors of another kind than it was prepared for");
  const LayerGroup* const groups[] = {&attention_in_, &attention_out_, &feed_in_, &feed_out_};
  int64_t work = 0, row_scratch = 0;
  size_t bytes = 0;
  for (const LayerGroup* group : groups) {
    work += group->panels() * kPanel * group->in_features();
    row_scratch = std::max(row_scratch, group->row_scratch());
    bytes += group->input_bytes(at_once);
  }
  const int threads = work * all >= kWorthThreads ? threads_ : 1;
  Rows rows;
  rows.run = &run;
  const int64_t sharing = shape_.heads / shape_.kv_heads;
  rows.scratch_size =
      std::max({std::max(shape_.hidden, shape_.width) + row_scratch, attend_scratch(sharing, shape_.head_dim),
                byte_attention_scratch(sharing * kQueryTile, shape_.head_dim)});
  const int64_t projected = at_once * (shape_.query_width + 2 * shape_.kv_width);
  for (const int64_t floats : {at_once * shape_.hidden, projected, at_once * shape_.hidden, at_once * 2 * shape_.width,
                               threads * rows.scratch_size})
    bytes += Arena::bytes<float>(floats);
  thread_local Arena arena;
  arena.reserve(bytes);
  for (size_t i = 0; i < 4; ++i) rows.inputs[i] = groups[i]->take_inputs(arena, at_once);
  rows.x = arena.take<float>(at_once * shape_.hidden);
  rows.projected = arena.take<float>(projected);
  rows.added = arena.take<float>(at_once * shape_.hidden);
  rows.gates = arena.take<float>(at_once * 2 * shape_.width);
  rows.scratch = arena.take<float>(threads * rows.scratch_size);

  size_t span = 0;
  int64_t done = 0;  // of that span
  for (rows.offset = 0; rows.offset < all; rows.offset += rows.count) {
    rows.count = std::min(at_once, all - rows.offset);
    rows.parts.clear();
    rows.tasks.clear();
    for (int64_t row = 0; row < rows.count;) {
      if (span == run.spans.size())
        throw sdk::BackendError(ARKIT_MISUSED, "a block is run on more rows than its spans have");
      const ArkitSpan& from = *run.spans[span];
      const int64_t count = std::min(from.count - done, rows.count - row);
      for (int64_t first = 0; first < count; first += kQueryTile) rows.tasks.emplace_back(rows.parts.size(), first);
      rows.parts.push_back({.first = row, .count = count, .position = from.past + done, .pages = from.pages});
      row += count;
      done += count;
      if (done == from.count) {
        ++span;
        done = 0;
      }
    }
    rows.next_task = 0;
#pragma omp parallel num_threads(threads) if (threads > 1)
    run_rows(rows, omp_get_thread_num(), omp_get_num_threads());
  }
}

}  // namespace arkit::ark
