// Elements of which some are zero and left out, and back: what layout sparse/1 does behind its mask.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tersor/bytes.hpp"
#include "tersor/status.hpp"

namespace tersor {

// Fills `out` (mask.size() elements of `size` bytes: 1, 2, 4 or 8) with the next of `values` where the mask is not 0, else with zero bytes.
// bad_argument: another size, an `out` of the wrong length, or not as many values as places that are not 0.
Status expand_kept(ByteSpan mask, ByteSpan values, std::size_t size, std::span<std::uint8_t> out);

}  // namespace tersor
