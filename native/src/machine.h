// What the machine and its limits (affinity, cgroup, ulimit) leave to this process.
#pragma once
#include <cstdint>

namespace qkv {

/// Cores this process may use: the union of its threads' affinity masks, cut by the cgroup's CPU quota.
int usableCores();
/// Gives the calling thread the whole of that union, whatever mask it inherited.
void useAllCores();
/// Bytes that can still be taken now: the least of free RAM, the rest of the cgroup's memory limit, and the rest of `ulimit -v`.
int64_t availableMemory();
/// Bytes of RAM in the machine.
int64_t totalMemory();
/// Denormals count as zero in the calling thread: they would cost a hundred cycles each on many CPUs.
void flushDenormals();

}  // namespace qkv
