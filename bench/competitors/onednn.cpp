// oneDNN: products with weights that are packed beforehand (its fastest way), softmax, GELU, layer norm.   g++ -O2 -std=c++20 onednn.cpp -ldnnl
#include <oneapi/dnnl/dnnl.hpp>
#include <oneapi/dnnl/dnnl_version.h>

#include "protocol.h"

using namespace dnnl;
using Dims = memory::dims;
using Type = memory::data_type;
using Tag = memory::format_tag;

int main() {
  const engine cpu(engine::kind::cpu, 0);
  stream queue(cpu);
  const std::string version =
      std::to_string(DNNL_VERSION_MAJOR) + "." + std::to_string(DNNL_VERSION_MINOR) + "." + std::to_string(DNNL_VERSION_PATCH);

  // f32 numbers, converted to what `to` wants
  auto filled = [&](const Dims& dims, Tag tag, const memory::desc& to) {
    size_t n = 1;
    for (auto d : dims) n *= static_cast<size_t>(d);
    memory to_(to, cpu);
    float* const values = normal(n);
    memory from({dims, Type::f32, tag}, cpu, values);
    reorder(from, to_).execute(queue, from, to_);
    queue.wait();
    std::free(values);
    return to_;
  };

  auto product = [&](const Workload& w) -> Call {
    const Dims a{w["M"], w["K"]}, b{w["K"], w["N"]}, y{w["M"], w["N"]};
    const Type type = w.dtype == "bf16" ? Type::bf16 : Type::f32;
    const Tag ta = w.layout[0] == 't' ? Tag::ba : Tag::ab, tb = w.layout[1] == 't' ? Tag::ba : Tag::ab;
    // The first operand as it lies in memory; the second, the weight, in the layout that the library likes best.
    const matmul::desc d({a, type, ta}, {b, type, Tag::any}, {y, type, Tag::ab});
    const matmul::primitive_desc pd(d, cpu);
    memory ma = filled(a, ta, pd.src_desc()), mb = filled(b, tb, pd.weights_desc()), my(pd.dst_desc(), cpu);
    const matmul run(pd);
    return [=, &queue] {
      run.execute(queue, {{DNNL_ARG_SRC, ma}, {DNNL_ARG_WEIGHTS, mb}, {DNNL_ARG_DST, my}});
      queue.wait();
    };
  };

  serve(version, [&](const Workload& w) -> Call {
    if (w.kernel == "matmul") return product(w);
    if (w.dtype != "f32" || !w.sizes.contains("R")) return {};
    const Dims dims{w["R"], w["C"]};
    const memory::desc md(dims, Type::f32, Tag::ab);
    if (w.kernel == "softmax") {
      const softmax_forward run(softmax_forward::primitive_desc({prop_kind::forward_inference, md, 1}, cpu));
      memory x = filled(dims, Tag::ab, md), y(md, cpu);
      return [=, &queue] {
        run.execute(queue, {{DNNL_ARG_SRC, x}, {DNNL_ARG_DST, y}});
        queue.wait();
      };
    }
    if (w.kernel == "geluTanh") {
      const eltwise_forward run(eltwise_forward::primitive_desc({prop_kind::forward_inference, algorithm::eltwise_gelu_tanh, md, 0.f, 0.f}, cpu));
      memory x = filled(dims, Tag::ab, md), y(md, cpu);
      return [=, &queue] {
        run.execute(queue, {{DNNL_ARG_SRC, x}, {DNNL_ARG_DST, y}});
        queue.wait();
      };
    }
    if (w.kernel == "layerNorm") {
      const layer_normalization_forward::primitive_desc pd({prop_kind::forward_training, md, 1e-5f, normalization_flags::use_scale | normalization_flags::use_shift}, cpu);
      const layer_normalization_forward run(pd);
      const memory::desc channels({w["C"]}, Type::f32, Tag::a);
      memory x = filled(dims, Tag::ab, md), y(md, cpu), mean(pd.mean_desc(), cpu), variance(pd.variance_desc(), cpu);
      memory scale = filled({w["C"]}, Tag::a, channels), shift = filled({w["C"]}, Tag::a, channels);
      return [=, &queue] {
        run.execute(queue, {{DNNL_ARG_SRC, x}, {DNNL_ARG_DST, y}, {DNNL_ARG_MEAN, mean}, {DNNL_ARG_VARIANCE, variance}, {DNNL_ARG_SCALE, scale}, {DNNL_ARG_SHIFT, shift}});
        queue.wait();
      };
    }
    return {};
  });
}
