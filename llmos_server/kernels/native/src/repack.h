// A GGUF's blocks into tiles. Integers are moved, not rounded again, and a scale is rounded to float16 once, so that the
// bits are those that packing.py makes.
#pragma once
#include "blocks.h"
#include "rows.h"

namespace llmos::LLMOS_ISA {

// 32 inputs of 16 outputs as weights.h has them. quants: the first of each output, SIZE apart.
template <int KIND, int SIZE>
static inline void write_block(const uint8_t (*quants)[SIZE], int at, uint8_t* to) {
  alignas(64) uint32_t quads[8][16];
  for (int lane = 0; lane < 16; lane++)
    for (int j = 0; j < 8; j++) quads[j][lane] = *(const Word*)(quants[lane] + at + 4 * j);
  if constexpr (KIND == kInt8) {
    memcpy(to, quads, sizeof quads);
    return;
  }
  alignas(64) uint32_t out[6][16] = {};
  for (int i = 0; i < 4; i++)
    for (int lane = 0; lane < 16; lane++)
      out[i][lane] = (quads[2 * i][lane] & 0x0F0F0F0F) | (quads[2 * i + 1][lane] & 0x0F0F0F0F) << 4;
  constexpr int kUpper = KIND == kUint5 ? 1 : KIND == kUint6 ? 2 : 0;  // Bits above the nibble.
  if constexpr (kUpper)
    for (int j = 0; j < 8; j++)
      for (int lane = 0; lane < 16; lane++)
        out[4 + j * kUpper / 8][lane] |= (quads[j][lane] >> 4 & 0x0F0F0F0F) << (j * kUpper % 8);
  memcpy(to, out, kBlockBytes<KIND>);
}

// [groups, 16] float16: `unit` times the small integers.
static inline void write_scales(const uint16_t* unit, const int8_t (*numbers)[16], int groups, uint16_t* to) {
  const Lanes units = from_half(unit);
  for (int group = 0; group < groups; group++) to_half(to + 16 * group, mul(units, from_bytes(numbers[group])));
}

// Outputs beyond the last are zeros.
template <class TYPE>
static void repack_tile(const Repacking& r, int64_t tile) {
  const int64_t num_blocks = r.num_in / TYPE::kSize, row_bytes = num_blocks * TYPE::kBytes;
  const int lanes = (int)(r.num_out - tile * 16 < 16 ? r.num_out - tile * 16 : 16);
  const uint8_t* rows[16];
  for (int lane = 0; lane < lanes; lane++) {
    const int64_t row = tile * 16 + lane;
    rows[lane] = r.rows + (r.order ? r.order[row] : row) * row_bytes;
  }
  typename TYPE::Taken taken{};
  if (TYPE::kKind == kInt8) memset(taken.quants, 128, sizeof taken.quants);
  uint8_t* values = r.values + tile * (r.num_in / 32) * kBlockBytes<TYPE::kKind>;
  int64_t group = tile * num_blocks * TYPE::kGroups;
  for (int64_t block = 0; block < num_blocks; block++, group += TYPE::kGroups) {
    for (int lane = 0; lane < lanes; lane++) TYPE::take(rows[lane] + block * TYPE::kBytes, taken, lane);
    for (int at = 0; at < TYPE::kSize; at += 32, values += kBlockBytes<TYPE::kKind>)
      write_block<TYPE::kKind>(taken.quants, at, values);
    write_scales(taken.d, taken.scales, TYPE::kGroups, r.scales + group * 16);
    if (TYPE::kHasMinima) write_scales(taken.least, taken.minima, TYPE::kGroups, r.minima + group * 16);
  }
}

using RepackTile = void (*)(const Repacking&, int64_t tile);

// Null: a type that holds no integers with scales.
static inline RepackTile repack_of(int32_t type) {
  switch (type) {
    case kQ4_0: return repack_tile<Q4_0>;
    case kQ4_1: return repack_tile<Q4_1>;
    case kQ5_0: return repack_tile<Q5_0>;
    case kQ5_1: return repack_tile<Q5_1>;
    case kQ8_0: return repack_tile<Q8_0>;
    case kQ2_K: return repack_tile<Q2_K>;
    case kQ3_K: return repack_tile<Q3_K>;
    case kQ4_K: return repack_tile<Q4_K>;
    case kQ5_K: return repack_tile<Q5_K>;
    case kQ6_K: return repack_tile<Q6_K>;
    case kIQ4_NL: return repack_tile<IQ4_NL>;
    case kIQ4_XS: return repack_tile<IQ4_XS>;
  }
  return nullptr;
}

struct RepackTask {
  Team& team;
  const Repacking& repacking;
  RepackTile tile;
};

static void repack_tiles(void* context, int) {
  const RepackTask& task = *(const RepackTask*)context;
  const int64_t first = task.repacking.first / 16, count = (task.repacking.last + 15) / 16 - first;
  for (int64_t at; (at = task.team.claim(1, count)) >= 0;) task.tile(task.repacking, first + at);
}

static bool repack(Team& team, const Repacking& repacking) {
  RepackTask task{team, repacking, repack_of(repacking.type)};
  if (task.tile) team.run(repack_tiles, &task);
  return task.tile;
}

}  // namespace llmos::LLMOS_ISA
