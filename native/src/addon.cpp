// The Node-API face of the engine: memory, the queue, reads and writes. Called by src/tensor/backends/native/index.ts only.
// May be loaded by several threads of JavaScript (worker_threads): the engine is one per process, what is here in Env is one per thread.
#include <node_api.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

#include "arena.h"
#include "dispatch.h"
#include "file.h"
#include "machine.h"
#include "queue.h"

namespace {

using namespace qkv;

constexpr size_t kSmallWrite = 64 << 10;  // larger data would push too much of the queue out of cache: it waits instead and is copied once

struct Engine {
  const KernelTable* kernels = nullptr;
  int threads = 1;
  Arena* arena = nullptr;
};
std::string startFailure;
Engine* engine() {
  static Engine* const e = []() -> Engine* {  // never destroyed: the driver may outlive main
    const char* isa = std::getenv("QKV_ISA");
    auto* made = new Engine;
    made->kernels = chooseKernels(isa);
    if (made->kernels == nullptr) {
      startFailure = std::string("QKV_ISA=") + isa + ": this machine does not have that instruction set (or its name is wrong)";
      return nullptr;
    }
    made->threads = usableCores();
    if (const char* asked = std::getenv("QKV_THREADS")) {
      const int n = std::atoi(asked);
      if (n >= 1 && n < made->threads) made->threads = n;  // never more threads than cores
    }
    made->arena = new Arena;
    startQueue(made->kernels, made->threads, made->arena->base());
    return made;
  }();
  return e;
}

#if defined(__SANITIZE_ADDRESS__)
/// Tells AddressSanitizer, in the order of the queue, where a tensor ends: 64 bytes after it must not be touched.
constexpr int64_t kFence = 64;
void fence(int64_t offset, int64_t bytes, bool use) {
  struct Change {
    char* at;
    size_t bytes;
    bool use;
  };
  submitCall(
      [](void* p) {
        const std::unique_ptr<Change> c(static_cast<Change*>(p));
        if (c->use) __asan_unpoison_memory_region(c->at, c->bytes);
        else __asan_poison_memory_region(c->at, c->bytes);
      },
      new Change{engine()->arena->base() + offset, static_cast<size_t>(bytes), use});
}
#endif

/// What one thread of JavaScript has: the area where it encodes commands, and its way back from the driver.
struct Env {
  uint32_t id = 0;
  double* area = nullptr;
  size_t areaWords = 0;
  napi_ref areaRef = nullptr;
  napi_threadsafe_function wake = nullptr;
  int pending = 0;  // reads under way; the event loop is held open by them only
  std::mutex lock;  // guards `closed`, and the memory of reads while the driver copies into it
  bool closed = false;
};

/// A read under way. Made and destroyed on JavaScript's thread, but for a thread that ended meanwhile.
struct Read {
  std::shared_ptr<Env> env;
  const char* from;
  void* to;
  size_t bytes;
  napi_deferred deferred = nullptr;
  napi_ref array = nullptr;
  std::string failure;
};

#define CHECK(call)                                                    \
  do {                                                                 \
    if ((call) != napi_ok) {                                           \
      napi_throw_error(env, nullptr, "native: " #call " failed");      \
      return nullptr;                                                  \
    }                                                                  \
  } while (0)

std::shared_ptr<Env>& self(napi_env env) {
  void* data = nullptr;
  napi_get_instance_data(env, &data);
  return *static_cast<std::shared_ptr<Env>*>(data);
}

double number(napi_env env, napi_value v) {
  double x = 0;
  napi_get_value_double(env, v, &x);
  return x;
}
napi_value number(napi_env env, double x) {
  napi_value v;
  napi_create_double(env, x, &v);
  return v;
}
struct Bytes {
  char* data = nullptr;
  size_t size = 0;
};
bool bytesOf(napi_env env, napi_value v, Bytes& out) {
  static constexpr size_t width[] = {1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8};
  napi_typedarray_type type;
  size_t length;
  void* data;
  if (napi_get_typedarray_info(env, v, &type, &length, &data, nullptr, nullptr) != napi_ok) return false;
  out = {static_cast<char*>(data), length * width[type]};
  return true;
}
template <size_t N> bool arguments(napi_env env, napi_callback_info info, napi_value (&values)[N]) {
  size_t count = N;
  if (napi_get_cb_info(env, info, &count, values, nullptr, nullptr) == napi_ok && count == N) return true;
  napi_throw_type_error(env, nullptr, "native: wrong number of arguments");
  return false;
}

/// useArea(Float64Array): where this thread encodes its commands from now on.
napi_value useArea(napi_env env, napi_callback_info info) {
  napi_value arg[1];
  if (!arguments(env, info, arg)) return nullptr;
  Bytes bytes;
  if (!bytesOf(env, arg[0], bytes)) return nullptr;
  Env& e = *self(env);
  if (e.areaRef) napi_delete_reference(env, e.areaRef);
  CHECK(napi_create_reference(env, arg[0], 1, &e.areaRef));
  e.area = reinterpret_cast<double*>(bytes.data);
  e.areaWords = bytes.size / 8;
  return nullptr;
}

/// submit(words): queues the command in the area.
napi_value submit(napi_env env, napi_callback_info info) {
  napi_value arg[1];
  if (!arguments(env, info, arg)) return nullptr;
  const Env& e = *self(env);
  const auto words = static_cast<size_t>(number(env, arg[0]));
  if (words < 4 || words > e.areaWords) {
    napi_throw_range_error(env, nullptr, "native: no such command");
    return nullptr;
  }
  const int kernel = static_cast<int>(e.area[0]);
  if (kernel < 0 || kernel >= kKernels || engine()->kernels->kernel[kernel] == nullptr) {
    napi_throw_range_error(env, nullptr, "native: no such kernel");
    return nullptr;
  }
  submitKernel(e.area, words);
  return nullptr;
}

/// submitMany(words): queues the commands in the area, each after its number of words.
napi_value submitMany(napi_env env, napi_callback_info info) {
  napi_value arg[1];
  if (!arguments(env, info, arg)) return nullptr;
  const Env& e = *self(env);
  const auto words = static_cast<size_t>(number(env, arg[0]));
  if (words > e.areaWords) {
    napi_throw_range_error(env, nullptr, "native: no such commands");
    return nullptr;
  }
  for (size_t at = 0; at < words;) {
    const auto count = static_cast<size_t>(e.area[at]);
    submitKernel(e.area + at + 1, count);
    at += 1 + count;
  }
  return nullptr;
}

/// alloc(bytes): area[0] = offset (−1: no room), area[1] = what free() wants.
napi_value alloc(napi_env env, napi_callback_info info) {
  napi_value arg[1];
  if (!arguments(env, info, arg)) return nullptr;
  const Env& e = *self(env);
  const auto bytes = static_cast<int64_t>(number(env, arg[0]));
#if defined(__SANITIZE_ADDRESS__)
  const auto block = engine()->arena->take(bytes + kFence, e.id);
  if (block.offset >= 0) fence(block.offset, bytes, true), fence(block.offset + bytes, kFence, false);
#else
  const auto block = engine()->arena->take(bytes, e.id);
#endif
  e.area[0] = static_cast<double>(block.offset);
  e.area[1] = block.node;
  return nullptr;
}

/// free(node): false when it is not in use.
napi_value release(napi_env env, napi_callback_info info) {
  napi_value arg[1];
  if (!arguments(env, info, arg)) return nullptr;
  uint32_t node = 0;
  napi_get_value_uint32(env, arg[0], &node);
  napi_value result;
  napi_get_boolean(env, engine()->arena->release(node), &result);
  return result;
}

/// usage(): area[0 … 3] = live, reserved, limit, available bytes.
napi_value usage(napi_env env, napi_callback_info) {
  const auto u = engine()->arena->usage();
  double* const area = self(env)->area;
  area[0] = static_cast<double>(u.live);
  area[1] = static_cast<double>(u.reserved);
  area[2] = static_cast<double>(u.limit);
  area[3] = static_cast<double>(u.available);
  return nullptr;
}

/// clocks(): waits for the queue; area[0] = seconds without work, then calls and seconds of each kernel and variant.
napi_value clocks(napi_env env, napi_callback_info) {
  waitFor(submitCall([](void*) {}, nullptr));  // ends a wait for work that is under way
  const auto c = std::make_unique<Clocks>(readClocks());
  std::memcpy(self(env)->area, c.get(), sizeof(Clocks));
  return nullptr;
}

/// trim(): waits for the queue, then gives the unused end of the arena back to the system.
napi_value trim(napi_env, napi_callback_info) {
  waitFor(lastSubmitted());
  engine()->arena->trim();
  return nullptr;
}

/// write(offset, typedArray)
napi_value write(napi_env env, napi_callback_info info) {
  napi_value arg[2];
  if (!arguments(env, info, arg)) return nullptr;
  Bytes bytes;
  if (!bytesOf(env, arg[1], bytes)) return nullptr;
  const auto offset = static_cast<int64_t>(number(env, arg[0]));
  if (bytes.size <= kSmallWrite) {
    submitWrite(offset, bytes.data, bytes.size);
  } else {
    waitFor(lastSubmitted());
    std::memcpy(engine()->arena->base() + offset, bytes.data, bytes.size);
  }
  return nullptr;
}

/// readParts(count): that many FileParts of the area, from an open file into the arena → the first that could not be read whole, or count.
napi_value readPartsOf(napi_env env, napi_callback_info info) {
  napi_value arg[1];
  if (!arguments(env, info, arg)) return nullptr;
  const auto count = static_cast<size_t>(number(env, arg[0]));
  waitFor(lastSubmitted());
  // At least two: a thread that waits for the disk costs no core.
  return number(env, static_cast<double>(readParts(reinterpret_cast<const FilePart*>(self(env)->area), count, engine()->arena->base(), std::clamp(engine()->threads, 2, 4))));
}

/// On the driver thread.
void finishRead(void* p) {
  auto* const read = static_cast<Read*>(p);
  {
    std::lock_guard hold(read->env->lock);
    if (!read->env->closed) {
      std::memcpy(read->to, read->from, read->bytes);
      read->failure = takeFailure();
      if (napi_call_threadsafe_function(read->env->wake, read, napi_tsfn_nonblocking) == napi_ok) return;
    }
  }
  delete read;  // its thread has ended, and its promise with it
}

/// Back on JavaScript's thread.
void resolveRead(napi_env env, napi_value, void*, void* p) {
  const std::unique_ptr<Read> read(static_cast<Read*>(p));
  if (env == nullptr) return;
  napi_value array;
  napi_get_reference_value(env, read->array, &array);
  napi_delete_reference(env, read->array);
  if (--read->env->pending == 0) napi_unref_threadsafe_function(env, read->env->wake);
  if (read->failure.empty()) {
    napi_resolve_deferred(env, read->deferred, array);
    return;
  }
  napi_value message, error;
  napi_create_string_utf8(env, read->failure.c_str(), read->failure.size(), &message);
  napi_create_error(env, nullptr, message, &error);
  napi_reject_deferred(env, read->deferred, error);
}

/// read(offset, typedArray) → promise of the typed array, filled
napi_value read(napi_env env, napi_callback_info info) {
  napi_value arg[2];
  if (!arguments(env, info, arg)) return nullptr;
  Bytes bytes;
  if (!bytesOf(env, arg[1], bytes)) return nullptr;
  auto r = std::make_unique<Read>();
  r->env = self(env);
  r->from = engine()->arena->base() + static_cast<int64_t>(number(env, arg[0]));
  r->to = bytes.data;
  r->bytes = bytes.size;
  napi_value promise;
  CHECK(napi_create_reference(env, arg[1], 1, &r->array));
  CHECK(napi_create_promise(env, &r->deferred, &promise));
  if (r->env->pending++ == 0) napi_ref_threadsafe_function(env, r->env->wake);
  submitCall(finishRead, r.release());
  return promise;
}

/// readSync(offset, typedArray)
napi_value readSync(napi_env env, napi_callback_info info) {
  napi_value arg[2];
  if (!arguments(env, info, arg)) return nullptr;
  Bytes bytes;
  if (!bytesOf(env, arg[1], bytes)) return nullptr;
  waitFor(lastSubmitted());
  if (const std::string failure = takeFailure(); !failure.empty()) {
    napi_throw_error(env, nullptr, failure.c_str());
    return nullptr;
  }
  std::memcpy(bytes.data, engine()->arena->base() + static_cast<int64_t>(number(env, arg[0])), bytes.size);
  return arg[1];
}

/// sync(): returns when everything queued has run.
napi_value sync(napi_env env, napi_callback_info) {
  waitFor(lastSubmitted());
  if (const std::string failure = takeFailure(); !failure.empty()) napi_throw_error(env, nullptr, failure.c_str());
  return nullptr;
}

/// measure('flops' 0 | 'flops bf16' 1 | 'bandwidth' 2 | 'bandwidth of updates' 3, threads, megabytes) → flop/s or bytes/s, measured on the driver and the pool
napi_value measure(napi_env env, napi_callback_info info) {
  napi_value arg[3];
  if (!arguments(env, info, arg)) return nullptr;
  struct Job {
    int what, threads;
    double megabytes, rate;
  } job{static_cast<int>(number(env, arg[0])), static_cast<int>(number(env, arg[1])), number(env, arg[2]), 0};
  waitFor(submitCall(
      [](void* p) {
        auto& j = *static_cast<Job*>(p);
        const KernelTable& k = *engine()->kernels;
        j.rate = j.what == 3   ? k.updateBandwidth(j.threads, j.megabytes)
                 : j.what == 2 ? k.readBandwidth(j.threads, j.megabytes)
                               : k.peakFlops(j.threads, j.what == 1);
      },
      &job));
  return number(env, job.rate);
}

/// describe() → { isa, threads, kernels: boolean[] }
napi_value describe(napi_env env, napi_callback_info) {
  napi_value result, isa, has;
  CHECK(napi_create_object(env, &result));
  CHECK(napi_create_string_utf8(env, engine()->kernels->isa, NAPI_AUTO_LENGTH, &isa));
  CHECK(napi_set_named_property(env, result, "isa", isa));
  CHECK(napi_set_named_property(env, result, "threads", number(env, engine()->threads)));
  CHECK(napi_create_array_with_length(env, kKernels, &has));
  for (uint32_t k = 0; k < kKernels; k++) {
    napi_value flag;
    CHECK(napi_get_boolean(env, engine()->kernels->kernel[k] != nullptr, &flag));
    CHECK(napi_set_element(env, has, k, flag));
  }
  CHECK(napi_set_named_property(env, result, "kernels", has));
  return result;
}

/// The thread of JavaScript ends: reads under way must not touch its memory any more, and its buffers are freed.
void close(void* p) {
  auto& e = *static_cast<std::shared_ptr<Env>*>(p);
  {
    std::lock_guard hold(e->lock);
    e->closed = true;
  }
  engine()->arena->releaseOwner(e->id);  // queued work that still uses them runs before anything that could reuse them
}

}  // namespace

NAPI_MODULE_INIT() {
  if (engine() == nullptr) {
    napi_throw_error(env, nullptr, startFailure.c_str());
    return exports;
  }
  static std::atomic<uint32_t> envs{0};
  auto* const state = new std::shared_ptr<Env>(std::make_shared<Env>());
  Env& e = **state;
  e.id = ++envs;
  CHECK(napi_set_instance_data(env, state, [](napi_env, void* p, void*) { delete static_cast<std::shared_ptr<Env>*>(p); }, nullptr));
  napi_value name;
  CHECK(napi_create_string_utf8(env, "qkv read", NAPI_AUTO_LENGTH, &name));
  CHECK(napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, nullptr, resolveRead, &e.wake));
  CHECK(napi_unref_threadsafe_function(env, e.wake));
  CHECK(napi_add_env_cleanup_hook(env, close, state));
  const struct {
    const char* name;
    napi_callback f;
  } functions[] = {{"useArea", useArea}, {"submit", submit}, {"submitMany", submitMany},     {"alloc", alloc}, {"free", release},     {"usage", usage},      {"trim", trim},
                   {"write", write},     {"read", read},         {"sync", sync},   {"readSync", readSync}, {"readParts", readPartsOf}, {"measure", measure}, {"describe", describe}, {"clocks", clocks}};
  for (const auto& [label, f] : functions) {
    napi_value v;
    CHECK(napi_create_function(env, label, NAPI_AUTO_LENGTH, f, nullptr, &v));
    CHECK(napi_set_named_property(env, exports, label, v));
  }
  return exports;
}
