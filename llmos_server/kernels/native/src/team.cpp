#include "team.h"

#include <new>
#include <stdlib.h>
#include <thread>

#if defined(__x86_64__)
#include <immintrin.h>
#define LLMOS_PAUSE() _mm_pause()
#elif defined(__aarch64__)
#define LLMOS_PAUSE() __asm__ volatile("yield")
#else
#define LLMOS_PAUSE()
#endif

namespace llmos {

// Some tens of microseconds: phases of a step follow each other sooner, and the API process needs the cores, too.
constexpr int kSpins = 2000;

Team::Team(int num_threads) : num_threads_(num_threads < 1 ? 1 : num_threads) {
  // They live as long as the process, which may end at any time: nothing is theirs to clean up.
  for (int i = 1; i < num_threads_; i++) std::thread([this, i] { follow(i); }).detach();
}

void Team::await(std::atomic<uint32_t>& word, uint32_t old) {
  for (int i = 0; i < kSpins; i++) {
    if (word.load(std::memory_order_acquire) != old) return;
    LLMOS_PAUSE();
  }
  while (word.load(std::memory_order_acquire) == old) word.wait(old, std::memory_order_acquire);
}

void Team::follow(int thread) {
  for (uint32_t seen = 0;; seen++) {
    await(round_, seen);
    task_(context_, thread);
    barrier();
  }
}

void Team::run(void (*task)(void*, int), void* context) {
  task_ = task;
  context_ = context;
  if (num_threads_ > 1) {
    round_.fetch_add(1, std::memory_order_release);
    round_.notify_all();
  }
  task(context, 0);
  barrier();
}

void Team::barrier() {
  const uint32_t phase = phase_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 < num_threads_) return await(phase_, phase);
  arrived_.store(0, std::memory_order_relaxed);
  next_.store(0, std::memory_order_relaxed);
  phase_.store(phase + 1, std::memory_order_release);
  phase_.notify_all();
}

void* Team::scratch(int64_t bytes) {
  if (bytes <= scratch_bytes_) return scratch_;
  free(scratch_);
  scratch_bytes_ = (bytes + bytes / 4 + 4095) / 4096 * 4096;
  scratch_ = aligned_alloc(64, (size_t)scratch_bytes_);
  if (!scratch_) throw std::bad_alloc();
  return scratch_;
}

}  // namespace llmos
