// The threads that kernels run on. parallelFor, scratch and sharedScratch of kernel.h are its face.
#pragma once

namespace qkv {

/// Starts threads − 1 workers; the caller of parallelFor (the driver of queue.h) is thread 0. Call once.
void startPool(int threads);

}  // namespace qkv
