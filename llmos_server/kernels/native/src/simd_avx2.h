// AVX2 with FMA and F16C: two vectors for 16 lanes.
#pragma once
#include <immintrin.h>
#include <stdint.h>

#define LLMOS_ISA avx2

namespace llmos::LLMOS_ISA {

constexpr int kRows = 4;  // Activation rows that a product computes at once.

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

static inline __m256i broadcast4(const int8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, 4);
  return _mm256_set1_epi32(four);
}
static inline __m256i bytes(const uint8_t* p) { return _mm256_loadu_si256((const __m256i*)p); }

// As in simd_avx512.h. Eight products of a nibble and a byte, in pairs, stay below 2^15: 8 * 2 * 15 * 127 = 30480.
template <int ROWS>
static inline void dot_uint4(const uint8_t* q, const int8_t* x, int64_t stride, Ints (&d)[ROWS]) {
  const __m256i low = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
  Ints words[ROWS];
  for (int i = 0; i < ROWS; i++) words[i] = zero_ints();
  for (int j = 0; j < 4; j++) {
    const __m256i packed_a = bytes(q + 64 * j), packed_b = bytes(q + 64 * j + 32);
    const __m256i first_a = _mm256_and_si256(packed_a, low), first_b = _mm256_and_si256(packed_b, low);
    for (int i = 0; i < ROWS; i++) {
      const __m256i four = broadcast4(x + i * stride + 8 * j);
      words[i].a = _mm256_add_epi16(words[i].a, _mm256_maddubs_epi16(first_a, four));
      words[i].b = _mm256_add_epi16(words[i].b, _mm256_maddubs_epi16(first_b, four));
    }
    const __m256i second_a = _mm256_and_si256(_mm256_srli_epi16(packed_a, 4), low);
    const __m256i second_b = _mm256_and_si256(_mm256_srli_epi16(packed_b, 4), low);
    for (int i = 0; i < ROWS; i++) {
      const __m256i four = broadcast4(x + i * stride + 8 * j + 4);
      words[i].a = _mm256_add_epi16(words[i].a, _mm256_maddubs_epi16(second_a, four));
      words[i].b = _mm256_add_epi16(words[i].b, _mm256_maddubs_epi16(second_b, four));
    }
  }
  for (int i = 0; i < ROWS; i++) d[i] = {_mm256_madd_epi16(words[i].a, ones), _mm256_madd_epi16(words[i].b, ones)};
}

// As in simd_avx512.h. The product wants one unsigned factor: the weight's size, its sign goes to the activation.
// 2 * 128 * 127 stays below 2^15. The sums are not needed.
template <int ROWS, int GROUP>
static inline void dot_int8(const uint8_t* q, const int8_t* x, int64_t stride, const int32_t*, int64_t, Ints (&d)[ROWS]) {
  const __m256i shift = _mm256_set1_epi8(-128), ones = _mm256_set1_epi16(1);
  for (int i = 0; i < ROWS; i++) d[i] = zero_ints();
  for (int j = 0; j < GROUP / 4; j++) {
    const __m256i weights_a = _mm256_xor_si256(bytes(q + 64 * j), shift);
    const __m256i weights_b = _mm256_xor_si256(bytes(q + 64 * j + 32), shift);
    const __m256i size_a = _mm256_abs_epi8(weights_a), size_b = _mm256_abs_epi8(weights_b);
    for (int i = 0; i < ROWS; i++) {
      const __m256i four = broadcast4(x + i * stride + 4 * j);
      const __m256i pairs_a = _mm256_maddubs_epi16(size_a, _mm256_sign_epi8(four, weights_a));
      const __m256i pairs_b = _mm256_maddubs_epi16(size_b, _mm256_sign_epi8(four, weights_b));
      d[i].a = _mm256_add_epi32(d[i].a, _mm256_madd_epi16(pairs_a, ones));
      d[i].b = _mm256_add_epi32(d[i].b, _mm256_madd_epi16(pairs_b, ones));
    }
  }
}

}  // namespace llmos::LLMOS_ISA
