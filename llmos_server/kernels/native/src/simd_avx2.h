// AVX2 with FMA and F16C: two vectors for 16 lanes.
#pragma once
#include <immintrin.h>
#include <stdint.h>

#include "abi.h"
#include "panels.h"

#define LLMOS_ISA avx2

namespace llmos::LLMOS_ISA {

constexpr int kRows = 4;  // Activation rows that a product computes at once.
constexpr int kWide = 6;  // Query rows that attention computes at once: 12 of 16 registers.

struct Lanes { __m256 a, b; };
struct Ints { __m256i a, b; };

#define LLMOS_BOTH(name, op) \
  static inline Lanes name(Lanes x, Lanes y) { return {op(x.a, y.a), op(x.b, y.b)}; }
LLMOS_BOTH(add, _mm256_add_ps)
LLMOS_BOTH(sub, _mm256_sub_ps)
LLMOS_BOTH(mul, _mm256_mul_ps)
LLMOS_BOTH(div, _mm256_div_ps)
LLMOS_BOTH(max, _mm256_max_ps)
LLMOS_BOTH(min, _mm256_min_ps)
#undef LLMOS_BOTH

static inline Lanes load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
static inline void store(float* p, Lanes x) {
  _mm256_storeu_ps(p, x.a);
  _mm256_storeu_ps(p + 8, x.b);
}
static inline Lanes set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
static inline Lanes fma(Lanes x, Lanes y, Lanes z) {
  return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
static inline Lanes fnma(Lanes x, Lanes y, Lanes z) {  // z - x * y
  return {_mm256_fnmadd_ps(x.a, y.a, z.a), _mm256_fnmadd_ps(x.b, y.b, z.b)};
}
static inline Lanes abs(Lanes x) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
}
static inline Lanes round(Lanes x) {
  return {_mm256_round_ps(x.a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
          _mm256_round_ps(x.b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
// 0 where x < bound, else y: also where x is no number.
static inline Lanes drop_below(Lanes y, Lanes x, Lanes bound) {
  return {_mm256_and_ps(_mm256_cmp_ps(x.a, bound.a, _CMP_NLT_UQ), y.a),
          _mm256_and_ps(_mm256_cmp_ps(x.b, bound.b, _CMP_NLT_UQ), y.b)};
}
static inline Lanes from_half(const uint16_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p)), _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)(p + 8)))};
}
static inline void to_half(uint16_t* p, Lanes x) {
  _mm_storeu_si128((__m128i*)p, _mm256_cvtps_ph(x.a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  _mm_storeu_si128((__m128i*)(p + 8), _mm256_cvtps_ph(x.b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
static inline __m256 bfloats(const uint16_t* p) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)p)), 16));
}
static inline Lanes from_bfloat(const uint16_t* p) { return {bfloats(p), bfloats(p + 8)}; }
static inline Ints to_ints(Lanes x) { return {_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)}; }
static inline Lanes to_floats(Ints x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
static inline Ints zero_ints() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
static inline int32_t sum(Ints x) {
  const __m256i both = _mm256_add_epi32(x.a, x.b);
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(both), _mm256_extracti128_si256(both, 1));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xB1)));
}
static inline void store_bytes(int8_t* p, Ints x) {
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(x.a, x.b), 0xD8);
  _mm_storeu_si128((__m128i*)p, _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
}
// 2 to the n, for whole n in [-126, 127].
static inline Lanes power_of_two(Lanes n) {
  const __m256i bias = _mm256_set1_epi32(127);
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n.a), bias), 23)),
          _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n.b), bias), 23))};
}

// Sixteen whole numbers of 16 bits; of each four, the second and the third change places.
static inline void store_words(int16_t* p, Ints x) {
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(x.a, x.b), 0xD8);
  _mm256_storeu_si256((__m256i*)p, _mm256_shufflehi_epi16(_mm256_shufflelo_epi16(words, 0xD8), 0xD8));
}

// Ints as 64 bytes.
static inline Ints load_bytes(const uint8_t* p) {
  return {_mm256_loadu_si256((const __m256i*)p), _mm256_loadu_si256((const __m256i*)(p + 32))};
}
static inline void store_ints(uint8_t* p, Ints x) {
  _mm256_storeu_si256((__m256i*)p, x.a);
  _mm256_storeu_si256((__m256i*)(p + 32), x.b);
}
static inline Ints and_bytes(Ints x, int8_t mask) {
  return {_mm256_and_si256(x.a, _mm256_set1_epi8(mask)), _mm256_and_si256(x.b, _mm256_set1_epi8(mask))};
}
static inline Ints or_bytes(Ints x, Ints y) { return {_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)}; }
static inline Ints flip_signs(Ints x) {
  return {_mm256_xor_si256(x.a, _mm256_set1_epi8(-128)), _mm256_xor_si256(x.b, _mm256_set1_epi8(-128))};
}
// Of 16 bits each.
static inline Ints shift_right(Ints x, int by) { return {_mm256_srli_epi16(x.a, by), _mm256_srli_epi16(x.b, by)}; }
static inline Ints shift_left(Ints x, int by) { return {_mm256_slli_epi16(x.a, by), _mm256_slli_epi16(x.b, by)}; }

