// Rows of 16-bit words whose lowest bits are all zero, as a bit stream without those bits (docs/format.md 4.1, form 3).
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "tersor/bytes.hpp"
#include "tersor/status.hpp"

namespace tersor {

// Fills zeros[row] with how many of the lowest bits (0 to 16) are zero in the lower halves of all elements of an F32 row.
// words: two for each of `columns` elements, the lower half first; rows begin `row_stride` words apart.
void trailing_zeros(const std::uint16_t* words, std::size_t columns, std::size_t row_stride, std::span<std::uint8_t> zeros);

// trailing_zeros: one number of 0 to 16 for each row; rows of 0 are left out. words.size() = rows * columns.
Bytes pack_narrow_rows(std::span<const std::uint16_t> words, std::size_t columns, std::span<const std::uint8_t> trailing_zeros);

// Fills the rows that are not left out.
Status unpack_narrow_rows(ByteSpan payload, std::size_t columns, std::span<const std::uint8_t> trailing_zeros, std::span<std::uint16_t> words);

}  // namespace tersor
