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

// 32 numbers to int8 with one scale; what rounding left over stays in x. Numbers that are not finite make the scale so.
static inline void quantise_group(float* x, int8_t* values, float* scale, int32_t* sums) {
  const Lanes a = load(x), b = load(x + 16);
  const float peak = largest(max(abs(a), abs(b)));
  const Lanes nothing = fma(b, set1(0.0f), mul(a, set1(0.0f)));  // 0, or NaN where there is a number that isn't finite.
  const float unit = peak / 127.0f + total(nothing), inverse = peak > 0.0f ? 127.0f / peak : 0.0f;
  const Lanes whole_a = round(mul(a, set1(inverse))), whole_b = round(mul(b, set1(inverse)));
  const Ints ints_a = to_ints(whole_a), ints_b = to_ints(whole_b);
  store_bytes(values, ints_a);
  store_bytes(values + 16, ints_b);
  store(x, fnma(whole_a, set1(unit), a));
  store(x + 16, fnma(whole_b, set1(unit), b));
  *scale = unit;
  sums[0] = sum(ints_a);
  sums[1] = sum(ints_b);
}

// Row `row` as int8. floats: the row, of num_in numbers; lost, unless terms is 0: then matrices read it where it is.
static inline void prepare_row(float* floats, int64_t row, int64_t num_in, const Activations& to) {
  for (int64_t place = row * to.terms; place < (row + 1) * to.terms; place++)
    for (int64_t at = 0; at < num_in; at += 32)
      quantise_group(floats + at, to.values + place * num_in + at, to.scales + (place * num_in + at) / 32,
                     to.sums + (place * num_in + at) / 16);
}

}  // namespace llmos::LLMOS_ISA
