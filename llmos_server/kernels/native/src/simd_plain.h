// Plain C++: any processor, and what the others are tested against. No fused multiply-add, so the last bits differ.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>

#define LLMOS_ISA plain

namespace llmos::LLMOS_ISA {

constexpr int kRows = 4;  // Activation rows that a product computes at once.

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
#undef LLMOS_EACH

template <int ROWS>
static inline void dot_uint4(const uint8_t* q, const int8_t* x, int64_t stride, Ints (&d)[ROWS]) {
  for (int i = 0; i < ROWS; i++) {
    d[i] = zero_ints();
    for (int k = 0; k < 32; k++) {
      const int shift = k % 8 < 4 ? 0 : 4;
      for (int o = 0; o < 16; o++) d[i].v[o] += ((q[64 * (k / 8) + 4 * o + k % 4] >> shift) & 15) * x[i * stride + k];
    }
  }
}

template <int ROWS, int GROUP>
static inline void dot_int8(const uint8_t* q, const int8_t* x, int64_t stride, const int32_t*, int64_t, Ints (&d)[ROWS]) {
  for (int i = 0; i < ROWS; i++) {
    d[i] = zero_ints();
    for (int k = 0; k < GROUP; k++)
      for (int o = 0; o < 16; o++) d[i].v[o] += ((int)q[64 * (k / 4) + 4 * o + k % 4] - 128) * x[i * stride + k];
  }
}

}  // namespace llmos::LLMOS_ISA
