// The decoder's layers, computed by a team in phases: between two barriers each row, tile or block is somebody's.
#pragma once
#include <algorithm>
#include <vector>

#include "attention_plan.h"
#include "low_rank.h"

namespace llmos::LLMOS_ISA {

// Rows up to so many are made by every thread for itself: that takes less time than meeting the others does.
constexpr int kFewRows = 4;

// Where the rows that a matrix takes are made.
struct Desk {
  float* rows;
  Activations acts;
  float* lows;  // Of adapters: [rows, Work::low_stride]
};

struct Work {
  Team& team;
  const Decoder& d;
  const Batch& batch;
  int first_layer, last_layer;
  float* x;  // [rows, hidden], changed in place
  std::vector<Plan> plans;
  std::vector<int32_t> row_page, row_offset, row_position;
  float *wide, *attended, *partials, *strips;  // wide: qkv, then gate and up; strips: a thread's after another
  std::vector<Desk> desks;            // One for all threads, or, for few rows, one for each.
  std::vector<const LowRankLayer*> row_adapters;  // Empty where no row has an adapter.
  int64_t low_stride = 0;
  bool is_apart = false;              // Every row is of a sequence of its own, whose parts one thread takes in turn: nobody needs another's keys.
};

static inline void each_row(Team& team, int num_rows, auto&& body) {
  for (int64_t row; (row = team.claim(1, num_rows)) >= 0;) body(row);
}

static void rotate_and_write(Work& w, const Layer& layer, int64_t row, int first_head, int num_heads) {
  const Decoder& d = w.d;
  float* qkv = w.wide + row * (d.num_heads + 2 * d.num_kv_heads) * d.head_dim;
  const int64_t place = (int64_t)w.row_position[row] * (d.head_dim / 2);
  const int group = d.num_heads / d.num_kv_heads;
  const auto turn = [&](int head, const float* norm) {
    float* x = qkv + (int64_t)head * d.head_dim;
    if (norm) rms_norm(x, norm, d.eps, d.head_dim, x);
    rotate(x, d.cos + place, d.sin + place, d.head_dim);
    if (d.cache_kind == kByteCache) ByteCache::spread(d, x);
  };
  for (int head = first_head; head < first_head + num_heads; head++) {
    for (int i = 0; i < group; i++) turn(head * group + i, layer.q_norm);
    turn(d.num_heads + head, layer.k_norm);
    write_cache(d, layer, qkv, head, w.row_page[row], w.row_offset[row]);
  }
}

static void attend(Work& w, int thread, const Layer& layer, const Plan& plan) {
  const Decoder& d = w.d;
  float scores[kBlockRows * kPartKeys];
  const int64_t num_items = (int64_t)plan.items.size() * d.num_kv_heads;
  for (int64_t at; (at = w.team.claim(1, num_items)) >= 0;) {
    const Item& item = plan.items[at / d.num_kv_heads];
    const int head = (int)(at % d.num_kv_heads);
    const Block& block = plan.blocks[item.block];
    if (item.part == kAllParts) {
      if (w.is_apart) rotate_and_write(w, layer, block.row, head, 1);
      float* room = w.strips + thread * strip_floats(d);
      attend_strip(d, layer, w.batch, &block, item.num_blocks, head, w.wide, scores, room, w.attended);
    } else {
      const Partial to = partial_of(d, block, head, item.part, w.partials);
      attend_part(d, layer, w.batch, block, head, block.first_part + item.part, w.wide, scores, to);
    }
  }
}

static void join_parts(Work& w, const Plan& plan) {
  const int64_t num = (int64_t)plan.blocks.size() * w.d.num_kv_heads;
  for (int64_t item; (item = w.team.claim(1, num)) >= 0;)
    join_parts(w.d, plan.blocks[item / w.d.num_kv_heads], (int)(item % w.d.num_kv_heads), w.partials, w.attended);
}

// to (+)= rows @ stack.T, and what adapters add, where make_row(row, place) makes one of the rows.
static void multiply(Work& w, int thread, const Layer& layer, Stack Layer::*which, LowRank LowRankLayer::*added,
                     const Target& to, auto&& make_row) {
  const Stack& stack = layer.*which;
  const int num_rows = w.batch.num_rows;
  const bool is_shared = w.desks.size() == 1;
  Desk desk = w.desks[is_shared ? 0 : thread];
  desk.acts.floats = desk.rows;
  const bool has_adapters = !w.row_adapters.empty();
  const LowRanks low{w.row_adapters.data(), added, (int)(&layer - w.d.layers), desk.lows, w.low_stride};
  const auto prepare = [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; row++) {
      make_row(row, desk.rows + row * stack.num_in);
      prepare_row(desk.rows + row * stack.num_in, row, stack.num_in, stack.bits, desk.acts);
    }
    if (has_adapters) low.narrow_rows(desk.rows, stack.num_in, first, last);
  };
  if (is_shared) {
    const int64_t count = has_adapters ? kLowRows : 1;
    for (int64_t first; (first = w.team.claim(count, num_rows)) >= 0;)
      prepare(first, std::min<int64_t>(first + count, num_rows));
    w.team.barrier();
  } else {
    prepare(0, num_rows);
  }
  if (has_adapters)
    product(w.team, stack, desk.acts, num_rows, to,
            [&](int part, int tile, const Target& side) { low.widen_tile(stack, part, tile, num_rows, side); });
  else
    product(w.team, stack, desk.acts, num_rows, to);
  w.team.barrier();
}

