// x @ weights.T over packed tiles of 16 outputs. Each output of a row is computed by the same operations in the same
// order whatever other rows there are, so its bits don't depend on the batch.
#pragma once
#include "abi.h"
#include "groups.h"
#include "team.h"

namespace llmos::LLMOS_ISA {

// Rows of activations as matrices want them. Row r has `terms` int8 rows, r * terms and on, whose sum it is.
struct Activations {
  const float* floats;  // [rows, num_in], for matrices of floats
  int8_t* values;       // [rows * terms, num_in]
  float* scales;        // [rows * terms, num_in / 32]
  int32_t* sums;        // [rows * terms, num_in / 16]: of the integers
  int64_t terms;
};

struct Target {
  float* out;      // [rows, stride]
  int64_t stride;
  bool adds;       // To what is there, or overwrites.
};

static inline void finish(const Matrix& w, int tile, const Target& to, int64_t row, Lanes value) {
  if (w.bias) value = add(value, load(w.bias + tile * 16));
  float* out = to.out + row * to.stride + tile * 16;
  const int num = w.num_out - tile * 16;
  if (num >= 16) {
    store(out, to.adds ? add(load(out), value) : value);
    return;
  }
  float whole[16];
  store(whole, value);
  for (int i = 0; i < num; i++) out[i] = to.adds ? out[i] + whole[i] : whole[i];
}

template <int ROWS, int KIND, int GROUP, bool HAS_MINIMA>
static inline void quantised_rows(const Matrix& w, int tile, const Activations& x, int64_t first, const Target& to) {
  const int64_t num_in = w.num_in, groups = num_in / GROUP, coarse = num_in / 32, fine = num_in / 16;
  constexpr int kBytes = KIND == kUint4 ? GROUP * 8 : GROUP * 16;
  const uint8_t* q = w.values + (int64_t)tile * groups * kBytes;
  const uint16_t* scales = w.scales + (int64_t)tile * groups * 16;
  const uint16_t* minima = HAS_MINIMA ? w.minima + (int64_t)tile * groups * 16 : nullptr;
  const int8_t* values = x.values + first * num_in;
  const int32_t* sums = x.sums + first * fine;
  Lanes total[ROWS];
  for (int i = 0; i < ROWS; i++) total[i] = set1(0.0f);
  for (int64_t g = 0; g < groups; g++) {
    Ints dots[ROWS];
    if constexpr (KIND == kUint4)
      dot_uint4<ROWS>(q + g * kBytes, values + g * GROUP, num_in, dots);
    else
      dot_int8<ROWS, GROUP>(q + g * kBytes, values + g * GROUP, num_in, sums + g * GROUP / 16, fine, dots);
    const Lanes scale = from_half(scales + g * 16);
    for (int i = 0; i < ROWS; i++) {
      Lanes part = mul(scale, to_floats(dots[i]));
      if constexpr (HAS_MINIMA)
        part = fma(from_half(minima + g * 16), set1((float)group_sum<GROUP>(sums + i * fine + g * GROUP / 16)), part);
      total[i] = fma(set1(x.scales[(first + i) * coarse + g * GROUP / 32]), part, total[i]);
    }
  }
  if (x.terms == 2) {
    if constexpr (ROWS % 2 == 0)
      for (int i = 0; i < ROWS; i += 2) finish(w, tile, to, (first + i) / 2, add(total[i], total[i + 1]));
  } else {
    for (int i = 0; i < ROWS; i++) finish(w, tile, to, first + i, total[i]);
  }
}

template <int KIND>
static inline Lanes weights_at(const uint8_t* values, int64_t place) {
  if constexpr (KIND == kFloat32) return load((const float*)values + place);
  if constexpr (KIND == kBfloat16) return from_bfloat((const uint16_t*)values + place);
  return from_half((const uint16_t*)values + place);
}

// Values: [tiles, num_in, 16].
template <int ROWS, int KIND>
static inline void float_rows(const Matrix& w, int tile, const Activations& x, int64_t first, const Target& to) {
  const int64_t num_in = w.num_in, base = (int64_t)tile * num_in * 16;
  const float* rows = x.floats + first * num_in;
  Lanes total[ROWS];
  for (int i = 0; i < ROWS; i++) total[i] = set1(0.0f);
  for (int64_t k = 0; k < num_in; k++) {
    const Lanes weights = weights_at<KIND>(w.values, base + k * 16);
    for (int i = 0; i < ROWS; i++) total[i] = fma(set1(rows[i * num_in + k]), weights, total[i]);
  }
  for (int i = 0; i < ROWS; i++) finish(w, tile, to, first + i, total[i]);
}

template <int ROWS>
static inline void some_rows(const Matrix& w, int tile, const Activations& x, int64_t first, const Target& to) {
  switch (w.kind) {
    case kUint4: return quantised_rows<ROWS, kUint4, 32, true>(w, tile, x, first, to);
    case kFloat32: return float_rows<ROWS, kFloat32>(w, tile, x, first, to);
    case kBfloat16: return float_rows<ROWS, kBfloat16>(w, tile, x, first, to);
    case kFloat16: return float_rows<ROWS, kFloat16>(w, tile, x, first, to);
  }
  if (w.group == 32) {
    if (w.minima) return quantised_rows<ROWS, kInt8, 32, true>(w, tile, x, first, to);
    return quantised_rows<ROWS, kInt8, 32, false>(w, tile, x, first, to);
  }
  if (w.minima) return quantised_rows<ROWS, kInt8, 16, true>(w, tile, x, first, to);
  quantised_rows<ROWS, kInt8, 16, false>(w, tile, x, first, to);
}

static inline void all_rows(const Matrix& w, int tile, const Activations& x, int64_t num_rows, const Target& to) {
  int64_t row = 0;
  for (; row + kRows <= num_rows; row += kRows) some_rows<kRows>(w, tile, x, row, to);
  if (kRows > 4 && row + 4 <= num_rows) some_rows<4>(w, tile, x, row, to), row += 4;
  if (row + 2 <= num_rows) some_rows<2>(w, tile, x, row, to), row += 2;
  if (row < num_rows) some_rows<1>(w, tile, x, row, to);
}

static inline int64_t num_tiles(const Matrix& w) { return (w.num_out + 15) / 16; }

// One phase of a team: to = x @ stack.T + bias.
static inline void product(Team& team, const Stack& stack, const Activations& x, int num_rows, const Target& to) {
  const int64_t rows = stack.terms == 2 ? 2 * (int64_t)num_rows : num_rows;
  int64_t total = 0;
  for (int i = 0; i < stack.num_parts; i++) total += num_tiles(stack.parts[i]);
  const int64_t count = total / (team.size() * 8) > 0 ? total / (team.size() * 8) : 1;
  for (int64_t start; (start = team.claim(count, total)) >= 0;)
    for (int64_t place = start; place < start + count && place < total; place++) {
      int64_t tile = place;
      const Matrix* part = stack.parts;
      Target side = to;
      for (; tile >= num_tiles(*part); part++) {
        tile -= num_tiles(*part);
        side.out += part->num_out;
      }
      all_rows(*part, (int)tile, x, rows, side);
    }
}

}  // namespace llmos::LLMOS_ISA
