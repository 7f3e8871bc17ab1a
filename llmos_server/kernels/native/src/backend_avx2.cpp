#include "backend.h"
#include "simd_avx2.h"
#include "forward.h"
#include "repack.h"
#include "sampling.h"

const llmos::Backend llmos::backend_avx2{"avx2", llmos::LLMOS_ISA::forward, llmos::LLMOS_ISA::project,
                                   llmos::LLMOS_ISA::gather, llmos::LLMOS_ISA::draw, llmos::LLMOS_ISA::repack};