static void compute_layer(Work& w, int thread, const Layer& layer) {
  Team& team = w.team;
  const Decoder& d = w.d;
  const int64_t heads = (int64_t)d.num_heads * d.head_dim;
  const auto normed = [&](const float* norm) {
    return [&w, &d, norm](int64_t row, float* to) { rms_norm(w.x + row * d.hidden, norm, d.eps, d.hidden, to); };
  };
  multiply(w, thread, layer, &Layer::qkv, &LowRankLayer::qkv, {w.wide, layer.qkv.num_out, false}, normed(layer.attention_norm));
  if (!w.is_apart) {
    each_row(team, w.batch.num_rows, [&](int64_t row) { rotate_and_write(w, layer, row, 0, d.num_kv_heads); });
    team.barrier();
  }
  const Plan& plan = *std::find_if(w.plans.begin(), w.plans.end(), [&](const Plan& p) { return p.window == layer.window; });
  attend(w, thread, layer, plan);
  team.barrier();
  if (plan.partials) {
    join_parts(w, plan);
    team.barrier();
  }
  multiply(w, thread, layer, &Layer::out, &LowRankLayer::out, {w.x, d.hidden, true},
           [&](int64_t row, float* to) { memcpy(to, w.attended + row * heads, sizeof(float) * (size_t)heads); });
  multiply(w, thread, layer, &Layer::gate_up, &LowRankLayer::gate_up, {w.wide, layer.gate_up.num_out, false}, normed(layer.mlp_norm));
  multiply(w, thread, layer, &Layer::down, &LowRankLayer::down, {w.x, d.hidden, true},
           [&](int64_t row, float* to) { swiglu(w.wide + row * 2 * d.inner, d.inner, to); });
}

static void compute_layers(void* context, int thread) {
  Work& w = *(Work*)context;
  for (int i = w.first_layer; i < w.last_layer; i++) compute_layer(w, thread, w.d.layers[i]);
}

// Places in one piece of memory, one after another, each at a cache line.
struct Shelf {
  char* base;
  int64_t used = 0;
  template <class T>
  T* take(int64_t count) {
    T* place = (T*)(base + used);
    used += (count * (int64_t)sizeof(T) + 63) / 64 * 64;
    return place;
  }
};

// Of rows with up to num_in numbers.
static Activations take_activations(Shelf& shelf, int64_t rows, int64_t num_in) {
  const int64_t blocks = (rows + 3) / 4 * 4 * (num_in / kBlockInputs);
  Activations acts{};
  acts.words = shelf.take<int16_t>(blocks * kBlockInputs);
  acts.bytes = (int8_t*)acts.words;
  acts.scales = shelf.take<float>(blocks);
  acts.sums = shelf.take<float>(blocks * 3);
  acts.counts = shelf.take<int32_t>(blocks * 3);
  return acts;
}

static void lay_out(Work& w, Shelf shelf, int64_t* bytes) {
  const Decoder& d = w.d;
  const int64_t rows = w.batch.num_rows, heads = (int64_t)d.num_heads * d.head_dim;
  const int64_t widest = std::max<int64_t>({d.hidden, d.inner, heads});
  int64_t partials = 0;
  for (const Plan& plan : w.plans) partials = std::max(partials, plan.partials);
  w.wide = shelf.take<float>(rows * std::max<int64_t>(heads + 2 * (int64_t)d.num_kv_heads * d.head_dim, 2 * (int64_t)d.inner));
  w.attended = shelf.take<float>(rows * heads);
  w.partials = shelf.take<float>(partials);
  w.strips = shelf.take<float>(w.team.size() * strip_floats(d));
  for (Desk& desk : w.desks) {
    desk.rows = shelf.take<float>(rows * widest);
    desk.acts = take_activations(shelf, rows, widest);
    desk.lows = shelf.take<float>(w.row_adapters.empty() ? 0 : rows * w.low_stride);
  }
  *bytes = shelf.used;
}

