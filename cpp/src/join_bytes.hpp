// Elements put together from parts that were stored apart.
#pragma once
#include <cstddef>
#include <cstdint>

namespace tersor {

// Elements of 32 bits, little-endian, from two planes of low bytes and the upper 16 bits. The upper halves lie in the second half of `out`, 4 n bytes, itself: element i is
// written below the halves that are still to be read. `out` is even; low and middle lie elsewhere.
void join_planes(const std::uint8_t* low, const std::uint8_t* middle, std::uint8_t* out, std::size_t n);

// The same from the lower 16 bits.
void join_halves(const std::uint16_t* low, std::uint8_t* out, std::size_t n);

}  // namespace tersor
