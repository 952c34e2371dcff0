#include "machine.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#if defined(__linux__)
#include <dirent.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace qkv {
namespace {

#if defined(__linux__)
std::string readText(const std::string& path) {
  std::string text;
  if (FILE* f = std::fopen(path.c_str(), "r")) {
    char part[4096];
    for (size_t n; (n = std::fread(part, 1, sizeof part, f)) > 0;) text.append(part, n);
    std::fclose(f);
  }
  return text;
}
/// The number after `key` in the text; −1 when there is none (the word "max" included).
int64_t numberAfter(const std::string& text, const char* key) {
  const size_t at = text.find(key);
  if (at == std::string::npos) return -1;
  const char* p = text.c_str() + at + std::strlen(key);
  char* end = nullptr;
  const long long v = std::strtoll(p, &end, 10);
  return end == p ? -1 : v;
}
/// The folders of this process's control group and of its ancestors, nearest first (version 2, or the memory controller of version 1).
template <class Visit> void eachCgroup(const char* root, const char* line, Visit&& visit) {
  const std::string mine = readText("/proc/self/cgroup");
  const size_t at = mine.find(line);
  std::string path = at == std::string::npos ? "" : mine.substr(at + std::strlen(line), mine.find('\n', at) - at - std::strlen(line));
  for (;;) {
    visit(std::string(root) + path);
    if (path.empty() || path == "/") break;
    path.resize(path.rfind('/'));
  }
}
int64_t cgroupMemoryLeft() {
  int64_t left = INT64_MAX;
  const auto consider = [&](int64_t limit, int64_t used) {
    if (limit > 0 && limit < (int64_t{1} << 60)) left = std::min(left, std::max<int64_t>(0, limit - std::max<int64_t>(0, used)));
  };
  eachCgroup("/sys/fs/cgroup", "0::", [&](const std::string& dir) {
    const int64_t cache = std::max<int64_t>(0, numberAfter(readText(dir + "/memory.stat"), "inactive_file "));  // given back before anything is killed
    consider(numberAfter(readText(dir + "/memory.max"), ""), numberAfter(readText(dir + "/memory.current"), "") - cache);
  });
  eachCgroup("/sys/fs/cgroup/memory", ":memory:", [&](const std::string& dir) {
    const int64_t cache = std::max<int64_t>(0, numberAfter(readText(dir + "/memory.stat"), "total_inactive_file "));
    consider(numberAfter(readText(dir + "/memory.limit_in_bytes"), ""), numberAfter(readText(dir + "/memory.usage_in_bytes"), "") - cache);
  });
  return left;
}
double cgroupCores() {
  double cores = 1e9;
  eachCgroup("/sys/fs/cgroup", "0::", [&](const std::string& dir) {
    long long quota = 0, period = 0;
    if (std::sscanf(readText(dir + "/cpu.max").c_str(), "%lld %lld", &quota, &period) == 2 && quota > 0 && period > 0)
      cores = std::min(cores, static_cast<double>(quota) / static_cast<double>(period));
  });
  const int64_t quota = numberAfter(readText("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), ""), period = numberAfter(readText("/sys/fs/cgroup/cpu/cpu.cfs_period_us"), "");
  if (quota > 0 && period > 0) cores = std::min(cores, static_cast<double>(quota) / static_cast<double>(period));
  return cores;
}
/// A library may have pinned the thread that loads us to one core; some other thread of the process still has the whole mask.
cpu_set_t processMask() {
  cpu_set_t all;
  CPU_ZERO(&all);
  if (DIR* tasks = opendir("/proc/self/task")) {
    while (const dirent* entry = readdir(tasks)) {
      cpu_set_t mask;
      CPU_ZERO(&mask);
      const int id = std::atoi(entry->d_name);
      if (id > 0 && sched_getaffinity(id, sizeof mask, &mask) == 0) CPU_OR(&all, &all, &mask);
    }
    closedir(tasks);
  }
  return all;
}
#endif

}  // namespace

int usableCores() {
#if defined(__linux__)
  const cpu_set_t mask = processMask();
  int cores = CPU_COUNT(&mask);
  if (cores == 0) cores = static_cast<int>(std::thread::hardware_concurrency());
  return std::max(1, static_cast<int>(std::min<double>(cores, std::ceil(cgroupCores()))));
#else
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
#endif
}

void useAllCores() {
#if defined(__linux__)
  static const cpu_set_t mask = processMask();
  if (CPU_COUNT(&mask) > 0) sched_setaffinity(0, sizeof mask, &mask);
#endif
}

int64_t totalMemory() {
#if defined(__linux__)
  return int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
#elif defined(__APPLE__)
  int64_t bytes = 0;
  size_t size = sizeof bytes;
  sysctlbyname("hw.memsize", &bytes, &size, nullptr, 0);
  return bytes;
#else
  return int64_t{4} << 30;
#endif
}

int64_t availableMemory() {
#if defined(__linux__)
  const int64_t free = numberAfter(readText("/proc/meminfo"), "MemAvailable:");
  int64_t bytes = free > 0 ? free * 1024 : totalMemory();
  bytes = std::min(bytes, cgroupMemoryLeft());
  rlimit limit;
  if (getrlimit(RLIMIT_DATA, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
    bytes = std::min<int64_t>(bytes, static_cast<int64_t>(limit.rlim_cur) - std::max<int64_t>(0, numberAfter(readText("/proc/self/status"), "VmData:")) * 1024);
  return std::max<int64_t>(0, bytes);
#else
  return totalMemory() / 4 * 3;
#endif
}

void flushDenormals() {
#if defined(__x86_64__)
  _mm_setcsr(_mm_getcsr() | 0x8040);  // flush to zero, denormals are zero
#elif defined(__aarch64__)
  uint64_t fpcr;
  asm volatile("mrs %0, fpcr" : "=r"(fpcr));
  asm volatile("msr fpcr, %0" ::"r"(fpcr | (uint64_t{1} << 24)));
#endif
}

}  // namespace qkv
