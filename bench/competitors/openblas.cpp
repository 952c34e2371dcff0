// OpenBLAS: single-precision products.   g++ -O2 -std=c++20 openblas.cpp -lopenblas
#include <cblas.h>

#include "protocol.h"

extern "C" char* openblas_get_config(void);

int main() {
  std::vector<float*> made;
  serve(openblas_get_config(), [&](const Workload& w) -> Call {
    for (float* p : made) std::free(p);
    made.clear();
    if (w.kernel != "matmul" || w.dtype != "f32") return {};
    const long M = w["M"], N = w["N"], K = w["K"];
    const bool ta = w.layout[0] == 't', tb = w.layout[1] == 't';
    float* const a = normal(M * K);
    float* const b = normal(K * N);
    float* const y = normal(M * N, false);
    made = {a, b, y};
    return [=] {
      cblas_sgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, M, N, K, 1, a, ta ? M : K, b, tb ? K : N, 0, y, N);
    };
  });
}