// Which adapter each row has, and the most numbers that A x has in any product.
static void find_adapters(Work& w, int num_layers) {
  for (int s = 0; s < w.batch.num_spans; s++) {
    const LowRankLayer* layers = w.batch.adapters[s];
    w.row_adapters.resize(w.batch.spans[s].row, nullptr);
    w.row_adapters.resize(w.batch.spans[s].row + w.batch.spans[s].num_tokens, layers);
    for (int i = 0; layers && i < num_layers; i++)
      for (const LowRank* a : {&layers[i].qkv, &layers[i].out, &layers[i].gate_up, &layers[i].down})
        w.low_stride = std::max<int64_t>(w.low_stride, num_rank_tiles(*a) * 16);
  }
  w.row_adapters.resize(w.batch.num_rows, nullptr);
}

static void forward(Team& team, const Decoder& d, int first, int last, const Batch& batch, float* x) {
  Work w{team, d, batch, first, last, x, {}, {}, {}, {}, nullptr, nullptr, nullptr, nullptr, {}, {}};
  if (batch.adapters) find_adapters(w, last);
  w.desks.resize(batch.num_rows <= kFewRows ? team.size() : 1);
  for (int i = first; i < last; i++) {
    const int64_t window = d.layers[i].window;
    if (std::none_of(w.plans.begin(), w.plans.end(), [&](const Plan& p) { return p.window == window; }))
      w.plans.push_back(make_plan(d, batch, window, team.size()));
  }
  for (int s = 0; s < batch.num_spans; s++) {
    const Span& span = batch.spans[s];
    for (int at = span.start; at < span.start + span.num_tokens; at++) {
      w.row_position.push_back(at);
      w.row_page.push_back(batch.pages[span.first_page + at / d.page_size]);
      w.row_offset.push_back(at % d.page_size);
    }
  }
  w.is_apart = std::all_of(batch.spans, batch.spans + batch.num_spans, [](const Span& s) { return s.num_tokens == 1; }) &&
               std::all_of(w.plans.begin(), w.plans.end(), [](const Plan& p) { return !p.partials; });
  int64_t bytes = 0;
  lay_out(w, Shelf{nullptr}, &bytes);
  lay_out(w, Shelf{(char*)team.scratch(bytes)}, &bytes);
  team.run(compute_layers, &w);
}

struct Projection {
  Team& team;
  const Stack& stack;
  const float* norm;
  float eps;
  const float* x;
  int num_rows;
  float* out;
  float* normed;
  Activations acts;
};

static void compute_projection(void* context, int) {
  Projection& p = *(Projection*)context;
  const int64_t size = p.stack.num_in;
  each_row(p.team, p.num_rows, [&](int64_t row) {
    float* to = p.normed + row * size;
    if (p.norm)
      rms_norm(p.x + row * size, p.norm, p.eps, (int)size, to);
    else
      memcpy(to, p.x + row * size, sizeof(float) * (size_t)size);
    prepare_row(to, row, size, p.stack.bits, p.acts);
  });
  p.team.barrier();
  product(p.team, p.stack, p.acts, p.num_rows, {p.out, p.stack.num_out, false});
}

static void project(Team& team, const Stack& stack, const float* norm, float eps, const float* x, int rows, float* out) {
  Projection p{team, stack, norm, eps, x, rows, out, nullptr, {}};
  int64_t bytes = 0;
  for (int pass = 0; pass < 2; pass++) {
    Shelf shelf{pass ? (char*)team.scratch(bytes) : nullptr};
    p.normed = shelf.take<float>((int64_t)rows * stack.num_in);
    p.acts = take_activations(shelf, rows, stack.num_in);
    bytes = shelf.used;
  }
  p.acts.floats = p.normed;
  team.run(compute_projection, &p);
}

// Rows of a matrix as floats. out: [n, num_in]
static void gather(const Matrix& w, const int64_t* ids, int n, float* out) {
  for (int i = 0; i < n; i++) {
    const int64_t tile = ids[i] / 16, lane = ids[i] % 16, base = tile * w.num_in * 16;
    for (int64_t k = 0; k < w.num_in; k++) {
      float lanes[16];
      if (w.kind >= kFloat32) {
        store(lanes, w.kind == kFloat32    ? weights_at<kFloat32>(w.values, base + k * 16)
                     : w.kind == kBfloat16 ? weights_at<kBfloat16>(w.values, base + k * 16)
                                           : weights_at<kFloat16>(w.values, base + k * 16));
        out[i * w.num_in + k] = lanes[lane];
        continue;
      }
      const int64_t block = tile * (w.num_in / kBlockInputs) + k / kBlockInputs;
      const int64_t group = (tile * (w.num_in / w.group) + k / w.group) * 16;
      float value = integer_at(w.kind, w.minima, w.values + block * block_bytes(w.kind), k % kBlockInputs, (int)lane);
      store(lanes, from_half(w.scales + group));
      value *= lanes[lane];
      if (w.minima) {
        store(lanes, from_half(w.minima + group));
        value += lanes[lane];
      }
      out[i * w.num_in + k] = value;
    }
  }
}

}  // namespace llmos::LLMOS_ISA
