#include "dispatch.h"

#include <cstring>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace qkv {

#if defined(__x86_64__)
#define QKV_ISAS(X) X(avx512bf16) X(avx512) X(avx2) X(sse2)
#elif defined(__aarch64__)
#define QKV_ISAS(X) X(neon)
#else
#define QKV_ISAS(X) X(generic)
#endif

// Weak: a build may leave an instruction set out.
#define QKV_DECLARE(isa) namespace isa { __attribute__((weak)) extern const KernelTable table; }
QKV_ISAS(QKV_DECLARE)

namespace {
bool has(const char* isa) {
#if defined(__x86_64__) && !defined(QKV_EMULATED)
  unsigned a, b, c = 0, d;
  const bool f16c = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);  // older clangs know no such name
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && f16c;
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
  if (std::strcmp(isa, "avx512bf16") == 0) return avx512 && __builtin_cpu_supports("avx512bf16");
  if (std::strcmp(isa, "avx512") == 0) return avx512;
  if (std::strcmp(isa, "avx2") == 0) return avx2;
#endif
  (void)isa;
  return true;
}
}  // namespace

const KernelTable* chooseKernels(const char* asked) {
#define QKV_TRY(name)                                                                                     \
  if ((asked == nullptr || asked[0] == 0 || std::strcmp(asked, #name) == 0) && &name::table != nullptr && has(#name)) return &name::table;
  QKV_ISAS(QKV_TRY)
  return nullptr;
}

}  // namespace qkv
