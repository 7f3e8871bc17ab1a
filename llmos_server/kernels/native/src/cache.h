// How a page holds one KV head's keys and values, and what attention does with them, 16 numbers at a time. A position
// is rounded once, when it is written; nothing that a page holds is ever rounded again.
#pragma once
#include <math.h>
#include <string.h>

#include <algorithm>

#include "abi.h"
#include "rows.h"

namespace llmos::LLMOS_ISA {

constexpr int kPartKeys = 256;  // Keys that have a softmax of their own; see attention.h.

// Sixteen positions of a KV head in the cache: its parts of their page, and where in the page they begin.
struct Sixteen {
  const uint8_t *keys, *values;
  int64_t offset;
};

// float16. keys: [head_dim, page_size]; values: [page_size, head_dim].
struct HalfCache {
  static inline int64_t head_bytes(const Decoder& d) { return (int64_t)d.head_dim * d.page_size * 2; }

  // q . key of 16 keys. out: [ROWS, kPartKeys].
  template <int ROWS>
  static inline void score(const Decoder& d, const float* const* q, const Sixteen& from, float* out) {
    const uint16_t* keys = (const uint16_t*)from.keys + from.offset;
    Lanes dots[ROWS];
    for (int i = 0; i < ROWS; i++) dots[i] = set1(0.0f);
    for (int at = 0; at < d.head_dim; at++) {
      const Lanes sixteen = from_half(keys + (int64_t)at * d.page_size);
      for (int i = 0; i < ROWS; i++) dots[i] = fma(set1(q[i][at]), sixteen, dots[i]);
    }
    for (int i = 0; i < ROWS; i++) store(out + i * kPartKeys, dots[i]);
  }

  // Ask for the values, which are wanted when all keys of a part have been scored.
  static inline void fetch_values(const Decoder& d, const Sixteen& from) {
    const uint16_t* values = (const uint16_t*)from.values + from.offset * d.head_dim;
    for (int at = 0; at < 16 * d.head_dim; at += 32) __builtin_prefetch(values + at);
  }

  static constexpr int kStride = 16;  // Of head_dim, what one call of `add` sums up.

  // weights @ values, numbers `at` to `at` + kStride of each. weights: [ROWS, kPartKeys]; out: [ROWS, head_dim].
  template <int ROWS>
  static inline void add(const Decoder& d, const float* weights, const Sixteen* from, int num_keys, int at, float* out) {
    Lanes totals[ROWS];
    for (int i = 0; i < ROWS; i++) totals[i] = set1(0.0f);
    const auto add_some = [&](int num) {
      const uint16_t* values = (const uint16_t*)from->values + from->offset * d.head_dim + at;
      for (int key = 0; key < num; key++, values += d.head_dim) {
        const Lanes sixteen = from_half(values);
        for (int i = 0; i < ROWS; i++) totals[i] = fma(set1(weights[i * kPartKeys + key]), sixteen, totals[i]);
      }
    };
    for (; num_keys >= 16; num_keys -= 16, from++, weights += 16) add_some(16);
    if (num_keys) add_some(num_keys);
    for (int i = 0; i < ROWS; i++) store(out + i * d.head_dim + at, totals[i]);
  }

  // One position, clamped to what float16 holds; what is no number stays none. keys, values: a head's parts of a page.
  static inline void write(const Decoder& d, const float* key, const float* value, uint8_t* keys, uint8_t* values, int64_t offset) {
    const Lanes bound = set1(65504.0f), low = set1(-65504.0f);
    uint16_t *to_keys = (uint16_t*)keys + offset, *to_values = (uint16_t*)values + offset * d.head_dim;
    for (int at = 0; at < d.head_dim; at += 16) {
      uint16_t halves[16];
      to_half(halves, max(low, min(bound, load(key + at))));
      for (int i = 0; i < 16; i++) to_keys[(int64_t)(at + i) * d.page_size] = halves[i];
      to_half(to_values + at, max(low, min(bound, load(value + at))));
    }
  }
};

// int8 in the same order, and behind it the scales: bfloat16 [groups, page_size], one for up to kShared numbers of a
// position. A group with a number that isn't finite has a scale that is none. Queries and keys have to be spread first.
struct ByteCache {
  static constexpr int kShared = 32;

  static inline int64_t head_bytes(const Decoder& d) {
    return (int64_t)d.page_size * (d.head_dim + 2 * ((d.head_dim + kShared - 1) / kShared));
  }
  // Where the scale of a position's numbers from `first` on is, in bytes.
  static inline int64_t scale_place(const Decoder& d, int first, int64_t offset) {
    return (int64_t)d.head_dim * d.page_size + 2 * ((int64_t)first / kShared * d.page_size + offset);
  }
  static inline int end(const Decoder& d, int first) { return first + kShared < d.head_dim ? first + kShared : d.head_dim; }

