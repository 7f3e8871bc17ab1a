// What a GGUF's block types hold: the integers of a row's block, and the small integers and two float16 that their scales
// and minima are products of. llmos_server/gguf describes the layouts.
#pragma once
#include <stdint.h>
#include <string.h>

#include "abi.h"

namespace llmos::LLMOS_ISA {

constexpr int kMaxGroups = 16;

// The same block of 16 rows. value = (d * scale) * quant (+ least * minimum); quants are as a tile holds them: unsigned.
template <int SIZE>
struct Blocks {
  alignas(64) uint8_t quants[16][SIZE];
  uint16_t d[16], least[16];
  int8_t scales[kMaxGroups][16], minima[kMaxGroups][16];
};

typedef uint32_t __attribute__((aligned(1), may_alias)) Word;  // Four bytes, anywhere.

static inline uint16_t half_at(const uint8_t* from) {
  uint16_t half;
  memcpy(&half, from, 2);
  return half;
}

// Integers of BITS bits. A run of RUN bytes holds the lowest bits of all its bytes first, then the next higher ones, and so
// on. They are set above the SHIFT bits that `out` holds already; with SHIFT 0, instead of what it holds.
template <int BITS, int RUN, int BYTES, int SHIFT = 0>
static inline void unpack(const uint8_t* packed, uint8_t* out) {
  constexpr uint32_t kMask = 0x01010101u * ((1 << BITS) - 1);
  for (int from = 0; from < BYTES; from += RUN)
    for (int low = 0; low < 8; low += BITS, out += RUN)
      for (int i = 0; i < RUN; i += 4) {
        const uint32_t fields = (*(const Word*)(packed + from + i) >> low & kMask) << SHIFT;
        *(Word*)(out + i) = SHIFT ? *(const Word*)(out + i) | fields : fields;
      }
}

// Bit n belongs to integer n.
static inline void add_fifth_bits(const uint8_t* packed, uint8_t* out) {
  const uint32_t bits = *(const Word*)packed;
  for (int i = 0; i < 32; i++) out[i] |= (uint8_t)((bits >> i & 1) << 4);
}

template <int COUNT>
static inline void add_to_all(uint8_t* out, int number) {
  for (int i = 0; i < COUNT; i++) out[i] = (uint8_t)(out[i] + number);
}

// Into a lane of the blocks' scales or minima.
template <int COUNT>
static inline void set_lane(int8_t (*to)[16], int lane, const uint8_t* numbers) {
  for (int i = 0; i < COUNT; i++) to[i][lane] = (int8_t)numbers[i];
}

template <MatrixKind KIND, int SIZE, int BYTES, int GROUP, bool HAS_MINIMA = false>
struct BlockType {
  static constexpr MatrixKind kKind = KIND;
  static constexpr int kSize = SIZE, kBytes = BYTES, kGroups = SIZE / GROUP;
  static constexpr bool kHasMinima = HAS_MINIMA;
  using Taken = Blocks<SIZE>;
};

// Types of 32 integers have one scale, d, and one minimum.
static inline void set_one(Blocks<32>& to, int lane, const uint8_t* d, const uint8_t* minimum = nullptr) {
  to.d[lane] = half_at(d);
  to.scales[0][lane] = to.minima[0][lane] = 1;
  to.least[lane] = minimum ? half_at(minimum) : 0;
}

struct Q4_0 : BlockType<kUint4, 32, 18, 32> {
  static inline void take(const uint8_t* block, Taken& to, int lane) {
    set_one(to, lane, block);
    unpack<4, 16, 16>(block + 2, to.quants[lane]);
  }
};

struct Q4_1 : BlockType<kUint4, 32, 20, 32, true> {
  static inline void take(const uint8_t* block, Taken& to, int lane) {
    set_one(to, lane, block, block + 2);
    unpack<4, 16, 16>(block + 4, to.quants[lane]);
  }
};

struct Q5_0 : BlockType<kUint5, 32, 22, 32> {
  static inline void take(const uint8_t* block, Taken& to, int lane) {
    set_one(to, lane, block);
    unpack<4, 16, 16>(block + 6, to.quants[lane]);
    add_fifth_bits(block + 2, to.quants[lane]);
  }
};

struct Q5_1 : BlockType<kUint5, 32, 24, 32, true> {
  static inline void take(const uint8_t* block, Taken& to, int lane) {
    set_one(to, lane, block, block + 2);
    unpack<4, 16, 16>(block + 8, to.quants[lane]);
    add_fifth_bits(block + 4, to.quants[lane]);
  }
};

struct Q8_0 : BlockType<kInt8, 32, 34, 32> {
  static inline void take(const uint8_t* block, Taken& to, int lane) {
    set_one(to, lane, block);
    for (int i = 0; i < 32; i++) to.quants[lane][i] = block[2 + i] ^ 128;
  }
};

struct Q2_K : BlockType<kUint4, 256, 84, 16, true> {
  static inline void take(const uint8_t* block, Taken& to, int lane) {
    uint8_t numbers[32];
    unpack<4, 16, 16>(block, numbers);
    set_lane<16>(to.scales, lane, numbers);
    set_lane<16>(to.minima, lane, numbers + 16);
    to.d[lane] = half_at(block + 80);
    to.least[lane] = half_at(block + 82) ^ 0x8000;  // Minima are subtracted.
    unpack<2, 32, 64>(block + 16, to.quants[lane]);
  }
};

struct Q3_K : BlockType<kUint4, 256, 110, 16> {
  static inline void take(const uint8_t* block, Taken& to, int lane) {
    uint8_t numbers[16];
    unpack<4, 8, 8>(block + 96, numbers);
    unpack<2, 4, 4, 4>(block + 104, numbers);
    add_to_all<16>(numbers, -32);
    set_lane<16>(to.scales, lane, numbers);
    to.d[lane] = half_at(block + 108);
    unpack<2, 32, 64>(block + 32, to.quants[lane]);
    unpack<1, 32, 32, 2>(block, to.quants[lane]);
    add_to_all<256>(to.quants[lane], 8 - 4);
  }
};

// Q4_K's and Q5_K's head: d, what minima are multiples of, eight scales and eight minima of 6 bits in 12 bytes. Of these, 0 to
// 3 hold scales 0 to 3 and, on top, the upper bits of scales 4 to 7; 4 to 7 the same of minima; 8 to 11 the lower bits of
// scales 4 to 7 and, on top, of minima 4 to 7.
static inline void take_head(const uint8_t* block, Blocks<256>& to, int lane) {
  to.d[lane] = half_at(block);
  to.least[lane] = half_at(block + 2) ^ 0x8000;
  const uint8_t* packed = block + 4;
  for (int i = 0; i < 4; i++) {
    to.scales[i][lane] = packed[i] & 63;
    to.minima[i][lane] = packed[4 + i] & 63;
    to.scales[4 + i][lane] = (int8_t)((packed[8 + i] & 15) | packed[i] >> 6 << 4);
    to.minima[4 + i][lane] = (int8_t)(packed[8 + i] >> 4 | packed[4 + i] >> 6 << 4);
  }
}

struct Q4_K : BlockType<kUint4, 256, 144, 32, true> {
  static inline void take(const uint8_t* block, Taken& to, int lane) {
    take_head(block, to, lane);
    unpack<4, 32, 128>(block + 16, to.quants[lane]);
  }
};

struct Q5_K : BlockType<kUint5, 256, 176, 32, true> {
  static inline void take(const uint8_t* block, Taken& to, int lane) {
    take_head(block, to, lane);
    unpack<4, 32, 128>(block + 48, to.quants[lane]);
    unpack<1, 32, 32, 4>(block + 16, to.quants[lane]);
  }
};

struct Q6_K : BlockType<kUint6, 256, 210, 16> {
  static inline void take(const uint8_t* block, Taken& to, int lane) {
    set_lane<16>(to.scales, lane, block + 192);
    to.d[lane] = half_at(block + 208);
    unpack<4, 64, 128>(block, to.quants[lane]);
    unpack<2, 32, 64, 4>(block + 128, to.quants[lane]);
  }
};

constexpr int8_t kLevels[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

template <int COUNT>
static inline void take_levels(uint8_t* quants) {
  for (int i = 0; i < COUNT; i++) quants[i] = (uint8_t)kLevels[quants[i]] ^ 128;
}

struct IQ4_NL : BlockType<kInt8, 32, 18, 32> {
  static inline void take(const uint8_t* block, Taken& to, int lane) {
    set_one(to, lane, block);
    unpack<4, 16, 16>(block + 2, to.quants[lane]);
    take_levels<32>(to.quants[lane]);
  }
};

struct IQ4_XS : BlockType<kInt8, 256, 136, 32> {
  static inline void take(const uint8_t* block, Taken& to, int lane) {
    to.d[lane] = half_at(block);
    for (int i = 0; i < 8; i++) {
      const int lower = block[4 + i / 2] >> (i % 2 * 4) & 15, upper = half_at(block + 2) >> (2 * i) & 3;
      to.scales[i][lane] = (int8_t)((lower | upper << 4) - 32);
    }
    unpack<4, 16, 128>(block + 8, to.quants[lane]);
    take_levels<256>(to.quants[lane]);
  }
};

}  // namespace llmos::LLMOS_ISA
