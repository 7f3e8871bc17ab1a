// x @ weights.T over packed tiles of 16 outputs. Each output of a row is computed by the same operations in the same
// order whatever other rows there are, so its bits don't depend on the batch.
#pragma once
#include <algorithm>

#include "abi.h"
#include "team.h"
#include "weights.h"

namespace llmos::LLMOS_ISA {

// Rows of activations as matrices want them: floats, or integers in blocks of 32 that share a scale. The blocks of four
// rows lie side by side (a panel): what a product reads is one stream.
struct Activations {
  const float* floats;  // [rows, num_in], for matrices of floats
  int8_t* bytes;        // [panels, blocks, 4, 32], for stacks of 8 bits
  int16_t* words;       // The same, for stacks of 16 bits; of each four, the second and the third have changed places.
  float* scales;        // [panels, blocks, 4]
  float* sums;          // [panels, blocks, 4, 3]: of the first and of the second 16 numbers of a block, and of both
  int32_t* counts;      // The same of their integers.
};

// Where block `block` of a row is, counted in blocks.
static inline int64_t place_of(int64_t row, int64_t block, int64_t blocks) {
  return (row / 4 * blocks + block) * 4 + row % 4;
}

struct Target {
  float* out;      // [rows, stride]
  int64_t stride;
  bool adds;       // To what is there, or overwrites.
};

static inline void finish(const Matrix& w, int tile, const Target& to, int64_t row, Lanes value) {
  if (w.bias) value = add(value, load(w.bias + tile * 16));
  float* out = to.out + row * to.stride + tile * 16;
  const int num = w.num_out - tile * 16;
  if (num >= 16) {
    store(out, to.adds ? add(load(out), value) : value);
    return;
  }
  float whole[16];
  store(whole, value);
  for (int i = 0; i < num; i++) out[i] = to.adds ? out[i] + whole[i] : whole[i];
}

// A tile's weights where the matrix has them. BITS: of the activations.
template <int KIND, int GROUP, bool HAS_MINIMA, int BITS>
struct PackedTile {
  static constexpr int kGroups = kBlockInputs / GROUP;
  const uint8_t* values;
  const uint16_t* scales;
  const uint16_t* minima;

  PackedTile(const Matrix& w, int64_t tile) {
    const int64_t blocks = w.num_in / kBlockInputs;
    values = w.values + tile * blocks * kBlockBytes<KIND>;
    scales = w.scales + tile * blocks * kGroups * 16;
    minima = HAS_MINIMA ? w.minima + tile * blocks * kGroups * 16 : nullptr;
  }
  Ints bytes(int64_t block, int j) const { return quad<KIND>(values + block * kBlockBytes<KIND>, j); }
  Ints evens(int64_t block, int j) const { return even_words<KIND == kInt8>(bytes(block, j)); }
  Ints odds(int64_t block, int j) const { return odd_words<KIND == kInt8>(bytes(block, j)); }
  Lanes scale(int64_t group) const { return from_half(scales + group * 16); }
  Lanes minimum(int64_t group) const { return from_half(minima + group * 16); }

  // Ask for a block before it is wanted, for the processor itself looks less far ahead than memory is away. It may be of
  // the next tile, or of what lies behind the matrix, which is the next that is multiplied.
  void fetch(int64_t block) const {
    for (int at = 0; at < kBlockBytes<KIND>; at += 64) __builtin_prefetch(values + block * kBlockBytes<KIND> + at);
    __builtin_prefetch(scales + block * kGroups * 16);
    if constexpr (HAS_MINIMA) __builtin_prefetch(minima + block * kGroups * 16);
  }
};

constexpr int kAhead = 8;        // Blocks from the one that is multiplied to the one that is fetched.
constexpr int kOpenBlocks = 16;  // Of a tile that are unpacked at a time: 16 KiB of words.
constexpr int kOpenRows = 128;   // Rows whose totals wait meanwhile.
constexpr int kManyRows = 8;     // From so many on unpacking first is worth its time.

// The same, unpacked for many rows.
template <int KIND, int GROUP, bool HAS_MINIMA, int BITS>
struct OpenTile {
  static constexpr int kGroups = kBlockInputs / GROUP;
  alignas(64) uint8_t values[kOpenBlocks * kBlockInputs * 16 * (BITS / 8)];
  alignas(64) float scales[kOpenBlocks * kGroups * 16];
  alignas(64) float minima[HAS_MINIMA ? kOpenBlocks * kGroups * 16 : 16];

