// Cheap signs that a block of floats is not what float rows are good at. They decide what else is tried, never what is true.
#pragma once
#include <cstdint>
#include <span>

#include "tersor/bytes.hpp"
#include "tersor/plane_bits.hpp"

namespace tersor {

// Whether all elements, of `size` bytes, have the same bytes.
bool all_equal(ByteSpan data, std::size_t size);

// Whether runs of eight bytes occur twice, as in repeated rows: looked for at about 1,500 places all over rows of `row_bytes` bytes.
bool has_repeats(ByteSpan data, std::size_t row_bytes);

}  // namespace tersor
