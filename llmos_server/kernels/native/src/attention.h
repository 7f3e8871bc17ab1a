// Paged attention of a block: a few tokens of a sequence, for one KV head. Keys are taken in parts of kPartKeys positions,
// counted from the sequence's first; a part has its own softmax, and a row's parts are joined in order. Keys that a row
// doesn't see add exact zeros, and parts of which it sees nothing are left out. So a row's bits depend on its own sequence
// alone, and not on who computes which part.
#pragma once
#include <math.h>
#include <string.h>

#include <type_traits>

#include "cache.h"

namespace llmos::LLMOS_ISA {

constexpr int kBlockRows = 24;  // Query rows, heads times tokens, that share what is read of the cache.

// One KV head's queries of a few tokens.
struct Block {
  int32_t row, position, num_tokens, table;  // table: place of the sequence's pages in Batch::pages
  int32_t first_part, num_parts;
  int64_t partials;  // Place of the first part's results, if others join them; see Partial.
};

// What rows have got of some parts: largest score and mass of each, [kBlockRows], and values, [kBlockRows, head_dim].
struct Partial {
  float *peaks, *masses, *values;

  explicit Partial(float* at) : peaks(at), masses(at + kBlockRows), values(at + 2 * kBlockRows) {}
  static int64_t size(const Decoder& d) { return (int64_t)kBlockRows * (d.head_dim + 2); }  // Floats.
};

static inline int heads_in_group(const Decoder& d) { return d.num_heads / d.num_kv_heads; }
static inline int rows_of(const Decoder& d, const Block& block) { return block.num_tokens * heads_in_group(d); }

// f(number, i) for rows from i on, `number` (a constant) of them at a time, until all have been.
template <class F>
static inline void by_rows(int rows, F&& f) {
  using std::integral_constant;
  int i = 0;
  for (; rows - i >= kWide; i += kWide) f(integral_constant<int, kWide>(), i);
  if (kWide > 6 && rows - i >= 6) f(integral_constant<int, 6>(), i), i += 6;
  switch (rows - i) {
    case 1: return f(integral_constant<int, 1>(), i);
    case 2: return f(integral_constant<int, 2>(), i);
    case 3: return f(integral_constant<int, 3>(), i);
    case 4: return f(integral_constant<int, 4>(), i);
    case 5: return f(integral_constant<int, 5>(), i);
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

// A part of a block. scores: room for [kBlockRows, kPartKeys].
template <class Cache>
static inline void attend_part(const Decoder& d, const Layer& layer, const Batch& batch, const Block& block, int head,
                               int part, const float* qkv, float* scores, const Partial& out) {
  const int group = heads_in_group(d), rows = rows_of(d, block);
  const int64_t width = (int64_t)(d.num_heads + 2 * d.num_kv_heads) * d.head_dim;
  const int first = part * kPartKeys, num = std::min(block.position + block.num_tokens - first, kPartKeys);
  const int filled = (num + 15) / 16 * 16;
  const float* q[kBlockRows];
  for (int i = 0; i < rows; i++)
    q[i] = qkv + (block.row + i / group) * width + (int64_t)(head * group + i % group) * d.head_dim;
  Sixteen from[kPartKeys / 16];
  for (int key = 0; key < filled; key += 16) {
    const int64_t page = batch.pages[block.table + (first + key) / d.page_size];
    const int64_t place = (page * d.num_kv_heads + head) * Cache::head_bytes(d);
    from[key / 16] = {layer.keys + place, layer.values + place, (first + key) % d.page_size};
    Cache::fetch_values(d, from[key / 16]);
    by_rows(rows, [&](auto number, int i) { Cache::template score<number()>(d, q + i, from[key / 16], scores + i * kPartKeys + key); });
  }
  for (int i = 0; i < rows; i++) {
    const int position = block.position + i / group;
    const int64_t low = layer.window > 0 ? position - layer.window + 1 - first : 0;
    soften(scores + i * kPartKeys, filled, low > 0 ? (int)low : 0, position + 1 - first, d.scale, out.peaks + i, out.masses + i);
  }
  for (int at = 0; at < d.head_dim; at += Cache::kStride)
    by_rows(rows, [&](auto number, int i) {
      Cache::template add<number()>(d, scores + i * kPartKeys, from, num, at, out.values + (int64_t)i * d.head_dim);
    });
}

static inline void attend_part(const Decoder& d, const Layer& layer, const Batch& batch, const Block& block, int head,
                               int part, const float* qkv, float* scores, const Partial& out) {
  const auto attend = d.cache_kind == kByteCache ? attend_part<ByteCache> : attend_part<HalfCache>;
  attend(d, layer, batch, block, head, part, qkv, scores, out);
}

// The next part of `rows` rows, to what they have got of the parts before it.
static inline void join(const Decoder& d, int rows, const Partial& part, const Partial& to) {
  for (int i = 0; i < rows; i++) {
    const float *from = part.values + (int64_t)i * d.head_dim, added = part.peaks[i], before = to.peaks[i];
    float* values = to.values + (int64_t)i * d.head_dim;
    if (added == -INFINITY) continue;
    if (before == -INFINITY) {
      memcpy(values, from, sizeof(float) * (size_t)d.head_dim);
      to.peaks[i] = added;
      to.masses[i] = part.masses[i];
      continue;
    }
    const float peak = added > before ? added : before;
    float kept[16], weight[16];
    store(kept, exp(set1(before - peak)));
    store(weight, exp(set1(added - peak)));
    to.peaks[i] = peak;
    to.masses[i] = to.masses[i] * kept[0] + part.masses[i] * weight[0];
    for (int at = 0; at < d.head_dim; at += 16)
      store(values + at, fma(load(from + at), set1(weight[0]), mul(load(values + at), set1(kept[0]))));
  }
}

// out: [rows, heads * head_dim] of the batch.
static inline void finish(const Decoder& d, const Block& block, int head, const Partial& whole, float* out) {
  const int group = heads_in_group(d);
  for (int i = 0; i < rows_of(d, block); i++) {
    float* to = out + ((int64_t)(block.row + i / group) * d.num_heads + head * group + i % group) * d.head_dim;
    const Lanes mass = set1(whole.masses[i]);
    for (int at = 0; at < d.head_dim; at += 16) store(to + at, div(load(whole.values + (int64_t)i * d.head_dim + at), mass));
  }
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
