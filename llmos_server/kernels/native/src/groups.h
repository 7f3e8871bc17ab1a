// Sums of the integers of a group, from those of its runs of 16.
#pragma once
#include <stdint.h>

namespace llmos {

template <int GROUP>
static inline int32_t group_sum(const int32_t* sixteens) {
  static_assert(GROUP == 16 || GROUP == 32);
  return GROUP == 16 ? sixteens[0] : sixteens[0] + sixteens[1];
}

}  // namespace llmos
