#include "attention_tiles.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <arkit/fixed_order.h>

#include "attention_kernels.h"

namespace arkit::sdk {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kTile = 128;  // queries of a tile
constexpr int64_t kFewest = 64;

struct Shape {
  int64_t batch, heads, kv_heads, seqlen, head_dim, keys;
  [[nodiscard]] int64_t repeat() const { return heads / kv_heads; }
  [[nodiscard]] int64_t rows() const { return repeat() * std::min(kTile, seqlen); }  // of the largest tile
};

Shape shape_of(const at::Tensor& query, const at::Tensor& key) {
  return {query.size(0), query.size(2), key.size(2), query.size(1), query.size(3), key.size(1)};
}

// What one thread needs: the tile's queries (of all heads that share a key head, head by head), scores, results.
struct Scratch {
  explicit Scratch(const Shape& shape, bool backward) {
    const auto options = at::TensorOptions().dtype(at::kFloat);
    query = at::empty({shape.rows(), shape.head_dim}, options);
    out = at::empty({shape.rows(), shape.head_dim}, options);
    scores = at::empty({shape.rows(), shape.keys}, options);
    row = at::empty({shape.rows()}, options);
    if (!backward) return;
    grad_out = at::empty({shape.rows(), shape.head_dim}, options);
    grad_scores = at::empty({shape.rows(), shape.keys}, options);
    log_sum = at::empty({shape.rows()}, options);
  }
  at::Tensor query, out, scores, row, grad_out, grad_scores, log_sum;
};

// Tile of queries [first, first + count) for the heads of one key/value head, in x [batch, S, heads, head_dim].
struct Tile {
  int64_t batch, kv_head, first, count;
};

template <typename Body>  // body(pointer to the row in x, row of the tile)
void each_row(const Shape& shape, const Tile& tile, float* x, const Body& body) {
  for (int64_t h = 0; h < shape.repeat(); ++h)
    for (int64_t t = 0; t < tile.count; ++t) {
      const int64_t token = tile.batch * shape.seqlen + tile.first + t;
      body(x + (token * shape.heads + tile.kv_head * shape.repeat() + h) * shape.head_dim, h * tile.count + t);
    }
}

void gather(const Shape& shape, const Tile& tile, const at::Tensor& x, const at::Tensor& rows) {
  auto* to = rows.mutable_data_ptr<float>();
  each_row(shape, tile, static_cast<float*>(x.data_ptr()),
           [&](const float* from, int64_t row) { std::copy_n(from, shape.head_dim, to + row * shape.head_dim); });
}

// [S, head_dim] of one key/value head, as it lies.
at::Tensor head_of(const at::Tensor& x, const Tile& tile) {
  return x.select(0, tile.batch).select(1, tile.kv_head);
}

// log_sum [batch, kv_heads, tiles, rows of a tile].
float* log_sum_of(const at::Tensor& log_sum, const Shape& shape, const Tile& tile) {
  return static_cast<float*>(log_sum.data_ptr()) +
         ((tile.batch * shape.kv_heads + tile.kv_head) * shape.seqlen + tile.first) * shape.repeat();
}

// Keys a tile looks at: with a mask all of them, else those before its last query.
int64_t keys_of(const Shape& shape, const Tile& tile, const TileScores& how) {
  return how.mask.defined() ? shape.keys : shape.keys - shape.seqlen + tile.first + tile.count;
}

kernels::ScoreTile score_tile(const Shape& shape, const Tile& tile, int64_t keys) {
  return {shape.repeat(), tile.count, keys, keys, shape.keys - shape.seqlen + tile.first};
}

kernels::ScoreCap score_cap(const Tile& tile, const TileScores& how) {
  const auto cap = static_cast<float>(how.cap);
  if (!how.mask.defined()) return {cap, nullptr};
  const int64_t row = how.mask.size(0) == 1 ? 0 : tile.batch;
  return {cap, how.mask.const_data_ptr<float>() + row * how.mask.stride(0) + tile.first * how.mask.size(3)};
}

// The front of a scratch tensor as a dense [rows, cols].
at::Tensor front(const at::Tensor& scratch, int64_t rows, int64_t cols) {
  return scratch.view({-1}).narrow(0, 0, rows * cols).view({rows, cols});
}

// body(begin, end) of `count` tasks, each on one thread whatever their number: a single one opens no parallel region,
// and products inside it would take all threads.
template <typename Body>
void for_tasks(int64_t count, const Body& body) {
  if (count > 1) return at::parallel_for(0, count, 1, body);
  const OneThread one;
  body(0, count);
}

template <typename Body>  // body(batch, kv_head, scratch)
void each_kv_head(const Shape& shape, const Body& body) {
  for_tasks(shape.batch * shape.kv_heads, [&](int64_t begin, int64_t end) {
    const at::NoGradGuard no_grad;
    Scratch scratch(shape, true);
    for (int64_t i = begin; i < end; ++i) body(i / shape.kv_heads, i % shape.kv_heads, scratch);
  });
}

void tile_forward(const Shape& shape, const Tile& tile, const at::Tensor& query, const at::Tensor& key,
                  const at::Tensor& value, const TileScores& how, const Scratch& scratch, const at::Tensor& out,
                  const at::Tensor& log_sum) {
  const int64_t rows = shape.repeat() * tile.count, keys = keys_of(shape, tile, how);
  const auto scale = static_cast<float>(how.scale);
  gather(shape, tile, query, scratch.query);
  at::Tensor scores = front(scratch.scores, rows, keys), mixed = front(scratch.out, rows, shape.head_dim);
  at::mm_out(scores, front(scratch.query, rows, shape.head_dim), head_of(key, tile).narrow(0, 0, keys).t());
  const auto* inverse = scratch.row.const_data_ptr<float>();
  auto *numbers = scores.mutable_data_ptr<float>(), *sums = scratch.row.mutable_data_ptr<float>();
  float* logs = log_sum_of(log_sum, shape, tile);
  if (how.cap > 0.0)
    kernels::capped_softmax(numbers, score_tile(shape, tile, keys), scale, score_cap(tile, how), sums, logs);
  else
    kernels::causal_softmax(numbers, score_tile(shape, tile, keys), scale, sums, logs);
  at::mm_out(mixed, scores, head_of(value, tile).narrow(0, 0, keys));
  const auto* from = mixed.const_data_ptr<float>();
  each_row(shape, tile, out.mutable_data_ptr<float>(), [&](float* to, int64_t row) {
    kernels::scale_row(from + row * shape.head_dim, inverse[row], to, shape.head_dim);
  });
}

struct Gradients {
  at::Tensor query, key, value;
};

void tile_backward(const Shape& shape, const Tile& tile, const variable_list& saved, const at::Tensor& grad_out,
                   const TileScores& how, const Scratch& scratch, const Gradients& gradients, bool first_of_head) {
  const int64_t rows = shape.repeat() * tile.count, keys = keys_of(shape, tile, how), width = shape.head_dim;
  const auto scale = static_cast<float>(how.scale);
  const at::Tensor &query = saved[0], &key = saved[1], &value = saved[2], &out = saved[3], &log_sum = saved[4];
  gather(shape, tile, query, scratch.query);
  gather(shape, tile, grad_out, scratch.grad_out);
  const at::Tensor q = front(scratch.query, rows, width), dy = front(scratch.grad_out, rows, width);
  auto* delta = scratch.row.mutable_data_ptr<float>();
  const auto* dy_rows = dy.const_data_ptr<float>();
  each_row(shape, tile, static_cast<float*>(out.data_ptr()),
           [&](const float* y, int64_t row) { delta[row] = kernels::dot_row(y, dy_rows + row * width, width); });
  at::Tensor scores = front(scratch.scores, rows, keys), grad_scores = front(scratch.grad_scores, rows, keys);
  const at::Tensor k = head_of(key, tile).narrow(0, 0, keys), v = head_of(value, tile).narrow(0, 0, keys);
  at::mm_out(scores, q, k.t());
  at::mm_out(grad_scores, dy, v.t());
  auto *numbers = scores.mutable_data_ptr<float>(), *grads = grad_scores.mutable_data_ptr<float>();
  const float* logs = log_sum_of(log_sum, shape, tile);
  const kernels::ScoreTile score = score_tile(shape, tile, keys);
  if (how.cap > 0.0)
    kernels::capped_softmax_backward(numbers, grads, score, scale, score_cap(tile, how), logs, delta);
  else
    kernels::causal_softmax_backward(numbers, grads, score, scale, logs, delta);
  at::Tensor dk = head_of(gradients.key, tile).narrow(0, 0, keys);
  at::Tensor dv = head_of(gradients.value, tile).narrow(0, 0, keys);
  const int keep = first_of_head ? 0 : 1;
  at::addmm_out(dv, dv, scores.t(), dy, keep);
  at::addmm_out(dk, dk, grad_scores.t(), q, keep);
  at::Tensor dq = front(scratch.out, rows, width);
  at::mm_out(dq, grad_scores, k);
  const auto* from = dq.const_data_ptr<float>();
  each_row(shape, tile, gradients.query.mutable_data_ptr<float>(),
           [&](float* to, int64_t row) { std::copy_n(from + row * width, width, to); });
}

// query [batch, S, heads, head_dim], key and value [batch, T, kv_heads, head_dim], contiguous.
at::Tensor run_forward(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const TileScores& how,
                       const at::Tensor& log_sum) {
  const Shape shape = shape_of(query, key);
  at::Tensor out = at::empty_like(query);
  const int64_t tiles = (shape.seqlen + kTile - 1) / kTile;
  for_tasks(shape.batch * shape.kv_heads * tiles, [&](int64_t begin, int64_t end) {
    const at::NoGradGuard no_grad;
    const Scratch scratch(shape, false);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t head = i / tiles, first = i % tiles * kTile;
      tile_forward(shape, {head / shape.kv_heads, head % shape.kv_heads, first, std::min(kTile, shape.seqlen - first)},
                   query, key, value, how, scratch, out, log_sum);
    }
  });
  return out;
}

