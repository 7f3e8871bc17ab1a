// What is done to one row at a time: norms, rotation, activation functions, and rounding to int8.
#pragma once
#include <math.h>

#include "products.h"

namespace llmos::LLMOS_ISA {

// e to the x to about 2 ulp; 0 below -87, where a float's exponent ends. exp(0) is 1 exactly. After Cephes' expf.
// What is no number stays none: of max and min, the second operand comes out then.
static inline Lanes exp(Lanes x) {
  const Lanes lowest = set1(-87.0f);
  const Lanes bounded = min(set1(88.0f), max(lowest, x));
  const Lanes n = round(mul(bounded, set1(1.44269504f)));
  Lanes r = fnma(n, set1(0.693359375f), bounded);
  r = fnma(n, set1(-2.12194440e-4f), r);
  Lanes p = set1(1.9875691500e-4f);
  p = fma(p, r, set1(1.3981999507e-3f));
  p = fma(p, r, set1(8.3334519073e-3f));
  p = fma(p, r, set1(4.1665795894e-2f));
  p = fma(p, r, set1(1.6666665459e-1f));
  p = fma(p, r, set1(5.0000001201e-1f));
  p = add(fma(p, mul(r, r), r), set1(1.0f));
  return drop_below(mul(p, power_of_two(n)), x, lowest);
}

static inline float total(Lanes a) {
  float v[16];
  store(v, a);
  for (int half = 8; half > 0; half /= 2)
    for (int i = 0; i < half; i++) v[i] += v[i + half];
  return v[0];
}

static inline float largest(Lanes a) {
  float v[16];
  store(v, a);
  float peak = v[0];
  for (int i = 1; i < 16; i++) peak = v[i] > peak ? v[i] : peak;
  return peak;
}

// size: a multiple of 16. out may be x.
static inline void rms_norm(const float* x, const float* weight, float eps, int size, float* out) {
  Lanes squares = set1(0.0f);
  for (int i = 0; i < size; i += 16) squares = fma(load(x + i), load(x + i), squares);
  const Lanes factor = set1(1.0f / sqrtf(total(squares) / (float)size + eps));
  for (int i = 0; i < size; i += 16) store(out + i, mul(mul(load(x + i), factor), load(weight + i)));
}

// silu(gate) * up. gate_up: [2 * size], the gate first. out may be gate_up.
static inline void swiglu(const float* gate_up, int size, float* out) {
  for (int i = 0; i < size; i += 16) {
    const Lanes gate = load(gate_up + i), one = set1(1.0f);
    const Lanes silu = div(gate, add(one, exp(sub(set1(0.0f), gate))));
    store(out + i, mul(silu, load(gate_up + size + i)));
  }
}

// RoPE on halves, in place. cos, sin: [head_dim / 2].
static inline void rotate(float* x, const float* cos, const float* sin, int head_dim) {
  const int half = head_dim / 2;
  for (int i = 0; i < half; i++) {
    const float first = x[i], second = x[half + i];
    x[i] = first * cos[i] - second * sin[i];
    x[half + i] = second * cos[i] + first * sin[i];
  }
}

// A block of 32 numbers to integers of 8 or 16 bits that share a scale, at a place. What isn't finite makes the scale so.
template <int BITS>
static inline void quantise_block(const float* x, int64_t place, const Activations& to) {
  constexpr float kLargest = BITS == 8 ? 127.0f : 32767.0f;
  const Lanes a = load(x), b = load(x + 16);
  const float peak = largest(max(abs(a), abs(b)));
  const Lanes nothing = fma(b, set1(0.0f), mul(a, set1(0.0f)));  // 0, or NaN where there is a number that isn't finite.
  const float unit = peak / kLargest + total(nothing), inverse = peak > 0.0f ? kLargest / peak : 0.0f;
  const Ints ints_a = to_ints(mul(a, set1(inverse))), ints_b = to_ints(mul(b, set1(inverse)));
  if constexpr (BITS == 8) {
    store_bytes(to.bytes + place * 32, ints_a);
    store_bytes(to.bytes + place * 32 + 16, ints_b);
  } else {
    store_words(to.words + place * 32, ints_a);
    store_words(to.words + place * 32 + 16, ints_b);
  }
  const int32_t counts[3] = {sum(ints_a), sum(ints_b), sum(ints_a) + sum(ints_b)};
  to.scales[place] = unit;
  for (int i = 0; i < 3; i++) {
    to.counts[place * 3 + i] = counts[i];
    to.sums[place * 3 + i] = unit * (float)counts[i];
  }
}

// Row `row`, of num_in numbers, as a stack of `bits` wants it; floats are read where they are.
static inline void prepare_row(const float* floats, int64_t row, int64_t num_in, int bits, const Activations& to) {
  const int64_t blocks = num_in / 32;
  for (int64_t block = 0; bits && block < blocks; block++) {
    if (bits == 8)
      quantise_block<8>(floats + block * 32, place_of(row, block, blocks), to);
    else
      quantise_block<16>(floats + block * 32, place_of(row, block, blocks), to);
  }
}

}  // namespace llmos::LLMOS_ISA
