// Adapters: to a product's outputs is added B (scale * (A x)), for each row by the matrices of its own adapter. A is small
// enough that whoever makes a row computes A x at once. Each number of a row is computed by the same operations in the same
// order whatever other rows there are.
#pragma once
#include "products.h"

namespace llmos::LLMOS_ISA {

constexpr int kChains = 4;              // Sums that run beside each other: one alone would wait for itself.
constexpr int kLowRows = kRows / 2;     // Rows of one adapter that are computed at once.

static inline int64_t num_rank_tiles(const LowRank& a) { return (a.rank + 15) / 16; }

// sums += weights [count, 16] times factors of each row: factors(row, i) for i < count.
template <int ROWS>
static inline void add_up(const uint16_t* weights, int64_t count, auto&& factors, Lanes (&sums)[ROWS]) {
  Lanes chains[ROWS][kChains];
  for (int row = 0; row < ROWS; row++)
    for (int c = 0; c < kChains; c++) chains[row][c] = set1(0.0f);
  int64_t i = 0;
  for (; i + kChains <= count; i += kChains)
    for (int c = 0; c < kChains; c++) {
      const Lanes w = from_half(weights + (i + c) * 16);
      for (int row = 0; row < ROWS; row++) chains[row][c] = fma(set1(factors(row, i + c)), w, chains[row][c]);
    }
  for (; i < count; i++) {
    const Lanes w = from_half(weights + i * 16);
    for (int row = 0; row < ROWS; row++) chains[row][0] = fma(set1(factors(row, i)), w, chains[row][0]);
  }
  for (int row = 0; row < ROWS; row++)
    sums[row] = add(add(chains[row][0], chains[row][1]), add(chains[row][2], chains[row][3]));
}

// lows [rows, stride] = scale * (A x), of ROWS rows. x: [rows, num_in].
template <int ROWS>
static inline void narrow(const LowRank& a, const float* x, int64_t num_in, float* lows, int64_t stride) {
  for (int64_t tile = 0; tile < num_rank_tiles(a); tile++) {
    Lanes sums[ROWS];
    add_up<ROWS>(a.down + tile * num_in * 16, num_in,
                 [&](int row, int64_t i) __attribute__((always_inline)) { return x[row * num_in + i]; }, sums);
    for (int row = 0; row < ROWS; row++) store(lows + row * stride + tile * 16, mul(sums[row], load(a.scales + tile * 16)));
  }
}

// to += B lows, for a tile of one part's outputs. up: [rank, 16]; lows: the part's own.
template <int ROWS>
static inline void widen(const uint16_t* up, int64_t rank, const float* lows, int64_t stride, int num_out, float* to,
                         int64_t to_stride) {
  Lanes sums[ROWS];
  add_up<ROWS>(up, rank, [&](int row, int64_t i) __attribute__((always_inline)) { return lows[row * stride + i]; }, sums);
  for (int row = 0; row < ROWS; row++) {
    float* out = to + row * to_stride;
    if (num_out >= 16) {
      store(out, add(load(out), sums[row]));
      continue;
    }
    float whole[16];
    store(whole, sums[row]);
    for (int i = 0; i < num_out; i++) out[i] += whole[i];
  }
}

// The adapters of a batch's rows.
struct LowRanks {
  const LowRankLayer* const* layers;  // Of each row: its adapter's first layer, or null. Null: no row has one.
  LowRank LowRankLayer::*product;
  int layer;
  float* lows;     // [rows, stride]
  int64_t stride;

  const LowRank* of(int64_t row) const {
    if (!layers[row]) return nullptr;
    const LowRank& found = layers[row][layer].*product;
    return found.rank ? &found : nullptr;
  }
  // Calls body for each run of rows of one adapter, at most kLowRows of them or one.
  void runs(int64_t first, int64_t last, auto&& body) const {
    for (int64_t row = first; row < last;) {
      int64_t end = row + 1;
      while (end < last && end < row + kLowRows && layers[end] == layers[row]) end++;
      if (end - row < kLowRows) end = row + 1;
      if (const LowRank* a = of(row)) body(*a, row, end - row);
      row = end;
    }
  }
  void narrow_rows(const float* x, int64_t num_in, int64_t first, int64_t last) const {
    runs(first, last, [&](const LowRank& a, int64_t row, int64_t count) {
      if (count == kLowRows) return narrow<kLowRows>(a, x + row * num_in, num_in, lows + row * stride, stride);
      narrow<1>(a, x + row * num_in, num_in, lows + row * stride, stride);
    });
  }
  // After the product has written the tile. side: where the part's outputs stand.
  void widen_tile(const Stack& stack, int part, int tile, int64_t num_rows, const Target& side) const {
    const int num_out = stack.parts[part].num_out - tile * 16;
    runs(0, num_rows, [&](const LowRank& a, int64_t row, int64_t count) {
      const uint16_t* up = a.up;
      const float* own = lows + row * stride;
      for (int i = 0; i < part; i++) {
        up += num_tiles(stack.parts[i]) * 16 * a.ranks[i];
        own += a.ranks[i];
      }
      const int64_t rank = a.ranks[part];
      if (!rank) return;
      float* to = side.out + row * side.stride + tile * 16;
      up += tile * rank * 16;
      if (count == kLowRows) return widen<kLowRows>(up, rank, own, stride, num_out, to, side.stride);
      widen<1>(up, rank, own, stride, num_out, to, side.stride);
    });
  }
};

}  // namespace llmos::LLMOS_ISA