// The first and the third of each four bytes, or the second and the fourth, as words.
template <bool IS_SIGNED>
static inline Ints odd_words(Ints x) {
  if (IS_SIGNED) return {_mm256_srai_epi16(x.a, 8), _mm256_srai_epi16(x.b, 8)};
  return shift_right(x, 8);
}
template <bool IS_SIGNED>
static inline Ints even_words(Ints x) {
  if (IS_SIGNED) return odd_words<true>(shift_left(x, 8));
  return {_mm256_and_si256(x.a, _mm256_set1_epi16(255)), _mm256_and_si256(x.b, _mm256_set1_epi16(255))};
}

static inline __m256i broadcast4(const void* p) {
  int32_t four;
  __builtin_memcpy(&four, p, 4);
  return _mm256_set1_epi32(four);
}

// Products of 4 * QUADS inputs of 16 outputs with ROWS rows of words. evens, odds: weights as words; x: as Activations
// has them, panels `stride` words apart. 32 * 128 * 32767 stays below 2^31.
template <int ROWS, int QUADS>
static inline void dot_words(auto&& evens, auto&& odds, const int16_t* x, int64_t stride, Ints (&d)[ROWS]) {
  for (int i = 0; i < ROWS; i++) d[i] = zero_ints();
  for (int j = 0; j < QUADS; j++) {
    const Ints even = evens(j), odd = odds(j);
    for (int i = 0; i < ROWS; i++) {
      const __m256i two = broadcast4(x + row_at(i, stride) + 4 * j);
      d[i].a = _mm256_add_epi32(d[i].a, _mm256_madd_epi16(two, even.a));
      d[i].b = _mm256_add_epi32(d[i].b, _mm256_madd_epi16(two, even.b));
    }
    for (int i = 0; i < ROWS; i++) {
      const __m256i two = broadcast4(x + row_at(i, stride) + 4 * j + 2);
      d[i].a = _mm256_add_epi32(d[i].a, _mm256_madd_epi16(two, odd.a));
      d[i].b = _mm256_add_epi32(d[i].b, _mm256_madd_epi16(two, odd.b));
    }
  }
}

// The same with rows of bytes. weights: unsigned bytes, whose products with 127, two by two, are added up as long as they
// stay below 2^15. Signed ones of kInt8: the instruction wants one unsigned factor, so the weight's sign goes to the
// activation; 2 * 128 * 127 stays below 2^15. The counts are not needed.
template <int ROWS, int QUADS, int KIND>
static inline void dot_bytes(auto&& weights, const int8_t* x, int64_t stride, const int32_t*, int64_t, Ints (&d)[ROWS]) {
  constexpr int kFitting = KIND == kUint4 ? 8 : KIND == kUint5 ? 4 : KIND == kUint6 ? 2 : 1;
  const __m256i ones = _mm256_set1_epi16(1);
  for (int i = 0; i < ROWS; i++) d[i] = zero_ints();
  for (int from = 0; from < QUADS; from += kFitting) {
    Ints words[ROWS];
    for (int i = 0; i < ROWS; i++) words[i] = zero_ints();
    for (int j = from; j < from + kFitting && j < QUADS; j++) {
      const Ints w = weights(j);
      if constexpr (KIND == kInt8) {
        const Ints size = {_mm256_abs_epi8(w.a), _mm256_abs_epi8(w.b)};
        for (int i = 0; i < ROWS; i++) {
          const __m256i four = broadcast4(x + row_at(i, stride) + 4 * j);
          words[i] = {_mm256_maddubs_epi16(size.a, _mm256_sign_epi8(four, w.a)),
                      _mm256_maddubs_epi16(size.b, _mm256_sign_epi8(four, w.b))};
        }
      } else {
        for (int i = 0; i < ROWS; i++) {
          const __m256i four = broadcast4(x + row_at(i, stride) + 4 * j);
          words[i].a = _mm256_add_epi16(words[i].a, _mm256_maddubs_epi16(w.a, four));
          words[i].b = _mm256_add_epi16(words[i].b, _mm256_maddubs_epi16(w.b, four));
        }
      }
    }
    for (int i = 0; i < ROWS; i++) {
      d[i].a = _mm256_add_epi32(d[i].a, _mm256_madd_epi16(words[i].a, ones));
      d[i].b = _mm256_add_epi32(d[i].b, _mm256_madd_epi16(words[i].b, ones));
    }
  }
}

static inline Lanes from_bytes(const int8_t* p) {
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)p))),
          _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)(p + 8))))};
}

}  // namespace llmos::LLMOS_ISA
