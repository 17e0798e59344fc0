// Canonical, length-limited Huffman code over bytes. Payload: docs/format.md, codec "huffman".
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tersor/status.hpp"

namespace tersor {

// Replace `payload` by the coded form of `data`. At most 160 bytes longer than `data`.
Status huffman_encode(std::span<const std::uint8_t> data, std::vector<std::uint8_t>& payload);

// Fill `out`, whose size is the original length, from `payload`. Reads inside `payload` and writes
// inside `out` whatever `payload` holds; what `out` holds after an error is unspecified.
Status huffman_decode(std::span<const std::uint8_t> payload, std::span<std::uint8_t> out);

}  // namespace tersor
