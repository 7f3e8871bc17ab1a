// Paged attention. Keys are taken in parts of kPartKeys positions, counted from the sequence's first; a part has its own
// softmax, and the parts of a row are joined in order. Keys that a row doesn't see add exact zeros. So a row's bits depend
// on its own sequence alone.
#pragma once
#include <math.h>
#include <string.h>

#include "cache.h"

namespace llmos::LLMOS_ISA {

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

template <class Cache>
static inline void score_keys(const Decoder& d, int rows, const float* const* q, const uint8_t* keys, int64_t offset, float* out) {
  switch (rows) {
    case 1: return Cache::template score<1>(d, q, keys, offset, out);
    case 2: return Cache::template score<2>(d, q, keys, offset, out);
    case 3: return Cache::template score<3>(d, q, keys, offset, out);
    case 4: return Cache::template score<4>(d, q, keys, offset, out);
    case 5: return Cache::template score<5>(d, q, keys, offset, out);
    default: return Cache::template score<kWide>(d, q, keys, offset, out);
  }
}

template <class Cache>
static inline void add_values(const Decoder& d, int rows, const float* weights, const uint8_t* values, int64_t offset, int num_keys, float* out) {
  switch (rows) {
    case 1: return Cache::template add<1>(d, weights, values, offset, num_keys, out);
    case 2: return Cache::template add<2>(d, weights, values, offset, num_keys, out);
    case 3: return Cache::template add<3>(d, weights, values, offset, num_keys, out);
    case 4: return Cache::template add<4>(d, weights, values, offset, num_keys, out);
    case 5: return Cache::template add<5>(d, weights, values, offset, num_keys, out);
    default: return Cache::template add<kWide>(d, weights, values, offset, num_keys, out);
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
template <class Cache>
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
    const uint8_t* keys = layer.keys + (page * d.num_kv_heads + head) * Cache::head_bytes(d);
    for (int i = 0; i < rows; i += kWide)
      score_keys<Cache>(d, rows - i, q + i, keys, offset, scores + i * kPartKeys + key);
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
    const uint8_t* from = layer.values + (page * d.num_kv_heads + head) * Cache::head_bytes(d);
    for (int i = 0; i < rows; i += kWide)
      add_values<Cache>(d, rows - i, scores + i * kPartKeys + key, from, offset, run, values + (int64_t)i * d.head_dim);
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

static inline void attend_part(const Decoder& d, const Layer& layer, const Batch& batch, const Block& block, int head,
                               int part, const float* qkv, float* scores, float* peaks, float* masses, float* values) {
  const auto attend = d.cache_kind == kByteCache ? attend_part<ByteCache> : attend_part<HalfCache>;
  attend(d, layer, batch, block, head, part, qkv, scores, peaks, masses, values);
}

// A head's key and value of a row into its sequence's page. qkv: the row's.
static inline void write_cache(const Decoder& d, const Layer& layer, const float* qkv, int head, int64_t page, int64_t offset) {
  const float* key = qkv + (int64_t)(d.num_heads + head) * d.head_dim;
  const float* value = key + (int64_t)d.num_kv_heads * d.head_dim;
  const bool is_bytes = d.cache_kind == kByteCache;
  const int64_t place = (page * d.num_kv_heads + head) * (is_bytes ? ByteCache::head_bytes(d) : HalfCache::head_bytes(d));
  (is_bytes ? ByteCache::write : HalfCache::write)(d, key, value, layer.keys + place, layer.values + place, offset);
}

}  // namespace llmos::LLMOS_ISA
