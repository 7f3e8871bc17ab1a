// Which thread computes what of a step's attention. Few items are parts of blocks, joined afterwards by whoever is free; of
// many, each is a strip of blocks with all their parts in turn, which needs no room for parts and reads a part of the cache
// once for the whole strip. Which of the two it is changes no bit.
#pragma once
#include <algorithm>
#include <vector>

#include "attention.h"

namespace llmos::LLMOS_ISA {

constexpr int kStripBlocks = 8;      // At most; their results should stay in a core's own cache.
constexpr int kItemsPerThread = 8;   // So many even out what threads lose to other processes.
constexpr int32_t kAllParts = -1;

struct Item {
  int32_t block, num_blocks, part;  // part: of the one block, or kAllParts
};

// The blocks of one step for all layers that have the same window.
struct Plan {
  int64_t window;
  std::vector<Block> blocks;
  std::vector<Item> items;  // For each KV head.
  int64_t partials = 0;     // Floats that parts need until they are joined; 0: all are taken in turn.
};

static std::vector<Block> make_blocks(const Decoder& d, const Batch& batch, int64_t window) {
  std::vector<Block> blocks;
  const int tokens = std::max(1, kBlockRows / heads_in_group(d));
  for (int s = 0; s < batch.num_spans; s++) {
    const Span& span = batch.spans[s];
    for (int done = 0; done < span.num_tokens; done += tokens) {
      Block block{span.row + done, span.start + done, std::min(tokens, span.num_tokens - done), span.first_page, 0, 0, 0};
      const int64_t first = window > 0 ? std::max<int64_t>(0, block.position - window + 1) : 0;
      block.first_part = (int32_t)(first / kPartKeys);
      block.num_parts = (block.position + block.num_tokens - 1) / kPartKeys - block.first_part + 1;
      blocks.push_back(block);
    }
  }
  return blocks;
}

// Strips of one sequence each, the last first: those see most, and nobody should be left with one at the end.
static void add_strips(Plan& plan, int longest) {
  const int num = (int)plan.blocks.size();
  for (int end = num, start; end > 0; end = start) {
    const int32_t table = plan.blocks[end - 1].table;
    for (start = end - 1; start > 0 && end - start < longest && plan.blocks[start - 1].table == table;) start--;
    plan.items.push_back({start, end - start, kAllParts});
  }
}

static void add_parts(const Decoder& d, Plan& plan) {
  for (int32_t i = 0; i < (int32_t)plan.blocks.size(); i++) {
    Block& block = plan.blocks[i];
    block.partials = plan.partials;
    plan.partials += Partial::size(d) * block.num_parts * d.num_kv_heads;
    for (int32_t part = 0; part < block.num_parts; part++) plan.items.push_back({i, 1, part});
  }
}

static Plan make_plan(const Decoder& d, const Batch& batch, int64_t window, int num_threads) {
  Plan plan{window, make_blocks(d, batch, window), {}};
  const int64_t wanted = (int64_t)num_threads * kItemsPerThread, num = (int64_t)plan.blocks.size() * d.num_kv_heads;
  const bool are_short = std::all_of(plan.blocks.begin(), plan.blocks.end(), [](const Block& b) { return b.num_parts == 1; });
  if (are_short || num >= wanted)
    add_strips(plan, (int)std::clamp<int64_t>(num / wanted, 1, kStripBlocks));
  else
    add_parts(d, plan);
  return plan;
}

// Floats that a thread needs for strips.
static inline int64_t strip_floats(const Decoder& d) { return Partial::size(d) * (kStripBlocks + 1); }

// All parts of some blocks of a sequence, in turn. room: [strip_floats].
static void attend_strip(const Decoder& d, const Layer& layer, const Batch& batch, const Block* blocks, int num_blocks,
                         int head, const float* qkv, float* scores, float* room, float* out) {
  const Partial part_of_one(room + Partial::size(d) * kStripBlocks);
  const auto end_of = [](const Block& block) { return block.first_part + block.num_parts; };
  for (int part = blocks[0].first_part; part < end_of(blocks[num_blocks - 1]); part++)
    for (int i = 0; i < num_blocks; i++) {
      const Block& block = blocks[i];
      const Partial whole(room + Partial::size(d) * i);
      if (part < block.first_part || part >= end_of(block)) continue;
      const bool is_first = part == block.first_part;
      attend_part(d, layer, batch, block, head, part, qkv, scores, is_first ? whole : part_of_one);
      if (!is_first) join(d, rows_of(d, block), part_of_one, whole);
    }
  for (int i = 0; i < num_blocks; i++) finish(d, blocks[i], head, Partial(room + Partial::size(d) * i), out);
}

// Where a part's results wait. partials: the plan's.
static inline Partial partial_of(const Decoder& d, const Block& block, int head, int part, float* partials) {
  return Partial(partials + block.partials + ((int64_t)head * block.num_parts + part) * Partial::size(d));
}

static void join_parts(const Decoder& d, const Block& block, int head, float* partials, float* out) {
  const Partial whole = partial_of(d, block, head, 0, partials);
  for (int part = 1; part < block.num_parts; part++)
    join(d, rows_of(d, block), partial_of(d, block, head, part, partials), whole);
  finish(d, block, head, whole, out);
}

}  // namespace llmos::LLMOS_ISA
