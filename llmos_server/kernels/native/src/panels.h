// Rows lie in panels of four, a block of each beside the same block of the others; see Activations in products.h.
#pragma once
#include <stdint.h>

namespace llmos {

constexpr int kPanelRows = 4;

// How far row i is from the first of its panels, where panels are `panel` apart and rows `row`.
static inline int64_t row_at(int i, int64_t panel, int64_t row = 32) { return i / kPanelRows * panel + i % kPanelRows * row; }

}  // namespace llmos