  template <int ROWS>
  static inline void score(const Decoder& d, const float* const* q, const Sixteen& from, float* out) {
    const int8_t* keys = (const int8_t*)from.keys + from.offset;
    for (int i = 0; i < ROWS; i++) store(out + i * kPartKeys, set1(0.0f));
    for (int first = 0; first < d.head_dim; first += kShared) {
      Lanes dots[ROWS];
      for (int i = 0; i < ROWS; i++) dots[i] = set1(0.0f);
      for (int at = first; at < end(d, first); at++) {
        const Lanes sixteen = from_bytes(keys + (int64_t)at * d.page_size);
        for (int i = 0; i < ROWS; i++) dots[i] = fma(set1(q[i][at]), sixteen, dots[i]);
      }
      const Lanes scale = from_bfloat((const uint16_t*)(from.keys + scale_place(d, first, from.offset)));
      for (int i = 0; i < ROWS; i++) store(out + i * kPartKeys, fma(dots[i], scale, load(out + i * kPartKeys)));
    }
  }

  static inline void fetch_values(const Decoder& d, const Sixteen& from) {
    const uint8_t* values = from.values + from.offset * d.head_dim;
    for (int at = 0; at < 16 * d.head_dim; at += 64) __builtin_prefetch(values + at);
  }

  static constexpr int kStride = kShared;

  template <int ROWS>
  static inline void add(const Decoder& d, const float* weights, const Sixteen* from, int num_keys, int first, float* out) {
    float scaled[ROWS][kPartKeys];
    for (int key = 0; key < num_keys; key += 16) {
      const Sixteen& sixteen = from[key / 16];
      const Lanes scale = from_bfloat((const uint16_t*)(sixteen.values + scale_place(d, first, sixteen.offset)));
      for (int i = 0; i < ROWS; i++) store(scaled[i] + key, mul(load(weights + i * kPartKeys + key), scale));
    }
    for (int at = first; at < end(d, first); at += 16) {
      Lanes totals[ROWS];
      for (int i = 0; i < ROWS; i++) totals[i] = set1(0.0f);
      for (int key = 0; key < num_keys; key++) {
        const int8_t* values = (const int8_t*)from[key / 16].values + (from[key / 16].offset + key % 16) * d.head_dim;
        const Lanes sixteen = from_bytes(values + at);
        for (int i = 0; i < ROWS; i++) totals[i] = fma(set1(scaled[i][key]), sixteen, totals[i]);
      }
      for (int i = 0; i < ROWS; i++) store(out + i * d.head_dim + at, totals[i]);
    }
  }

  // Hadamard's transform of each group of a query or key, in place: what is large in few dimensions, as keys are, is
  // spread over the group, whose scale it would else make coarse. Dot products stay what they were. After QuaRot
  // (arXiv:2404.00456).
  static inline void spread(const Decoder& d, float* x) {
    for (int first = 0; first < d.head_dim; first += kShared) {
      const int stop = end(d, first);
      for (int half = 1; half < stop - first; half *= 2)
        for (int low = first; low < stop; low += 2 * half)
          for (int i = low; i < low + half; i++) {
            const float sum = x[i] + x[i + half];
            x[i + half] = x[i] - x[i + half];
            x[i] = sum;
          }
      const float norm = 1.0f / sqrtf((float)(stop - first));
      for (int i = first; i < stop; i++) x[i] *= norm;
    }
  }

  // 16 or 32 numbers, in units of the scale that is returned.
  static inline uint16_t round_group(const float* x, int size, int8_t* to) {
    const Lanes a = load(x), b = size > 16 ? load(x + 16) : set1(0.0f), zero = set1(0.0f);
    const float unit = largest(max(abs(a), abs(b))) / 127.0f + total(fma(b, zero, mul(a, zero)));
    uint32_t bits;
    memcpy(&bits, &unit, 4);
    bits = isnan(unit) ? 0x7FC00000 : (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000;
    float scale;
    memcpy(&scale, &bits, 4);
    const Lanes inverse = set1(scale > 1e-37f ? 1.0f / scale : 0.0f);
    store_bytes(to, to_ints(round(mul(a, inverse))));
    store_bytes(to + 16, to_ints(round(mul(b, inverse))));
    return (uint16_t)(bits >> 16);
  }

  static inline void write(const Decoder& d, const float* key, const float* value, uint8_t* keys, uint8_t* values, int64_t offset) {
    for (int first = 0; first < d.head_dim; first += kShared) {
      const int size = end(d, first) - first;
      int8_t bytes[kShared];
      *(uint16_t*)(keys + scale_place(d, first, offset)) = round_group(key + first, size, bytes);
      for (int i = 0; i < size; i++) keys[(int64_t)(first + i) * d.page_size + offset] = (uint8_t)bytes[i];
      *(uint16_t*)(values + scale_place(d, first, offset)) = round_group(value + first, size, bytes);
      memcpy(values + offset * d.head_dim + first, bytes, (size_t)size);
    }
  }
};

}  // namespace llmos::LLMOS_ISA
