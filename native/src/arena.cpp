#include "arena.h"

#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <mutex>

#include "machine.h"

namespace qkv {
namespace {

constexpr int64_t kUnit = 64, kHuge = int64_t{2} << 20;
constexpr int64_t kCheckStep = int64_t{256} << 20;  // free memory is looked up again whenever the range grows by so much

struct Class {
  int level, cut;
};
Class classOf(int64_t units) {
  const int level = std::bit_width(static_cast<uint64_t>(units)) - 1;
  if (level < 4) return {0, static_cast<int>(units)};
  return {level - 3, static_cast<int>(units >> (level - 4)) & 15};
}

}  // namespace

Arena::Arena() {
  for (auto& level : list_)
    for (auto& head : level) head = kNone;
  nodes_.reserve(4096);
  limit_ = availableMemory();
  // Addresses cost nothing, and a fragmented range needs more of them than it has bytes in use; where addresses are limited, take what there is.
  size_ = (std::min(totalMemory(), int64_t{1} << 42) * 2 + kHuge) / kHuge * kHuge;
  rlimit addresses;
  if (getrlimit(RLIMIT_AS, &addresses) == 0 && addresses.rlim_cur != RLIM_INFINITY) size_ = std::min<int64_t>(size_, static_cast<int64_t>(addresses.rlim_cur) / kHuge * kHuge);
  int flags = MAP_PRIVATE | MAP_ANONYMOUS;
#if defined(MAP_NORESERVE)
  flags |= MAP_NORESERVE;
#endif
  void* range = MAP_FAILED;
  for (; size_ >= 8 * kHuge; size_ = size_ / 4 * 3 / kHuge * kHuge) {
    range = mmap(nullptr, static_cast<size_t>(size_ + kHuge), PROT_READ | PROT_WRITE, flags, -1, 0);
    if (range != MAP_FAILED) break;
  }
  if (range == MAP_FAILED) {
    std::fprintf(stderr, "qkv: no address range for tensors could be reserved (see ulimit -v)\n");
    std::abort();
  }
  base_ = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(range) + kHuge - 1) / kHuge * kHuge);
#if defined(MADV_HUGEPAGE)
  madvise(base_, static_cast<size_t>(size_), MADV_HUGEPAGE);
#endif
  limit_ = std::min(limit_, size_);
}

uint32_t Arena::newNode() {
  if (!spare_.empty()) {
    const uint32_t node = spare_.back();
    spare_.pop_back();
    return node;
  }
  nodes_.push_back({});
  return static_cast<uint32_t>(nodes_.size() - 1);
}

void Arena::link(uint32_t node) {
  const auto [level, cut] = classOf(nodes_[node].size);
  uint32_t& head = list_[level][cut];
  nodes_[node].freeBefore = kNone;
  nodes_[node].freeAfter = head;
  if (head != kNone) nodes_[head].freeBefore = node;
  head = node;
  levelBits_ |= uint64_t{1} << level;
  cutBits_[level] |= 1u << cut;
}

void Arena::unlink(uint32_t node) {
  const Node& x = nodes_[node];
  if (x.freeAfter != kNone) nodes_[x.freeAfter].freeBefore = x.freeBefore;
  if (x.freeBefore != kNone) {
    nodes_[x.freeBefore].freeAfter = x.freeAfter;
    return;
  }
  const auto [level, cut] = classOf(x.size);
  list_[level][cut] = x.freeAfter;
  if (x.freeAfter == kNone && (cutBits_[level] &= ~(1u << cut)) == 0) levelBits_ &= ~(uint64_t{1} << level);
}

/// The best of a few blocks of the same class, else the first of the next larger class.
uint32_t Arena::find(int64_t units) {
  const auto [level, cut] = classOf(units);
  uint32_t best = kNone;
  int tries = 16;
  for (uint32_t node = list_[level][cut]; node != kNone && tries-- > 0; node = nodes_[node].freeAfter)
    if (nodes_[node].size >= units && (best == kNone || nodes_[node].size < nodes_[best].size)) best = node;
  if (best != kNone) return best;
  if (const uint32_t cuts = cut < 15 ? cutBits_[level] & (~0u << (cut + 1)) : 0) return list_[level][std::countr_zero(cuts)];
  if (const uint64_t levels = levelBits_ & (~uint64_t{0} << (level + 1))) {
    const int up = std::countr_zero(levels);
    return list_[up][std::countr_zero(cutBits_[up])];
  }
  return kNone;
}

