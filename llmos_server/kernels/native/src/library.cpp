// The functions that Python calls, and the choice of an instruction set.
#include <string.h>

#include "backend.h"

namespace {

using llmos::Backend;

#if defined(__x86_64__)
const Backend* const kBackends[] = {&llmos::backend_avx512vnni, &llmos::backend_avx2, &llmos::backend_plain};
#else
const Backend* const kBackends[] = {&llmos::backend_plain};
#endif

bool runs_here(const Backend& backend) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  if (!strcmp(backend.name, "avx512vnni"))
    return has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
  if (!strcmp(backend.name, "avx2")) return has_avx2;
#endif
  return true;
}

}  // namespace

#define LLMOS_EXPORT extern "C" __attribute__((visibility("default")))

// The named backend, or the best one where name is empty; null if it can't run here. Names are those of Backend::name.
LLMOS_EXPORT const Backend* llmos_backend(const char* name) {
  for (const Backend* backend : kBackends)
    if ((!*name || !strcmp(backend->name, name)) && runs_here(*backend)) return backend;
  return nullptr;
}

LLMOS_EXPORT const char* llmos_backend_name(const Backend* backend) { return backend->name; }

LLMOS_EXPORT llmos::Team* llmos_team(int num_threads) { return new llmos::Team(num_threads); }

// Layers `first` to below `last`. x: float32 [rows, hidden], changed in place.
LLMOS_EXPORT void llmos_forward(const Backend* backend, llmos::Team* team, const llmos::Decoder* decoder, int first, int last,
                   const llmos::Batch* batch, float* x) {
  backend->forward(*team, *decoder, first, last, *batch, x);
}

// out [rows, num_out] = norm(x) @ stack.T + bias; norm null: x itself.
LLMOS_EXPORT void llmos_project(const Backend* backend, llmos::Team* team, const llmos::Stack* stack, const float* norm, float eps,
                   const float* x, int num_rows, float* out) {
  backend->project(*team, *stack, norm, eps, x, num_rows, out);
}

// out [n, num_in]: rows `ids` of the matrix.
LLMOS_EXPORT void llmos_gather(const Backend* backend, const llmos::Matrix* matrix, const int64_t* ids, int n, float* out) {
  backend->gather(*matrix, ids, n, out);
}

// A token of softmax(scores / temperature); noise: in [0, 1).
LLMOS_EXPORT int64_t llmos_draw(const Backend* backend, const float* scores, int64_t size, float temperature, double noise) {
  return backend->draw(scores, size, temperature, noise);
}

// Rows of a matrix into tiles; false for a type of blocks that has no code.
LLMOS_EXPORT bool llmos_repack(const Backend* backend, llmos::Team* team, const llmos::Repacking* repacking) {
  return backend->repack(*team, *repacking);
}
