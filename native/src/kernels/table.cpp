// The kernels of one instruction set. Declared weak: one that is not written yet is null here, and JavaScript reports it when it is called.
#include "../dispatch.h"
#include "simd.h"

namespace qkv::QKV_ISA {

#define QKV_DECLARE(name) __attribute__((weak)) void name(const Args&);
QKV_KERNELS(QKV_DECLARE)
double peakFlops(int threads, bool bf16);
double readBandwidth(int threads, double megabytes);
double updateBandwidth(int threads, double megabytes);

#define QKV_QUOTE(x) #x
#define QKV_NAME(x) QKV_QUOTE(x)
#define QKV_ENTRY(name) name,
extern const KernelTable table;
const KernelTable table = {QKV_NAME(QKV_ISA), {QKV_KERNELS(QKV_ENTRY)}, peakFlops, readBandwidth, updateBandwidth};

}  // namespace qkv::QKV_ISA
