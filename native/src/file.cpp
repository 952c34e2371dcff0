#include "file.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

namespace qkv {
namespace {

constexpr int64_t kPieceBytes = int64_t{1} << 20;
constexpr int64_t kTile = 16;  // rows that are turned together: one cache line of each column

bool readAll(int fd, char* to, int64_t bytes, int64_t position) {
  while (bytes > 0) {
    const ssize_t got = pread(fd, to, static_cast<size_t>(bytes), position);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    to += got, position += got, bytes -= got;
  }
  return true;
}

void widenBf16(const uint16_t* from, float* to, int64_t n) {
  for (int64_t i = 0; i < n; i++) to[i] = std::bit_cast<float>(uint32_t{from[i]} << 16);
}

/// Exact, subnormal numbers too; the NaN and ∞ of f16 stay what they are.
void widenF16(const uint16_t* from, float* to, int64_t n) {
  constexpr float kSmallest = 0x1p-14f;
  for (int64_t i = 0; i < n; i++) {
    const uint32_t h = from[i], exponent = h & 0x7c00, shifted = (h & 0x7fff) << 13;
    const uint32_t normal = shifted + (112u << 23) + (exponent == 0x7c00 ? 112u << 23 : 0);
    const float subnormal = std::bit_cast<float>(shifted + (113u << 23)) - kSmallest;
    to[i] = std::bit_cast<float>((exponent == 0 ? std::bit_cast<uint32_t>(subnormal) : normal) | (h & 0x8000) << 16);
  }
}

typedef float Four __attribute__((vector_size(16)));

/// The 4 × 4 numbers at `from`, turned.
inline void turnFour(const float* from, int64_t rowStride, Four out[4]) {
  Four in[4];
  for (int r = 0; r < 4; r++) std::memcpy(&in[r], from + r * rowStride, sizeof(Four));
  const Four a = __builtin_shufflevector(in[0], in[1], 0, 4, 1, 5), b = __builtin_shufflevector(in[2], in[3], 0, 4, 1, 5);
  const Four c = __builtin_shufflevector(in[0], in[1], 2, 6, 3, 7), d = __builtin_shufflevector(in[2], in[3], 2, 6, 3, 7);
  out[0] = __builtin_shufflevector(a, b, 0, 1, 4, 5), out[1] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
  out[2] = __builtin_shufflevector(c, d, 0, 1, 4, 5), out[3] = __builtin_shufflevector(c, d, 2, 3, 6, 7);
}

/// Columns become rows: number (r, c) of `from` to[c·stride + r].
void turn(const float* from, int64_t rows, int64_t columns, float* to, int64_t stride) {
  int64_t r = 0;
  for (; r + kTile <= rows; r += kTile) {
    int64_t c = 0;
    for (; c + 4 <= columns; c += 4) {
      Four line[4][4];  // [column][quarter of the tile]
      for (int q = 0; q < 4; q++) {
        Four out[4];
        turnFour(from + (r + 4 * q) * columns + c, columns, out);
        for (int k = 0; k < 4; k++) line[k][q] = out[k];
      }
      for (int k = 0; k < 4; k++) std::memcpy(to + (c + k) * stride + r, line[k], sizeof line[k]);
    }
    for (; c < columns; c++)
      for (int64_t k = 0; k < kTile; k++) to[c * stride + r + k] = from[(r + k) * columns + c];
  }
  for (; r < rows; r++)
    for (int64_t c = 0; c < columns; c++) to[c * stride + r] = from[r * columns + c];
}

void scatter(const float* from, int64_t rows, int64_t columns, float* to, int64_t rowStride, int64_t columnStride) {
  if (rowStride == 1) return turn(from, rows, columns, to, columnStride);
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < columns; c++) to[r * rowStride + c * columnStride] = from[r * columns + c];
}

bool isFlat(const FilePart& p) { return p.columnStride == 1 && p.rowStride == p.columns; }
int64_t widthOf(const FilePart& p) { return p.type == 0 ? 4 : 2; }

struct Piece {
  size_t part;
  int64_t from, rows;  // of a part that lies flat: numbers instead of rows
};

/// The memory of one thread: what was read, and the same widened.
struct Scratch {
  std::unique_ptr<char[]> raw, wide;
  int64_t rawBytes = 0, wideBytes = 0;
  static char* room(std::unique_ptr<char[]>& memory, int64_t& has, int64_t bytes) {
    if (has < bytes) memory.reset(new char[static_cast<size_t>(has = bytes)]);
    return memory.get();
  }
};

bool readPiece(const FilePart& p, const Piece& piece, char* base, Scratch& scratch) {
  const bool flat = isFlat(p);
  const int64_t columns = flat ? 1 : static_cast<int64_t>(p.columns), n = piece.rows * columns, width = widthOf(p);
  const int fd = static_cast<int>(p.fd);
  const int64_t position = static_cast<int64_t>(p.position) + piece.from * columns * width;
  float* const to = reinterpret_cast<float*>(base + static_cast<int64_t>(p.offset)) + piece.from * (flat ? 1 : static_cast<int64_t>(p.rowStride));
  if (flat && width == 4) return readAll(fd, reinterpret_cast<char*>(to), n * 4, position);
  char* const raw = Scratch::room(scratch.raw, scratch.rawBytes, n * width);
  if (!readAll(fd, raw, n * width, position)) return false;
  const float* wide = reinterpret_cast<const float*>(raw);
  if (width == 2) {
    float* const widened = flat ? to : reinterpret_cast<float*>(Scratch::room(scratch.wide, scratch.wideBytes, n * 4));
    (p.type == 1 ? widenBf16 : widenF16)(reinterpret_cast<const uint16_t*>(raw), widened, n);
    wide = widened;
  }
  if (!flat) scatter(wide, piece.rows, columns, to, static_cast<int64_t>(p.rowStride), static_cast<int64_t>(p.columnStride));
  return true;
}

}  // namespace

size_t readParts(const FilePart* parts, size_t count, char* base, int threads) {
  std::vector<Piece> pieces;
  for (size_t i = 0; i < count; i++) {
    const FilePart& p = parts[i];
    const bool flat = isFlat(p);
    const int64_t rows = static_cast<int64_t>(flat ? p.rows * p.columns : p.rows), columns = flat ? 1 : static_cast<int64_t>(p.columns);
    if (columns == 0) continue;
    int64_t atOnce = std::max<int64_t>(1, kPieceBytes / (columns * widthOf(p)));
    if (!flat && atOnce > kTile) atOnce = atOnce / kTile * kTile;
    for (int64_t from = 0; from < rows; from += atOnce) pieces.push_back({i, from, std::min(atOnce, rows - from)});
  }
  std::atomic<size_t> next{0}, failed{count};
  const auto work = [&] {
    Scratch scratch;
    for (size_t k; (k = next.fetch_add(1, std::memory_order_relaxed)) < pieces.size();) {
      if (readPiece(parts[pieces[k].part], pieces[k], base, scratch)) continue;
      size_t seen = failed.load();
      while (pieces[k].part < seen && !failed.compare_exchange_weak(seen, pieces[k].part)) {}
      return;
    }
  };
  std::vector<std::thread> others;
  for (int t = 1; t < threads && static_cast<size_t>(t) < pieces.size(); t++) others.emplace_back(work);
  work();
  for (auto& other : others) other.join();
  return failed;
}

}  // namespace qkv
