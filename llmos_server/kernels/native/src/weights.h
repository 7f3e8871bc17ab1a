// How the integers of a matrix lie in memory: in blocks of 32 inputs of a tile's 16 outputs.
//
// A quad is 4 inputs of each output, 64 bytes; quad j of a block holds inputs 4 j to 4 j + 3. kInt8: eight quads, values
// + 128. The others: four times 64 bytes, whose low nibbles are quad 2 i's lower four bits and whose high ones quad
// 2 i + 1's; then for kUint5 64 bytes whose bit j is quad j's fifth bit; for kUint6 two times 64 bytes, the upper two bits of
// four quads each, the first quad's lowest.
#pragma once
#include "abi.h"

namespace llmos::LLMOS_ISA {

constexpr int kBlockInputs = 32;

template <int KIND>
constexpr int kBlockBytes = KIND == kUint4 ? 256 : KIND == kUint5 ? 320 : KIND == kUint6 ? 384 : 512;

// What stands for 0 where there are no minima. kInt8 has taken it off already.
template <int KIND>
constexpr float kMiddle = KIND == kUint4 ? 8 : KIND == kUint5 ? 16 : KIND == kUint6 ? 32 : 0;

// 64 bytes, each an unsigned weight; of kInt8 a signed one.
template <int KIND>
static inline Ints quad(const uint8_t* block, int j) {
  if constexpr (KIND == kInt8) return flip_signs(load_bytes(block + 64 * j));
  const Ints pairs = load_bytes(block + 64 * (j / 2));
  const Ints nibbles = and_bytes(j % 2 ? shift_right(pairs, 4) : pairs, 15);
  if constexpr (KIND == kUint4) return nibbles;
  if constexpr (KIND == kUint5) {
    const Ints plane = load_bytes(block + 256);
    return or_bytes(nibbles, and_bytes(j < 4 ? shift_left(plane, 4 - j) : shift_right(plane, j - 4), 16));
  }
  const Ints plane = load_bytes(block + 256 + 64 * (j / 4));
  const int at = j % 4 * 2;
  return or_bytes(nibbles, and_bytes(at < 4 ? shift_left(plane, 4 - at) : shift_right(plane, at - 4), 48));
}

static inline int block_bytes(int kind) {
  return kind == kUint4 ? kBlockBytes<kUint4> : kind == kUint5 ? kBlockBytes<kUint5> : kind == kUint6 ? kBlockBytes<kUint6> : kBlockBytes<kInt8>;
}

// One integer of a block, less the middle where there are no minima.
static inline float integer_at(int kind, bool has_minima, const uint8_t* block, int input, int lane) {
  const int j = input / 4, place = lane * 4 + input % 4;
  if (kind == kInt8) return (float)((int)block[64 * j + place] - 128);
  int value = block[64 * (j / 2) + place] >> (j % 2 * 4) & 15;
  if (kind == kUint5) value |= (block[256 + place] >> j & 1) << 4;
  if (kind == kUint6) value |= (block[256 + 64 * (j / 4) + place] >> (j % 4 * 2) & 3) << 4;
  const float middle = kind == kUint4 ? kMiddle<kUint4> : kind == kUint5 ? kMiddle<kUint5> : kMiddle<kUint6>;
  return (float)value - (has_minima ? 0.0f : middle);
}

}  // namespace llmos::LLMOS_ISA
