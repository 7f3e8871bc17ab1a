// AVX-512's intrinsics, as far as src/simd_avx512.h uses them, in plain C++: so that its code can be run on any machine.
// What each does is Intel's Intrinsics Guide's word.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>
struct __m512 { float v[16]; }; struct __m512i { union { int32_t v[16]; uint8_t b[64]; int8_t s[64]; uint16_t w[32]; }; };
struct __m256i { uint16_t w[16]; }; struct __m128i { int8_t b[16]; };
typedef uint16_t __mmask16;
#define _MM_FROUND_TO_NEAREST_INT 0
#define _MM_FROUND_NO_EXC 8
#define _CMP_NLT_UQ 5
#define F static inline
#define EACH(T, e) T r; for (int i = 0; i < 16; i++) r.v[i] = (e); return r;
F __m512 _mm512_loadu_ps(const void* p) { __m512 r; memcpy(&r, p, 64); return r; }
F __m128i _mm_loadu_si128(const __m128i* p) { __m128i r; memcpy(&r, p, 16); return r; }
F __m512i _mm512_cvtepi8_epi32(__m128i a) { EACH(__m512i, a.b[i]) }
F void _mm512_storeu_ps(void* p, __m512 a) { memcpy(p, &a, 64); }
F __m512 _mm512_set1_ps(float a) { EACH(__m512, a) }
F __m512 _mm512_add_ps(__m512 a, __m512 b) { EACH(__m512, a.v[i] + b.v[i]) }
F __m512 _mm512_sub_ps(__m512 a, __m512 b) { EACH(__m512, a.v[i] - b.v[i]) }
F __m512 _mm512_mul_ps(__m512 a, __m512 b) { EACH(__m512, a.v[i] * b.v[i]) }
F __m512 _mm512_div_ps(__m512 a, __m512 b) { EACH(__m512, a.v[i] / b.v[i]) }
F __m512 _mm512_fmadd_ps(__m512 a, __m512 b, __m512 c) { EACH(__m512, fmaf(a.v[i], b.v[i], c.v[i])) }
F __m512 _mm512_fnmadd_ps(__m512 a, __m512 b, __m512 c) { EACH(__m512, fmaf(-a.v[i], b.v[i], c.v[i])) }
F __m512 _mm512_max_ps(__m512 a, __m512 b) { EACH(__m512, a.v[i] > b.v[i] ? a.v[i] : b.v[i]) }
F __m512 _mm512_min_ps(__m512 a, __m512 b) { EACH(__m512, a.v[i] < b.v[i] ? a.v[i] : b.v[i]) }
F __m512 _mm512_abs_ps(__m512 a) { EACH(__m512, fabsf(a.v[i])) }
F __m512 _mm512_roundscale_ps(__m512 a, int imm) { (void)imm; EACH(__m512, rintf(a.v[i])) }
F __mmask16 _mm512_cmp_ps_mask(__m512 a, __m512 b, int op) { (void)op; __mmask16 m = 0; for (int i = 0; i < 16; i++) m |= !(a.v[i] < b.v[i]) << i; return m; }
F __m512 _mm512_maskz_mov_ps(__mmask16 m, __m512 a) { EACH(__m512, (m >> i & 1) ? a.v[i] : 0.0f) }
F __m256i _mm256_loadu_si256(const __m256i* p) { __m256i r; memcpy(&r, p, 32); return r; }
F void _mm256_storeu_si256(__m256i* p, __m256i a) { memcpy(p, &a, 32); }
F void _mm_storeu_si128(__m128i* p, __m128i a) { memcpy(p, &a, 16); }
F float h2f(uint16_t h) { _Float16 x; memcpy(&x, &h, 2); return (float)x; }
F uint16_t f2h(float f) { _Float16 x = (_Float16)f; uint16_t h; memcpy(&h, &x, 2); return h; }
F __m512 _mm512_cvtph_ps(__m256i a) { EACH(__m512, h2f(a.w[i])) }
F __m256i _mm512_cvtps_ph(__m512 a, int imm) { (void)imm; __m256i r; for (int i = 0; i < 16; i++) r.w[i] = f2h(a.v[i]); return r; }
F __m512i _mm512_cvtepu16_epi32(__m256i a) { EACH(__m512i, a.w[i]) }
F __m512i _mm512_slli_epi32(__m512i a, int n) { EACH(__m512i, (int32_t)((uint32_t)a.v[i] << n)) }
F __m512 _mm512_castsi512_ps(__m512i a) { __m512 r; memcpy(&r, &a, 64); return r; }
F __m512i _mm512_cvtps_epi32(__m512 a) { EACH(__m512i, (int32_t)rintf(a.v[i])) }
F __m512 _mm512_cvtepi32_ps(__m512i a) { EACH(__m512, (float)a.v[i]) }
F __m512i _mm512_setzero_si512() { EACH(__m512i, 0) }
F int _mm512_reduce_add_epi32(__m512i a) { int t = 0; for (int i = 0; i < 16; i++) t += a.v[i]; return t; }
F __m128i _mm512_cvtsepi32_epi8(__m512i a) { __m128i r; for (int i = 0; i < 16; i++) r.b[i] = (int8_t)(a.v[i] > 127 ? 127 : a.v[i] < -128 ? -128 : a.v[i]); return r; }
F __m512i _mm512_set1_epi32(int x) { EACH(__m512i, x) }
F __m512i _mm512_set1_epi8(int x) { __m512i r; memset(&r, x, 64); return r; }
F __m512i _mm512_and_si512(__m512i a, __m512i b) { EACH(__m512i, a.v[i] & b.v[i]) }
F __m512i _mm512_add_epi32(__m512i a, __m512i b) { EACH(__m512i, a.v[i] + b.v[i]) }
F __m512i _mm512_srli_epi16(__m512i a, int n) { __m512i r; for (int i = 0; i < 32; i++) r.w[i] = (uint16_t)(a.w[i] >> n); return r; }
F __m512i _mm512_loadu_si512(const void* p) { __m512i r; memcpy(&r, p, 64); return r; }
F __m512i _mm512_dpbusd_epi32(__m512i c, __m512i a, __m512i b) { for (int i = 0; i < 16; i++) for (int j = 0; j < 4; j++) c.v[i] += (int)a.b[4 * i + j] * (int)b.s[4 * i + j]; return c; }
F __m512i _mm512_or_si512(__m512i a, __m512i b) { EACH(__m512i, a.v[i] | b.v[i]) }
F __m512i _mm512_xor_si512(__m512i a, __m512i b) { EACH(__m512i, a.v[i] ^ b.v[i]) }
F void _mm512_storeu_si512(void* p, __m512i a) { memcpy(p, &a, 64); }
F __m512i _mm512_set1_epi16(short x) { __m512i r; for (int i = 0; i < 32; i++) r.w[i] = (uint16_t)x; return r; }
F __m512i _mm512_slli_epi16(__m512i a, int n) { __m512i r; for (int i = 0; i < 32; i++) r.w[i] = (uint16_t)(a.w[i] << n); return r; }
F __m512i _mm512_srai_epi16(__m512i a, int n) { __m512i r; for (int i = 0; i < 32; i++) r.w[i] = (uint16_t)((int16_t)a.w[i] >> n); return r; }
F __m512i _mm512_dpwssd_epi32(__m512i c, __m512i a, __m512i b) { for (int i = 0; i < 16; i++) for (int j = 0; j < 2; j++) c.v[i] += (int)(int16_t)a.w[2 * i + j] * (int)(int16_t)b.w[2 * i + j]; return c; }
F __m256i _mm512_cvtsepi32_epi16(__m512i a) { __m256i r; for (int i = 0; i < 16; i++) r.w[i] = (uint16_t)(a.v[i] > 32767 ? 32767 : a.v[i] < -32768 ? -32768 : a.v[i]); return r; }
F __m256i shuffled(__m256i a, int imm, int first) { __m256i r = a; for (int half = 0; half < 16; half += 8) for (int i = 0; i < 4; i++) r.w[half + first + i] = a.w[half + first + (imm >> (2 * i) & 3)]; return r; }
F __m256i _mm256_shufflelo_epi16(__m256i a, int imm) { return shuffled(a, imm, 0); }
F __m256i _mm256_shufflehi_epi16(__m256i a, int imm) { return shuffled(a, imm, 4); }
#undef F