bool Arena::mayGrow(int64_t newTop) {
  if (newTop > limit_) return false;
  if (newTop <= peak_ || newTop <= checked_) return true;
  if (newTop - peak_ > availableMemory()) return false;
  checked_ = newTop + kCheckStep;
  return true;
}

Arena::Block Arena::take(int64_t bytes, uint32_t owner) {
  if (bytes < 0 || bytes > size_) return {};
  std::lock_guard hold(lock_);
  const int64_t units = std::max<int64_t>(1, (bytes + kUnit - 1) / kUnit);
  uint32_t node = find(units);
  if (node != kNone) {
    unlink(node);
    if (const int64_t rest = nodes_[node].size - units; rest > 0) {
      const uint32_t tail = newNode();
      Node& x = nodes_[node];
      nodes_[tail] = {x.start + units, rest, 0, node, x.after, kNone, kNone, 0, false};
      if (x.after != kNone) nodes_[x.after].before = tail;
      x.after = tail;
      x.size = units;
      link(tail);  // never the last block: free memory at the end of the range belongs to top_
    }
  } else {
    if (!mayGrow((top_ + units) * kUnit)) return {};
    node = newNode();
    nodes_[node] = {top_, units, 0, last_, kNone, kNone, kNone, 0, false};
    if (last_ != kNone) nodes_[last_].after = node;
    last_ = node;
    top_ += units;
    peak_ = std::max(peak_, top_ * kUnit);
  }
  Node& x = nodes_[node];
  x.used = true;
  x.bytes = bytes;
  x.owner = owner;
  live_ += bytes;
  return {x.start * kUnit, node};
}

void Arena::give(uint32_t node) {
  Node& x = nodes_[node];
  live_ -= x.bytes;
  x.used = false;
  if (const uint32_t after = x.after; after != kNone && !nodes_[after].used) {
    unlink(after);
    x.size += nodes_[after].size;
    x.after = nodes_[after].after;
    if (x.after != kNone) nodes_[x.after].before = node;
    spare_.push_back(after);
  }
  if (const uint32_t before = x.before; before != kNone && !nodes_[before].used) {
    unlink(before);
    Node& p = nodes_[before];
    p.size += x.size;
    p.after = x.after;
    if (p.after != kNone) nodes_[p.after].before = before;
    spare_.push_back(node);
    if (last_ == node) last_ = before;
    node = before;
  }
  if (node == last_) {  // the end of the range shrinks
    top_ = nodes_[node].start;
    last_ = nodes_[node].before;
    if (last_ != kNone) nodes_[last_].after = kNone;
    spare_.push_back(node);
  } else {
    link(node);
  }
}

bool Arena::release(uint32_t node) {
  std::lock_guard hold(lock_);
  if (node >= nodes_.size() || !nodes_[node].used) return false;
  give(node);
  return true;
}

void Arena::releaseOwner(uint32_t owner) {
  std::lock_guard hold(lock_);
  for (uint32_t node = 0; node < nodes_.size(); node++)
    if (nodes_[node].used && nodes_[node].owner == owner) give(node);
}

void Arena::trim() {
  std::lock_guard hold(lock_);
  const int64_t from = (top_ * kUnit + kHuge - 1) / kHuge * kHuge;
  if (peak_ > from) madvise(base_ + from, static_cast<size_t>(peak_ - from), MADV_DONTNEED);
  peak_ = std::min(peak_, from);
  checked_ = 0;
}

Arena::Usage Arena::usage() {
  std::lock_guard hold(lock_);
  const int64_t untouched = std::min(availableMemory(), limit_ - peak_);
  return {live_, peak_, limit_, std::max<int64_t>(0, peak_ - top_ * kUnit + untouched)};
}

}  // namespace qkv
