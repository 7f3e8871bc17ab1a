// AVX-512 with VNNI: one vector for 16 lanes.
#pragma once
#include <immintrin.h>
#include <stdint.h>

#include "abi.h"
#include "panels.h"

#define LLMOS_ISA avx512vnni

namespace llmos::LLMOS_ISA {

constexpr int kRows = 8;  // Activation rows that a product computes at once.
constexpr int kWide = 12;  // Query rows that attention computes at once: 12 of 32 registers.

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

// Sixteen whole numbers of 16 bits; of each four, the second and the third change places.
static inline void store_words(int16_t* p, Ints a) {
  const __m256i words = _mm512_cvtsepi32_epi16(a.v);
  _mm256_storeu_si256((__m256i*)p, _mm256_shufflehi_epi16(_mm256_shufflelo_epi16(words, 0xD8), 0xD8));
}

// Ints as 64 bytes.
static inline Ints load_bytes(const uint8_t* p) { return {_mm512_loadu_si512(p)}; }
static inline void store_ints(uint8_t* p, Ints a) { _mm512_storeu_si512(p, a.v); }
static inline Ints and_bytes(Ints a, int8_t mask) { return {_mm512_and_si512(a.v, _mm512_set1_epi8(mask))}; }
static inline Ints or_bytes(Ints a, Ints b) { return {_mm512_or_si512(a.v, b.v)}; }
static inline Ints flip_signs(Ints a) { return {_mm512_xor_si512(a.v, _mm512_set1_epi8(-128))}; }
// Of 16 bits each.
static inline Ints shift_right(Ints a, int by) { return {_mm512_srli_epi16(a.v, by)}; }
static inline Ints shift_left(Ints a, int by) { return {_mm512_slli_epi16(a.v, by)}; }

// As in simd_avx2.h.
template <bool IS_SIGNED>
static inline Ints odd_words(Ints a) {
  return {IS_SIGNED ? _mm512_srai_epi16(a.v, 8) : _mm512_srli_epi16(a.v, 8)};
}
template <bool IS_SIGNED>
static inline Ints even_words(Ints a) {
  return {IS_SIGNED ? _mm512_srai_epi16(_mm512_slli_epi16(a.v, 8), 8) : _mm512_and_si512(a.v, _mm512_set1_epi16(255))};
}

static inline __m512i broadcast4(const void* p) {
  int32_t four;
  __builtin_memcpy(&four, p, 4);
  return _mm512_set1_epi32(four);
}

// As in simd_avx2.h.
template <int ROWS, int QUADS>
static inline void dot_words(auto&& evens, auto&& odds, const int16_t* x, int64_t stride, Ints (&d)[ROWS]) {
  for (int i = 0; i < ROWS; i++) d[i] = zero_ints();
  for (int j = 0; j < QUADS; j++) {
    const Ints even = evens(j), odd = odds(j);
    for (int i = 0; i < ROWS; i++) d[i].v = _mm512_dpwssd_epi32(d[i].v, even.v, broadcast4(x + row_at(i, stride) + 4 * j));
    for (int i = 0; i < ROWS; i++) d[i].v = _mm512_dpwssd_epi32(d[i].v, odd.v, broadcast4(x + row_at(i, stride) + 4 * j + 2));
  }
}

// As in simd_avx2.h. counts: of each row's inputs, rows count_stride apart; they take the 128 out again that makes signed
// weights unsigned.
template <int ROWS, int QUADS, int KIND>
static inline void dot_bytes(auto&& weights, const int8_t* x, int64_t stride, const int32_t* counts, int64_t count_stride,
                             Ints (&d)[ROWS]) {
  for (int i = 0; i < ROWS; i++) d[i].v = _mm512_set1_epi32(KIND == kInt8 ? -128 * counts[row_at(i, count_stride, 3)] : 0);
  for (int j = 0; j < QUADS; j++) {
    const Ints w = KIND == kInt8 ? flip_signs(weights(j)) : weights(j);
    for (int i = 0; i < ROWS; i++) d[i].v = _mm512_dpbusd_epi32(d[i].v, w.v, broadcast4(x + row_at(i, stride) + 4 * j));
  }
}

static inline Lanes from_bytes(const int8_t* p) {
  return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i*)p)))};
}

}  // namespace llmos::LLMOS_ISA
