// A few threads that run one function together, in step.
#pragma once
#include <atomic>
#include <stdint.h>

namespace llmos {

class Team {
 public:
  explicit Team(int num_threads);
  int size() const { return num_threads_; }

  // Call task(context, thread) on every thread, this one (0) included; returns when all have.
  void run(void (*task)(void* context, int thread), void* context);

  // Inside a task: nobody goes on before all have come here. Starts the next phase's claims at 0.
  void barrier();

  // Inside a phase: the next `count` of `total` items are the caller's; their start, or -1 when none is left. A thread
  // that is held up by another process takes fewer.
  int64_t claim(int64_t count, int64_t total) {
    const int64_t start = next_.fetch_add(count, std::memory_order_relaxed);
    return start < total ? start : -1;
  }

  // Memory that stays the same between calls, 64-byte aligned and at least `bytes` long. Its content may be lost when it
  // has to grow.
  void* scratch(int64_t bytes);

 private:
  void follow(int thread);
  void await(std::atomic<uint32_t>& word, uint32_t old);

  const int num_threads_;
  void (*task_)(void*, int) = nullptr;
  void* context_ = nullptr;
  void* scratch_ = nullptr;
  int64_t scratch_bytes_ = 0;
  alignas(64) std::atomic<uint32_t> round_{0};
  alignas(64) std::atomic<uint32_t> phase_{0};
  alignas(64) std::atomic<int32_t> arrived_{0};
  alignas(64) std::atomic<int64_t> next_{0};
};

}  // namespace llmos