  void open(const PackedTile<KIND, GROUP, HAS_MINIMA, BITS>& tile, int64_t first, int count) {
    for (int block = 0; block < count; block++) {
      tile.fetch(first + block + kOpenBlocks);
      for (int j = 0; j < 8; j++) {
        uint8_t* to = values + (block * 8 + j) * 64 * (BITS / 8);
        if constexpr (BITS == 16) {
          store_ints(to, tile.evens(first + block, j));
          store_ints(to + 64, tile.odds(first + block, j));
        } else {
          store_ints(to, tile.bytes(first + block, j));
        }
      }
    }
    for (int group = 0; group < count * kGroups; group++) {
      store(scales + group * 16, tile.scale(first * kGroups + group));
      if constexpr (HAS_MINIMA) store(minima + group * 16, tile.minimum(first * kGroups + group));
    }
  }
  Ints bytes(int64_t block, int j) const { return load_bytes(values + (block * 8 + j) * 64); }
  Ints evens(int64_t block, int j) const { return load_bytes(values + (block * 8 + j) * 128); }
  Ints odds(int64_t block, int j) const { return load_bytes(values + (block * 8 + j) * 128 + 64); }
  Lanes scale(int64_t group) const { return load(scales + group * 16); }
  Lanes minimum(int64_t group) const { return load(minima + group * 16); }
  void fetch(int64_t) const {}  // It is near.
};

// totals += rows `first` and on, of whose blocks `count` are taken from from_block on, times the same of the tile, where
// from_block stands at `at`. Up to four rows are of one panel; eight are of two.
template <int ROWS, int KIND, int GROUP, bool HAS_MINIMA, int BITS, class Tile>
static inline void add_blocks(const Tile& tile, int64_t at, const Activations& x, int64_t blocks, int64_t first,
                              int64_t from_block, int64_t count, Lanes (&totals)[ROWS]) {
  constexpr int kGroups = kBlockInputs / GROUP, kQuads = GROUP / 4;
  const int64_t panel = blocks * 4;
  for (int64_t b = 0; b < count; b++) {
    tile.fetch(at + b + kAhead);
    for (int g = 0; g < kGroups; g++) {
      const int64_t place = place_of(first, from_block + b, blocks), group = (at + b) * kGroups + g;
      const int which = kGroups == 1 ? 2 : g;
      Ints dots[ROWS];
      if constexpr (BITS == 16) {
        dot_words<ROWS, kQuads>([&](int j) __attribute__((always_inline)) { return tile.evens(at + b, g * kQuads + j); },
                                [&](int j) __attribute__((always_inline)) { return tile.odds(at + b, g * kQuads + j); },
                                x.words + place * 32 + g * GROUP, panel * 32, dots);
      } else {
        dot_bytes<ROWS, kQuads, KIND>([&](int j) __attribute__((always_inline)) { return tile.bytes(at + b, g * kQuads + j); },
                                      x.bytes + place * 32 + g * GROUP, panel * 32, x.counts + place * 3 + which, panel * 3, dots);
      }
      const Lanes scale = tile.scale(group);
      for (int i = 0; i < ROWS; i++) {
        const int64_t own = place + i / 4 * panel + i % 4;
        const Lanes unit = set1(x.scales[own]), floats = to_floats(dots[i]);
        const float sum = x.sums[own * 3 + which];
        if constexpr (HAS_MINIMA) {
          totals[i] = fma(scale, mul(unit, floats), totals[i]);
          totals[i] = fma(tile.minimum(group), set1(sum), totals[i]);
        } else if constexpr (KIND == kInt8) {
          totals[i] = fma(scale, mul(unit, floats), totals[i]);
        } else {
          totals[i] = fma(scale, fma(unit, floats, set1(-kMiddle<KIND> * sum)), totals[i]);
        }
      }
    }
  }
}

template <int ROWS, int KIND, int GROUP, bool HAS_MINIMA, int BITS>
static inline void packed_rows(const Matrix& w, int tile, const Activations& x, int64_t first, const Target& to) {
  const PackedTile<KIND, GROUP, HAS_MINIMA, BITS> packed(w, tile);
  Lanes totals[ROWS];
  for (int i = 0; i < ROWS; i++) totals[i] = set1(0.0f);
  add_blocks<ROWS, KIND, GROUP, HAS_MINIMA, BITS>(packed, 0, x, w.num_in / kBlockInputs, first, 0, w.num_in / kBlockInputs, totals);
  for (int i = 0; i < ROWS; i++) finish(w, tile, to, first + i, totals[i]);
}

template <int ROWS, int KIND, int GROUP, bool HAS_MINIMA, int BITS>
static inline void open_rows(const OpenTile<KIND, GROUP, HAS_MINIMA, BITS>& tile, const Activations& x, int64_t blocks,
                             int64_t row, int64_t from_block, int64_t count, float* waiting) {
  Lanes totals[ROWS];
  for (int i = 0; i < ROWS; i++) totals[i] = from_block ? load(waiting + i * 16) : set1(0.0f);
  add_blocks<ROWS, KIND, GROUP, HAS_MINIMA, BITS>(tile, 0, x, blocks, row, from_block, count, totals);
  for (int i = 0; i < ROWS; i++) store(waiting + i * 16, totals[i]);
}

template <int KIND, int GROUP, bool HAS_MINIMA, int BITS>
static void many_rows(const Matrix& w, int tile, const Activations& x, int64_t first, int64_t num_rows, const Target& to) {
  const PackedTile<KIND, GROUP, HAS_MINIMA, BITS> packed(w, tile);
  OpenTile<KIND, GROUP, HAS_MINIMA, BITS> open;
  alignas(64) float waiting[kOpenRows * 16];
  const int64_t blocks = w.num_in / kBlockInputs;
  for (int64_t block = 0; block < blocks; block += kOpenBlocks) {
    const int count = (int)std::min<int64_t>(kOpenBlocks, blocks - block);
    open.open(packed, block, count);
    int64_t row = 0;
    for (; row + kRows <= num_rows; row += kRows)
      open_rows<kRows>(open, x, blocks, first + row, block, count, waiting + row * 16);
    for (; row + 4 <= num_rows; row += 4) open_rows<4>(open, x, blocks, first + row, block, count, waiting + row * 16);
    for (; row < num_rows; row++) open_rows<1>(open, x, blocks, first + row, block, count, waiting + row * 16);
  }
  for (int64_t row = 0; row < num_rows; row++) finish(w, tile, to, first + row, load(waiting + row * 16));
}

template <int KIND, int GROUP, bool HAS_MINIMA, int BITS>
static void quantised_rows(const Matrix& w, int tile, const Activations& x, int64_t num_rows, const Target& to) {
  int64_t row = 0;
  while (num_rows - row >= kManyRows) {
    const int64_t count = std::min<int64_t>(kOpenRows, num_rows - row);
    many_rows<KIND, GROUP, HAS_MINIMA, BITS>(w, tile, x, row, count, to);
    row += count;
  }
  for (; num_rows - row >= 4; row += 4) packed_rows<4, KIND, GROUP, HAS_MINIMA, BITS>(w, tile, x, row, to);
  if (num_rows - row >= 2) packed_rows<2, KIND, GROUP, HAS_MINIMA, BITS>(w, tile, x, row, to), row += 2;
  if (num_rows > row) packed_rows<1, KIND, GROUP, HAS_MINIMA, BITS>(w, tile, x, row, to);
}

template <int KIND>
static inline Lanes weights_at(const uint8_t* values, int64_t place) {
  if constexpr (KIND == kFloat32) return load((const float*)values + place);
  if constexpr (KIND == kBfloat16) return from_bfloat((const uint16_t*)values + place);
  return from_half((const uint16_t*)values + place);
}

// Values: [tiles, num_in, 16].
template <int ROWS, int KIND>
static inline void some_float_rows(const Matrix& w, int tile, const Activations& x, int64_t first, const Target& to) {
  const int64_t num_in = w.num_in, base = (int64_t)tile * num_in * 16;
  const float* rows = x.floats + first * num_in;
  Lanes totals[ROWS];
  for (int i = 0; i < ROWS; i++) totals[i] = set1(0.0f);
  for (int64_t k = 0; k < num_in; k++) {
    const Lanes weights = weights_at<KIND>(w.values, base + k * 16);
    for (int i = 0; i < ROWS; i++) totals[i] = fma(set1(rows[i * num_in + k]), weights, totals[i]);
  }
  for (int i = 0; i < ROWS; i++) finish(w, tile, to, first + i, totals[i]);
}

template <int KIND>
static void float_rows(const Matrix& w, int tile, const Activations& x, int64_t num_rows, const Target& to) {
  int64_t row = 0;
  for (; num_rows - row >= 4; row += 4) some_float_rows<4, KIND>(w, tile, x, row, to);
  for (; row < num_rows; row++) some_float_rows<1, KIND>(w, tile, x, row, to);
}

using TileProduct = void (*)(const Matrix&, int tile, const Activations&, int64_t num_rows, const Target&);

template <int BITS>
static TileProduct quantised_product(const Matrix& w) {
  const bool by_32 = w.group == 32;
  switch (w.kind) {
    case kUint4:
      if (w.minima) return by_32 ? quantised_rows<kUint4, 32, true, BITS> : quantised_rows<kUint4, 16, true, BITS>;
      return by_32 ? quantised_rows<kUint4, 32, false, BITS> : quantised_rows<kUint4, 16, false, BITS>;
    case kUint5: return w.minima ? quantised_rows<kUint5, 32, true, BITS> : quantised_rows<kUint5, 32, false, BITS>;
    case kUint6: return quantised_rows<kUint6, 16, false, BITS>;
    default: return by_32 ? quantised_rows<kInt8, 32, false, BITS> : quantised_rows<kInt8, 16, false, BITS>;
  }
}

static TileProduct tile_product(const Matrix& w, int bits) {
  switch (w.kind) {
    case kFloat32: return float_rows<kFloat32>;
    case kBfloat16: return float_rows<kBfloat16>;
    case kFloat16: return float_rows<kFloat16>;
    default: return bits == 8 ? quantised_product<8>(w) : quantised_product<16>(w);
  }
}

static inline int64_t num_tiles(const Matrix& w) { return (w.num_out + 15) / 16; }

// One phase of a team: to = x @ stack.T + bias. after_tile(part, tile, target of the part) is called when a tile is there.
static inline void product(Team& team, const Stack& stack, const Activations& x, int num_rows, const Target& to, auto&& after_tile) {
  int64_t total = 0;
  for (int i = 0; i < stack.num_parts; i++) total += num_tiles(stack.parts[i]);
  const int64_t count = std::max<int64_t>(1, total / (team.size() * 8));
  for (int64_t start; (start = team.claim(count, total)) >= 0;)
    for (int64_t place = start; place < start + count && place < total; place++) {
      int64_t tile = place;
      const Matrix* part = stack.parts;
      Target side = to;
      for (; tile >= num_tiles(*part); part++) {
        tile -= num_tiles(*part);
        side.out += part->num_out;
      }
      tile_product(*part, stack.bits)(*part, (int)tile, x, num_rows, side);
      after_tile((int)(part - stack.parts), (int)tile, side);
    }
}

static inline void product(Team& team, const Stack& stack, const Activations& x, int num_rows, const Target& to) {
  product(team, stack, x, num_rows, to, [](int, int, const Target&) {});
}

}  // namespace llmos::LLMOS_ISA
