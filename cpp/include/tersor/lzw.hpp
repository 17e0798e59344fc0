// LZW with code widths 9 to 16 over bytes. Payload: docs/format.md, codec "lzw".
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tersor/status.hpp"

namespace tersor {

// Replace `payload` by the coded form of `data`. At most twice as long as `data`.
Status lzw_encode(std::span<const std::uint8_t> data, std::vector<std::uint8_t>& payload);

// Fill `out`, whose size is the original length, from `payload`. Reads inside `payload` and writes
// inside `out` whatever `payload` holds; what `out` holds after an error is unspecified.
Status lzw_decode(std::span<const std::uint8_t> payload, std::span<std::uint8_t> out);

}  // namespace tersor
