// AVX-512 with VNNI: one vector for 16 lanes.
#pragma once
#include <immintrin.h>
#include <stdint.h>

#include "groups.h"

#define LLMOS_ISA avx512vnni

namespace llmos::LLMOS_ISA {

constexpr int kRows = 8;  // Activation rows that a product computes at once.

struct Lanes { __m512 v; };
struct Ints { __m512i v; };

static inline Lanes load(const float* p) { return {_mm512_loadu_ps(p)}; }
static inline void store(float* p, Lanes a) { _mm512_storeu_ps(p, a.v); }
static inline Lanes set1(float a) { return {_mm512_set1_ps(a)}; }
static inline Lanes add(Lanes a, Lanes b) { return {_mm512_add_ps(a.v, b.v)}; }
static inline Lanes sub(Lanes a, Lanes b) { return {_mm512_sub_ps(a.v, b.v)}; }
static inline Lanes mul(Lanes a, Lanes b) { return {_mm512_mul_ps(a.v, b.v)}; }
static inline Lanes div(Lanes a, Lanes b) { return {_mm512_div_ps(a.v, b.v)}; }
static inline Lanes fma(Lanes a, Lanes b, Lanes c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
static inline Lanes fnma(Lanes a, Lanes b, Lanes c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }  // c - a * b
static inline Lanes max(Lanes a, Lanes b) { return {_mm512_max_ps(a.v, b.v)}; }
static inline Lanes min(Lanes a, Lanes b) { return {_mm512_min_ps(a.v, b.v)}; }
static inline Lanes abs(Lanes a) { return {_mm512_abs_ps(a.v)}; }
static inline Lanes round(Lanes a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
// 0 where x < bound, else a: also where x is no number.
static inline Lanes drop_below(Lanes a, Lanes x, Lanes bound) {
  return {_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x.v, bound.v, _CMP_NLT_UQ), a.v)};
}
static inline Lanes from_half(const uint16_t* p) { return {_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p))}; }
static inline void to_half(uint16_t* p, Lanes a) {
  _mm256_storeu_si256((__m256i*)p, _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
static inline Lanes from_bfloat(const uint16_t* p) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p)), 16))};
}
static inline Ints to_ints(Lanes a) { return {_mm512_cvtps_epi32(a.v)}; }
static inline Lanes to_floats(Ints a) { return {_mm512_cvtepi32_ps(a.v)}; }
static inline Ints zero_ints() { return {_mm512_setzero_si512()}; }
static inline int32_t sum(Ints a) { return _mm512_reduce_add_epi32(a.v); }
static inline void store_bytes(int8_t* p, Ints a) { _mm_storeu_si128((__m128i*)p, _mm512_cvtsepi32_epi8(a.v)); }
// 2 to the n, for whole n in [-126, 127].
static inline Lanes power_of_two(Lanes n) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n.v), _mm512_set1_epi32(127)), 23))};
}

static inline __m512i broadcast4(const int8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, 4);
  return _mm512_set1_epi32(four);
}

// 32 inputs of 16 outputs. q: four times 64 bytes; in each, low nibbles hold inputs 8 j to 8 j + 3 of every output, high
// ones the next four. x: ROWS rows, `stride` bytes apart.
template <int ROWS>
static inline void dot_uint4(const uint8_t* q, const int8_t* x, int64_t stride, Ints (&d)[ROWS]) {
  const __m512i low = _mm512_set1_epi8(15);
  for (int i = 0; i < ROWS; i++) d[i].v = _mm512_setzero_si512();
  for (int j = 0; j < 4; j++) {
    const __m512i packed = _mm512_loadu_si512(q + 64 * j);
    const __m512i first = _mm512_and_si512(packed, low), second = _mm512_and_si512(_mm512_srli_epi16(packed, 4), low);
    for (int i = 0; i < ROWS; i++) {
      const int8_t* row = x + i * stride + 8 * j;
      d[i].v = _mm512_dpbusd_epi32(d[i].v, first, broadcast4(row));
      d[i].v = _mm512_dpbusd_epi32(d[i].v, second, broadcast4(row + 4));
    }
  }
}

// GROUP inputs of 16 outputs, stored as value + 128. q: GROUP / 4 times 64 bytes, four inputs of every output each.
// sums: of each row's inputs, 16 and 16, rows `sum_stride` apart; they take the 128 out again.
template <int ROWS, int GROUP>
static inline void dot_int8(const uint8_t* q, const int8_t* x, int64_t stride, const int32_t* sums, int64_t sum_stride,
                            Ints (&d)[ROWS]) {
  for (int i = 0; i < ROWS; i++) d[i].v = _mm512_set1_epi32(-128 * group_sum<GROUP>(sums + i * sum_stride));
  for (int j = 0; j < GROUP / 4; j++) {
    const __m512i weights = _mm512_loadu_si512(q + 64 * j);
    for (int i = 0; i < ROWS; i++) d[i].v = _mm512_dpbusd_epi32(d[i].v, weights, broadcast4(x + i * stride + 4 * j));
  }
}

}  // namespace llmos::LLMOS_ISA
