// Drawing a token from scores.
#pragma once
#include <vector>

#include "rows.h"

namespace llmos::LLMOS_ISA {

constexpr int64_t kDrawBlock = 1024;

// Sixteen scores from `at` on; what lies beyond the end counts as never drawn.
static inline Lanes scores_at(const float* scores, int64_t at, int64_t size) {
  if (at + 16 <= size) return load(scores + at);
  float padded[16];
  for (int i = 0; i < 16; i++) padded[i] = at + i < size ? scores[at + i] : -INFINITY;
  return load(padded);
}

// Inverts the distribution function of softmax(scores / temperature), in order of token id: the first token up to which
// the mass is more than noise, in [0, 1), times all of it. The mass is added up in blocks, so that one block only is
// looked at token by token. The same for a row whatever else is computed.
static int64_t draw(const float* scores, int64_t size, float temperature, double noise) {
  Lanes peaks = set1(-INFINITY);
  for (int64_t at = 0; at < size; at += 16) peaks = max(peaks, scores_at(scores, at, size));
  const Lanes peak = set1(largest(peaks)), scale = set1(1.0f / temperature);
  const auto weights_at = [&](int64_t at) { return exp(mul(sub(scores_at(scores, at, size), peak), scale)); };
  std::vector<double> masses;
  double whole = 0.0;
  for (int64_t first = 0; first < size; first += kDrawBlock) {
    Lanes sum = set1(0.0f);
    for (int64_t at = first; at < first + kDrawBlock && at < size; at += 16) sum = add(sum, weights_at(at));
    masses.push_back((double)total(sum));
    whole += masses.back();
  }
  const double target = noise * whole;
  double before = 0.0;
  size_t block = 0;
  while (block + 1 < masses.size() && before + masses[block] <= target) before += masses[block++];
  int64_t last = 0;
  const int64_t first = (int64_t)block * kDrawBlock;
  for (int64_t at = first; at < first + kDrawBlock && at < size; at += 16) {
    float weights[16];
    store(weights, weights_at(at));
    for (int i = 0; i < 16; i++) {
      if (weights[i] <= 0.0f) continue;
      last = at + i;
      before += weights[i];
      if (before > target) return last;
    }
  }
  return last;  // Rounding left the block's own mass a little below its sum.
}

}  // namespace llmos::LLMOS_ISA
