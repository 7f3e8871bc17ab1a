// Paged attention. Keys are taken in parts of kPartKeys positions, counted from the sequence's first; a part has its own
// softmax, and the parts of a row are joined in order. Keys that a row doesn't see add exact zeros. So a row's bits depend
// on its own sequence alone.
#pragma once
#include <math.h>
#include <string.h>

#include "abi.h"
#include "rows.h"

namespace llmos::LLMOS_ISA {

constexpr int kPartKeys = 256;
constexpr int kBlockRows = 24;  // Query rows, heads times tokens, that share what is read of the cache.
constexpr int kWide = 6;        // Query rows that a product computes at once: 12 registers of AVX2's 16.

// One KV head's queries of a few tokens.
struct Block {
  int32_t row, position, num_tokens, table;  // table: place of the sequence's pages in Batch::pages
  int32_t first_part, num_parts;
  int64_t partials;  // Place of the first part's results, if there are several; see partial_floats.
};

static inline int64_t partial_floats(const Decoder& d) {
  return (int64_t)kBlockRows * (d.head_dim + 2);  // Peak and mass of each row, then its weighted values.
}

template <int ROWS>
static inline void score_keys(const float* const* q, const uint16_t* keys, int head_dim, int page_size, float* out) {
  Lanes dots[ROWS];
  for (int i = 0; i < ROWS; i++) dots[i] = set1(0.0f);
  for (int d = 0; d < head_dim; d++) {
    const Lanes sixteen = from_half(keys + (int64_t)d * page_size);
    for (int i = 0; i < ROWS; i++) dots[i] = fma(set1(q[i][d]), sixteen, dots[i]);
  }
  for (int i = 0; i < ROWS; i++) store(out + i * kPartKeys, dots[i]);
}

template <int ROWS>
static inline void add_values(const float* weights, const uint16_t* values, int num_keys, int head_dim, float* out) {
  for (int d = 0; d < head_dim; d += 16) {
    Lanes totals[ROWS];
    for (int i = 0; i < ROWS; i++) totals[i] = load(out + i * head_dim + d);
    for (int key = 0; key < num_keys; key++) {
      const Lanes sixteen = from_half(values + (int64_t)key * head_dim + d);
      for (int i = 0; i < ROWS; i++) totals[i] = fma(set1(weights[i * kPartKeys + key]), sixteen, totals[i]);
    }
    for (int i = 0; i < ROWS; i++) store(out + i * head_dim + d, totals[i]);
  }
}

static inline void score_keys(int rows, const float* const* q, const uint16_t* keys, int head_dim, int page_size, float* out) {
  switch (rows) {
    case 1: return score_keys<1>(q, keys, head_dim, page_size, out);
    case 2: return score_keys<2>(q, keys, head_dim, page_size, out);
    case 3: return score_keys<3>(q, keys, head_dim, page_size, out);
    case 4: return score_keys<4>(q, keys, head_dim, page_size, out);
    case 5: return score_keys<5>(q, keys, head_dim, page_size, out);
    default: return score_keys<kWide>(q, keys, head_dim, page_size, out);
  }
}

static inline void add_values(int rows, const float* weights, const uint16_t* values, int num_keys, int head_dim, float* out) {
  switch (rows) {
    case 1: return add_values<1>(weights, values, num_keys, head_dim, out);
    case 2: return add_values<2>(weights, values, num_keys, head_dim, out);
    case 3: return add_values<3>(weights, values, num_keys, head_dim, out);
    case 4: return add_values<4>(weights, values, num_keys, head_dim, out);
    case 5: return add_values<5>(weights, values, num_keys, head_dim, out);
    default: return add_values<kWide>(weights, values, num_keys, head_dim, out);
  }
}

// Scores to weights, in place. scores: [kPartKeys], of which `num` (a multiple of 16) are there; the row sees those from
// `low` to below `high`.
static inline void soften(float* scores, int num, int low, int high, float scale, float* peak, float* mass) {
  low = low < 0 ? 0 : low > num ? num : low;
  high = high < low ? low : high > num ? num : high;
  for (int i = 0; i < low; i++) scores[i] = -INFINITY;
  for (int i = high; i < num; i++) scores[i] = -INFINITY;
  Lanes peaks = set1(-INFINITY);
  for (int i = 0; i < num; i += 16) {
    const Lanes scaled = mul(load(scores + i), set1(scale));
    store(scores + i, scaled);
    peaks = max(peaks, scaled);
  }
  *peak = low < high ? largest(peaks) : -INFINITY;
  Lanes masses = set1(0.0f);
  const Lanes offset = set1(low < high ? *peak : 0.0f);
  for (int i = 0; i < num; i += 16) {
    const Lanes weights = exp(sub(load(scores + i), offset));
    store(scores + i, weights);
    masses = add(masses, weights);
  }
  *mass = total(masses);
}

// A part of a block: peaks, masses and weighted values of its rows. scores: room for [kBlockRows, kPartKeys].
static inline void attend_part(const Decoder& d, const Layer& layer, const Batch& batch, const Block& block, int head,
                               int part, const float* qkv, float* scores, float* peaks, float* masses, float* values) {
  const int group = d.num_heads / d.num_kv_heads, rows = block.num_tokens * group;
  const int64_t width = (int64_t)(d.num_heads + 2 * d.num_kv_heads) * d.head_dim;
  const int first = part * kPartKeys, end = block.position + block.num_tokens;
  const int num = end - first < kPartKeys ? end - first : kPartKeys, filled = (num + 15) / 16 * 16;
  const int32_t* table = batch.pages + block.table;
  const float* q[kBlockRows];
  for (int i = 0; i < rows; i++)
    q[i] = qkv + (block.row + i / group) * width + (int64_t)(head * group + i % group) * d.head_dim;
  for (int key = 0; key < filled; key += 16) {
    const int64_t page = table[(first + key) / d.page_size], offset = (first + key) % d.page_size;
    const uint16_t* keys = layer.keys + (page * d.num_kv_heads + head) * d.head_dim * d.page_size + offset;
    for (int i = 0; i < rows; i += kWide)
      score_keys(rows - i, q + i, keys, d.head_dim, d.page_size, scores + i * kPartKeys + key);
  }
  for (int i = 0; i < rows; i++) {
    const int position = block.position + i / group;
    const int64_t low = layer.window > 0 ? position - layer.window + 1 - first : 0;
    soften(scores + i * kPartKeys, filled, low > 0 ? (int)low : 0, position + 1 - first, d.scale, peaks + i, masses + i);
  }
  memset(values, 0, sizeof(float) * (size_t)rows * d.head_dim);
  for (int key = 0; key < num;) {
    const int64_t page = table[(first + key) / d.page_size], offset = (first + key) % d.page_size;
    const int run = d.page_size - (int)offset < num - key ? d.page_size - (int)offset : num - key;
    const uint16_t* from = layer.values + ((page * d.num_kv_heads + head) * d.page_size + offset) * d.head_dim;
    for (int i = 0; i < rows; i += kWide)
      add_values(rows - i, scores + i * kPartKeys + key, from, run, d.head_dim, values + (int64_t)i * d.head_dim);
    key += run;
  }
}

// Join the parts of a block into out, [rows, heads * head_dim]. partials: the first part's, one after another.
static inline void join_parts(const Decoder& d, const Block& block, int head, const float* partials, float* out) {
  const int group = d.num_heads / d.num_kv_heads, rows = block.num_tokens * group;
  for (int i = 0; i < rows; i++) {
    float* to = out + ((int64_t)(block.row + i / group) * d.num_heads + head * group + i % group) * d.head_dim;
    float peak = -INFINITY;
    for (int part = 0; part < block.num_parts; part++) {
      const float own = partials[part * partial_floats(d) + i];
      peak = own > peak ? own : peak;
    }
    float mass = 0.0f;
    for (int at = 0; at < d.head_dim; at += 16) store(to + at, set1(0.0f));
    for (int part = 0; part < block.num_parts; part++) {
      const float* from = partials + part * partial_floats(d);
      float weight[16];
      store(weight, exp(set1(from[i] - peak)));
      mass = mass + from[kBlockRows + i] * weight[0];
      const float* values = from + 2 * kBlockRows + (int64_t)i * d.head_dim;
      for (int at = 0; at < d.head_dim; at += 16) store(to + at, fma(load(values + at), set1(weight[0]), load(to + at)));
    }
    for (int at = 0; at < d.head_dim; at += 16) store(to + at, div(load(to + at), set1(mass)));
  }
}

// A head's keys and values of a row into its sequence's pages, clamped to what float16 holds; what is no number
// stays none. qkv: the row's.
static inline void write_cache(const Decoder& d, const Layer& layer, const float* qkv, int head, int64_t page, int64_t offset) {
  const float* keys = qkv + (int64_t)d.num_heads * d.head_dim;
  const float* values = keys + (int64_t)d.num_kv_heads * d.head_dim;
  const Lanes bound = set1(65504.0f), low = set1(-65504.0f);
  const int64_t base = (page * d.num_kv_heads + head) * d.head_dim * d.page_size;
  for (int at = 0; at < d.head_dim; at += 16) {
    uint16_t halves[16];
    to_half(halves, max(low, min(bound, load(keys + head * d.head_dim + at))));
    for (int i = 0; i < 16; i++) layer.keys[base + (int64_t)(at + i) * d.page_size + offset] = halves[i];
    to_half(layer.values + base + offset * d.head_dim + at, max(low, min(bound, load(values + head * d.head_dim + at))));
  }
}

}  // namespace llmos::LLMOS_ISA