struct TiledAttention : torch::autograd::Function<TiledAttention> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& query, const at::Tensor& key,
                            const at::Tensor& value, const TileScores& how) {
    const at::Tensor log_sum = at::empty({query.size(0), query.size(1), query.size(2)}, query.options());
    at::Tensor out = run_forward(query, key, value, how, log_sum);
    context->save_for_backward({query, key, value, out, log_sum, how.mask});
    context->saved_data["scale"] = how.scale;
    context->saved_data["cap"] = how.cap;
    return out;
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const variable_list saved = context->get_saved_variables();
    const Shape shape = shape_of(saved[0], saved[1]);
    const at::Tensor grad_out = grads[0].contiguous();
    const TileScores how{context->saved_data["scale"].toDouble(), context->saved_data["cap"].toDouble(), saved[5]};
    const Gradients gradients{at::empty_like(saved[0]), at::empty_like(saved[1]), at::empty_like(saved[2])};
    each_kv_head(shape, [&](int64_t batch, int64_t kv_head, const Scratch& scratch) {
      const int64_t tiles = (shape.seqlen + kTile - 1) / kTile;  // the last one sees every key: it writes, others add
      for (int64_t i = tiles - 1; i >= 0; --i)
        tile_backward(shape, {batch, kv_head, i * kTile, std::min(kTile, shape.seqlen - i * kTile)}, saved, grad_out,
                      how, scratch, gradients, i == tiles - 1);
    });
    return {gradients.query, gradients.key, gradients.value, at::Tensor()};
  }
};

