// What one instruction set offers; each backend_*.cpp fills it under its own compiler flags.
#pragma once
#include "abi.h"
#include "team.h"

namespace llmos {

struct Backend {
  const char* name;
  void (*forward)(Team&, const Decoder&, int first, int last, const Batch&, float* x);
  void (*project)(Team&, const Stack&, const float* norm, float eps, const float* x, int num_rows, float* out);
  void (*gather)(const Matrix&, const int64_t* ids, int n, float* out);
  int64_t (*draw)(const float* scores, int64_t size, float temperature, double noise);
  bool (*repack)(Team&, const Repacking&);
};

extern const Backend backend_plain, backend_avx2, backend_avx512vnni;

}  // namespace llmos
