// Numbers from a file into the arena, without passing through JavaScript.
#pragma once
#include <cstddef>
#include <cstdint>

namespace qkv {

/// `rows` × `columns` numbers, row by row from byte `position` of the file on, become f32 at base + offset, `rowStride` and `columnStride` floats apart.
/// All doubles, as JavaScript writes them.
struct FilePart {
  double fd, position, rows, columns;
  double type;  // 0 f32, 1 bf16, 2 f16; little-endian
  double offset, rowStride, columnStride;
};

/// Reads all parts, a few pieces at a time, on threads of its own: one waits for the disk while another turns or widens what it has.
/// Returns the first part that could not be read whole, or `count`.
size_t readParts(const FilePart* parts, size_t count, char* base, int threads);

}  // namespace qkv