at::Tensor run_tiles(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const TileScores& how) {
  const at::Tensor q = query.transpose(1, 2).contiguous(), k = key.transpose(1, 2).contiguous(),
                   v = value.transpose(1, 2).contiguous();
  const bool graph = c10::GradMode::is_enabled() && (q.requires_grad() || k.requires_grad() || v.requires_grad());
  const at::Tensor out = graph ? TiledAttention::apply(q, k, v, how)
                               : run_forward(q, k, v, how, at::empty({q.size(0), q.size(1), q.size(2)}, q.options()));
  return out.view({q.size(0), q.size(1), q.size(2) * q.size(3)});
}

}  // namespace

bool attention_tiles_apply(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) {
  const bool plain = query.is_cpu() && query.scalar_type() == at::kFloat && key.scalar_type() == at::kFloat;
  return plain && query.size(2) == key.size(2) && query.size(2) >= kFewest && key.size(3) == value.size(3);
}

bool capped_tiles_apply(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) {
  const bool plain = query.is_cpu() && query.scalar_type() == at::kFloat && key.scalar_type() == at::kFloat;
  return plain && value.scalar_type() == at::kFloat && key.size(3) == value.size(3);
}

at::Tensor capped_tiles(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                        const TileScores& scores) {
  TileScores how = scores;
  if (how.mask.defined()) how.mask = how.mask.to(at::kFloat).contiguous();
  return run_tiles(query, key, value, how);
}

at::Tensor attention_tiles(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, double scale) {
  return run_tiles(query, key, value, {.scale = scale, .cap = 0.0, .mask = {}});
}

}  // namespace arkit::sdk
