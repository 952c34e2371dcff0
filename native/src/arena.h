// All tensor memory: one reserved range of addresses on huge pages. A buffer is an offset in it, a multiple of 64 bytes.
// What is known of a block is kept outside the range, because queued kernels may still use a block that JavaScript has already freed and given out again.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "futex.h"

namespace qkv {

class Arena {
 public:
  struct Block {
    int64_t offset = -1;  // −1: it did not fit
    uint32_t node = 0;    // what release() wants
  };
  struct Usage {
    int64_t live;       // bytes of the buffers in use, as asked for
    int64_t reserved;   // bytes from the start of the range to its highest use since the last trim()
    int64_t limit;      // bytes that may be reserved
    int64_t available;  // bytes that could be asked for now
  };
  Arena();
  char* base() const { return base_; }
  Block take(int64_t bytes, uint32_t owner);
  /// False when the node is not in use (freed twice).
  bool release(uint32_t node);
  /// Frees whatever a thread of JavaScript that has ended still held.
  void releaseOwner(uint32_t owner);
  /// Gives the unused end of the range back to the system. Nothing queued may use it any more.
  void trim();
  Usage usage();

 private:
  // Two-level size classes (Masmano et al. 2004, "TLSF"): a power of two, cut in 16. Sizes in units of 64 bytes.
  static constexpr int kLevels = 40, kCuts = 16;
  static constexpr uint32_t kNone = 0xffffffffu;
  struct Node {
    int64_t start, size, bytes;      // units, units, bytes asked
    uint32_t before, after;          // neighbours in the range
    uint32_t freeBefore, freeAfter;  // neighbours in the list of its class
    uint32_t owner;
    bool used;
  };
  std::vector<Node> nodes_;
  std::vector<uint32_t> spare_;  // nodes_ entries not in use
  uint32_t list_[kLevels][kCuts];
  uint64_t levelBits_ = 0;
  uint32_t cutBits_[kLevels] = {};
  uint32_t last_ = kNone;  // the block that ends at top_
  int64_t top_ = 0, peak_ = 0, size_ = 0;
  int64_t live_ = 0, limit_ = 0, checked_ = 0;
  char* base_ = nullptr;
  SpinLock lock_;

  uint32_t newNode();
  void link(uint32_t node);
  void unlink(uint32_t node);
  uint32_t find(int64_t units);
  bool mayGrow(int64_t newTop);
  void give(uint32_t node);
};

}  // namespace qkv
