// Plain C++: any processor, and what the others are tested against. No fused multiply-add, so the last bits differ.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "abi.h"
#include "panels.h"

#define LLMOS_ISA plain

namespace llmos::LLMOS_ISA {

constexpr int kRows = 4;  // Activation rows that a product computes at once.
constexpr int kWide = 6;  // Query rows that attention computes at once: as with AVX2.

struct Lanes { float v[16]; };
struct Ints { int32_t v[16]; };

#define LLMOS_EACH(type, expression)            \
  type r;                                       \
  for (int i = 0; i < 16; i++) r.v[i] = (expression); \
  return r;

static inline Lanes load(const float* p) { LLMOS_EACH(Lanes, p[i]) }
static inline void store(float* p, Lanes a) { memcpy(p, a.v, sizeof a.v); }
static inline Lanes set1(float a) { LLMOS_EACH(Lanes, a) }
static inline Lanes add(Lanes a, Lanes b) { LLMOS_EACH(Lanes, a.v[i] + b.v[i]) }
static inline Lanes sub(Lanes a, Lanes b) { LLMOS_EACH(Lanes, a.v[i] - b.v[i]) }
static inline Lanes mul(Lanes a, Lanes b) { LLMOS_EACH(Lanes, a.v[i] * b.v[i]) }
static inline Lanes div(Lanes a, Lanes b) { LLMOS_EACH(Lanes, a.v[i] / b.v[i]) }
static inline Lanes fma(Lanes a, Lanes b, Lanes c) { LLMOS_EACH(Lanes, a.v[i] * b.v[i] + c.v[i]) }
static inline Lanes fnma(Lanes a, Lanes b, Lanes c) { LLMOS_EACH(Lanes, c.v[i] - a.v[i] * b.v[i]) }
static inline Lanes max(Lanes a, Lanes b) { LLMOS_EACH(Lanes, a.v[i] > b.v[i] ? a.v[i] : b.v[i]) }
static inline Lanes min(Lanes a, Lanes b) { LLMOS_EACH(Lanes, a.v[i] < b.v[i] ? a.v[i] : b.v[i]) }
static inline Lanes abs(Lanes a) { LLMOS_EACH(Lanes, fabsf(a.v[i])) }
static inline Lanes round(Lanes a) { LLMOS_EACH(Lanes, rintf(a.v[i])) }
// 0 where x < bound, else a: also where x is no number.
static inline Lanes drop_below(Lanes a, Lanes x, Lanes bound) { LLMOS_EACH(Lanes, x.v[i] < bound.v[i] ? 0.0f : a.v[i]) }

static inline float bits(uint32_t u) {
  float f;
  memcpy(&f, &u, 4);
  return f;
}
static inline float half_to_float(uint16_t h) {
  const uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = h & 0x7FFF;
  if (rest >= 0x7C00) return bits(sign | 0x7F800000 | (rest & 0x3FF) << 13);
  if (rest >= 0x400) return bits(sign | ((rest << 13) + 0x38000000));
  const float small = (float)rest * 0x1p-24f;  // Subnormal.
  return sign ? -small : small;
}
static inline uint16_t float_to_half(float f) {  // Rounds to nearest, ties to even.
  uint32_t u;
  memcpy(&u, &f, 4);
  const uint32_t sign = (u >> 16) & 0x8000, size = u & 0x7FFFFFFF;
  if (size > 0x7F800000) return (uint16_t)(sign | 0x7E00);
  if (size >= 0x477FF000) return (uint16_t)(sign | 0x7C00);
  if (size < 0x38800000) return (uint16_t)(sign | (uint32_t)rintf(bits(size) * 0x1p24f));
  return (uint16_t)(sign | ((size - 0x38000000 + 0xFFF + ((size >> 13) & 1)) >> 13));
}
static inline Lanes from_half(const uint16_t* p) { LLMOS_EACH(Lanes, half_to_float(p[i])) }
static inline void to_half(uint16_t* p, Lanes a) {
  for (int i = 0; i < 16; i++) p[i] = float_to_half(a.v[i]);
}
static inline Lanes from_bfloat(const uint16_t* p) { LLMOS_EACH(Lanes, bits((uint32_t)p[i] << 16)) }
static inline Ints to_ints(Lanes a) { LLMOS_EACH(Ints, (int32_t)rintf(a.v[i])) }
static inline Lanes to_floats(Ints a) { LLMOS_EACH(Lanes, (float)a.v[i]) }
static inline Ints zero_ints() { LLMOS_EACH(Ints, 0) }
static inline int32_t sum(Ints a) {
  int32_t total = 0;
  for (int i = 0; i < 16; i++) total += a.v[i];
  return total;
}
static inline void store_bytes(int8_t* p, Ints a) {
  for (int i = 0; i < 16; i++) p[i] = (int8_t)(a.v[i] > 127 ? 127 : a.v[i] < -128 ? -128 : a.v[i]);
}
static inline Lanes power_of_two(Lanes n) { LLMOS_EACH(Lanes, bits((uint32_t)((int32_t)n.v[i] + 127) << 23)) }

// Sixteen whole numbers of 16 bits; of each four, the second and the third change places.
static inline void store_words(int16_t* p, Ints a) {
  constexpr int order[] = {0, 2, 1, 3};
  for (int i = 0; i < 16; i++) p[i] = (int16_t)a.v[i / 4 * 4 + order[i % 4]];
}

// Ints as 64 bytes, or as words of 16 bits.
#define LLMOS_EACH_PART(type, expression)                               \
  type parts[64 / sizeof(type)];                                        \
  memcpy(parts, a.v, 64);                                               \
  for (type& part : parts) part = (type)(expression);                   \
  memcpy(a.v, parts, 64);                                               \
  return a;

static inline Ints load_bytes(const uint8_t* p) {
  Ints a;
  memcpy(a.v, p, 64);
  return a;
}
static inline void store_ints(uint8_t* p, Ints a) { memcpy(p, a.v, 64); }
static inline Ints and_bytes(Ints a, int8_t mask) { LLMOS_EACH_PART(uint8_t, part & mask) }
static inline Ints or_bytes(Ints a, Ints b) { LLMOS_EACH(Ints, a.v[i] | b.v[i]) }
static inline Ints flip_signs(Ints a) { LLMOS_EACH_PART(uint8_t, part ^ 128) }
static inline Ints shift_right(Ints a, int by) { LLMOS_EACH_PART(uint16_t, part >> by) }
static inline Ints shift_left(Ints a, int by) { LLMOS_EACH_PART(uint16_t, part << by) }

// As in simd_avx2.h.
template <bool IS_SIGNED>
static inline Ints odd_words(Ints a) {
  if (IS_SIGNED) { LLMOS_EACH_PART(int16_t, part >> 8) }
  LLMOS_EACH_PART(uint16_t, part >> 8)
}
template <bool IS_SIGNED>
static inline Ints even_words(Ints a) {
  if (IS_SIGNED) { LLMOS_EACH_PART(int16_t, (int8_t)part) }
  LLMOS_EACH_PART(uint16_t, part & 255)
}
#undef LLMOS_EACH_PART
#undef LLMOS_EACH

// As in simd_avx2.h.
template <int ROWS, int QUADS>
static inline void dot_words(auto&& evens, auto&& odds, const int16_t* x, int64_t stride, Ints (&d)[ROWS]) {
  for (int i = 0; i < ROWS; i++) d[i] = zero_ints();
  for (int j = 0; j < QUADS; j++) {
    int16_t even[32], odd[32];
    memcpy(even, evens(j).v, 64);
    memcpy(odd, odds(j).v, 64);
    for (int i = 0; i < ROWS; i++) {
      const int16_t* four = x + row_at(i, stride) + 4 * j;
      for (int o = 0; o < 16; o++)
        d[i].v[o] += even[2 * o] * four[0] + even[2 * o + 1] * four[1] + odd[2 * o] * four[2] + odd[2 * o + 1] * four[3];
    }
  }
}

template <int ROWS, int QUADS, int KIND>
static inline void dot_bytes(auto&& weights, const int8_t* x, int64_t stride, const int32_t*, int64_t, Ints (&d)[ROWS]) {
  for (int i = 0; i < ROWS; i++) d[i] = zero_ints();
  for (int j = 0; j < QUADS; j++) {
    int8_t bytes[64];  // Unsigned ones stay below 64.
    memcpy(bytes, weights(j).v, 64);
    for (int i = 0; i < ROWS; i++)
      for (int o = 0; o < 16; o++)
        for (int k = 0; k < 4; k++) d[i].v[o] += bytes[4 * o + k] * x[row_at(i, stride) + 4 * j + k];
  }
}

static inline Lanes from_bytes(const int8_t* p) {
  Lanes r;
  for (int i = 0; i < 16; i++) r.v[i] = (float)p[i];
  return r;
}

}  // namespace llmos::LLMOS_ISA
