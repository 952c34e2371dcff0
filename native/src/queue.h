// Commands from JavaScript's threads to the one driver thread, which runs them in order. A command is a run of doubles in a ring.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

#include "dispatch.h"

namespace qkv {

/// One process has one engine: all threads of JavaScript share its memory, its queue and its pool.
void startQueue(const KernelTable* kernels, int threads, char* memory);

enum class Op : int32_t { kernel, write, call, skip };

/// A kernel call as commands.ts encodes it. Returns its number for waitFor.
uint64_t submitKernel(const double* words, size_t count);
/// Copies `bytes` into the ring now and to `offset` of the arena when the driver comes to it. For small data.
uint64_t submitWrite(int64_t offset, const void* data, size_t bytes);
/// Runs f(context) on the driver thread.
uint64_t submitCall(void (*f)(void*), void* context);
uint64_t lastSubmitted();
/// Sleeps until the driver has finished command `number`.
void waitFor(uint64_t number);
/// What the driver has done with its time since it started: per kernel and variant (the function of an elementwise kernel or a reduction, else 0).
/// Two readings of the clock a command; `idleSeconds`: it had nothing to do.
constexpr int kVariants = 32;
struct Clock {
  double calls, seconds;
};
struct Clocks {
  double idleSeconds = 0;
  Clock kernel[kKernels][kVariants] = {};
};
/// A copy as of the last finished command.
Clocks readClocks();
/// What a kernel threw since the last call, or empty.
std::string takeFailure();

}  // namespace qkv
