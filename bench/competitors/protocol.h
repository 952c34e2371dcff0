// What the C++ programs share: a line of words in (see kernels.ts), a line of JSON out.
#pragma once
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <map>
#include <new>
#include <random>
#include <sstream>
#include <string>
#include <sys/mman.h>
#include <vector>

struct Workload {
  std::string kernel, dtype, layout;
  std::map<std::string, long> sizes;
  long operator[](const char* name) const { return sizes.at(name); }
};
using Call = std::function<void()>;

/// n normal floats on huge pages, never given back: a program measures one workload after another and ends.
inline float* normal(size_t n, bool fill = true) {
  void* p = nullptr;
  if (posix_memalign(&p, 2 << 20, (n * 4 + (2 << 20) - 1) >> 21 << 21) != 0) throw std::bad_alloc();
  madvise(p, n * 4, MADV_HUGEPAGE);
  auto* f = static_cast<float*>(p);
  std::minstd_rand rng(1);
  for (size_t i = 0; i < n; i++) f[i] = fill ? static_cast<float>(rng()) / 1e9f - 1.f : 0.f;
  return f;
}

inline double timed(const Call& call, long n) {
  const auto start = std::chrono::steady_clock::now();
  for (long i = 0; i < n; i++) call();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / static_cast<double>(n);
}

/// Answers until the input ends. `make` gives one call of the kernel, empty where the library has none, and releases what it made before.
inline void serve(const std::string& version, const std::function<Call(const Workload&)>& make) {
  std::cout << "{\"version\":\"" << version << "\"}" << std::endl;
  std::string line, last;
  Call call;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    Workload w;
    long repeats;
    double atLeast;
    words >> w.kernel >> w.dtype >> w.layout >> repeats >> atLeast;
    for (std::string word; words >> word;) {
      const auto eq = word.find('=');
      w.sizes[word.substr(0, eq)] = std::stol(word.substr(eq + 1));
    }
    try {
      if (line != last) call = make(w);
      last = line;
      if (!call) {
        std::cout << "{\"skip\":\"no such kernel\"}" << std::endl;
        continue;
      }
      timed(call, 1);
      const double once = timed(call, 1);
      const long n = std::max(1L, static_cast<long>(std::ceil(atLeast / once)));
      std::cout << "{\"seconds\":[";
      // A call of half a second is its own repeat: the other rounds bring more.
      if (once > 0.5) std::cout << once;
      else
        for (long r = 0; r < repeats; r++) std::cout << (r ? "," : "") << timed(call, n);
      std::cout << "]}" << std::endl;
    } catch (const std::exception& e) {
      last.clear();
      std::cout << "{\"skip\":\"" << e.what() << "\"}" << std::endl;
    }
  }
}
