// What crosses from Python: plain structs and functions. llmos_server/kernels/native/library.py mirrors them.
#pragma once
#include <stdint.h>

namespace llmos {

// Weights [num_out, num_in], packed in tiles of 16 outputs (packing.py says how).
enum MatrixKind : int32_t { kUint4 = 0, kUint5 = 1, kUint6 = 2, kInt8 = 3, kFloat32 = 4, kBfloat16 = 5, kFloat16 = 6 };

struct Matrix {
  int32_t kind;
  int32_t num_out;
  int32_t num_in;
  int32_t group;           // Inputs that share a scale: 32 or 16. Floats have none.
  const uint8_t* values;
  const uint16_t* scales;  // float16 [tiles, groups, 16]
  const uint16_t* minima;  // The same: weight = scale * integer + minimum. Null: scale * (integer - middle_of(kind)).
  const float* bias;       // [tiles * 16], or null
};

// Matrices with the same inputs, whose outputs stand side by side. All are quantised, or none is.
struct Stack {
  const Matrix* parts;
  int32_t num_parts, num_in, num_out;
  int32_t bits;  // Of the integers that activations are rounded to: 8 or 16; 0: they stay floats, for weights that are floats.
};

struct Layer {
  Stack qkv, out, gate_up, down;
  const float* attention_norm;
  const float* mlp_norm;
  const float* q_norm;  // [head_dim], or null
  const float* k_norm;
  uint8_t* keys;        // [pages, kv_heads, a head's part of a page]; cache.h says what is in it.
  uint8_t* values;      // the same
  int64_t window;       // Positions that a token sees, itself included; 0: all.
};

// What keys and values are kept in: float16, or int8 with scales.
enum CacheKind : int32_t { kHalfCache = 0, kByteCache = 1 };

struct Decoder {
  int32_t hidden, inner, num_heads, num_kv_heads, head_dim, page_size, cache_kind;
  float eps, scale;
  const float* cos;  // [positions, head_dim / 2]
  const float* sin;
  const Layer* layers;
};

// An adapter's matrices beside those of one Stack: to its outputs is added B (scale * (A x)). Weights are float16.
struct LowRank {
  const uint16_t* down;  // A of all parts, one after another: [tiles of 16 of `rank`, num_in, 16]
  const float* scales;   // [tiles * 16]
  const uint16_t* up;    // B, part after part: [tiles of 16 of its outputs, its rank, 16]
  int32_t rank;          // Of all parts together; 0: the adapter leaves this product alone.
  int32_t ranks[3];      // Of each part.
};

struct LowRankLayer {
  LowRank qkv, out, gate_up, down;
};

// A run of rows of one sequence, at consecutive positions.
struct Span {
  int32_t row, start, num_tokens, first_page;  // first_page: place of its page table in Batch::pages
};

struct Batch {
  int32_t num_rows, num_spans;
  const Span* spans;
  const int32_t* pages;
  const LowRankLayer* const* adapters;  // Of each span: its adapter's first layer, or null. Null: no span has one.
};

// Block types of a GGUF, by its own numbers.
enum BlockTypeNumber : int32_t {
  kQ4_0 = 2, kQ4_1 = 3, kQ5_0 = 6, kQ5_1 = 7, kQ8_0 = 8, kQ2_K = 10, kQ3_K = 11, kQ4_K = 12, kQ5_K = 13, kQ6_K = 14,
  kIQ4_NL = 20, kIQ4_XS = 23
};

// Rows of a matrix, from a file's blocks to a Matrix's memory.
struct Repacking {
  int32_t type;          // Of the blocks.
  int32_t num_out, num_in;
  int32_t first, last;   // The rows to be packed now, below `last`: whole tiles, but for the matrix's last one.
  const uint8_t* rows;   // Blocks of all rows, in the file's order.
  const int32_t* order;  // [num_out]: where in the file each row is. Null: in its place.
  uint8_t* values;       // These three as in Matrix.
  uint16_t* scales;
  uint16_t* minima;
};

}  // namespace llmos
