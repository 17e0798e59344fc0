// CRC-32C (Castagnoli, reflected; RFC 3720), eight bytes at a time.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace tersor {

// CRC-32C of `data`, continued from `previous` (0 to begin): crc32c(a+b) == crc32c(b, crc32c(a)).
std::uint32_t crc32c(std::span<const std::uint8_t> data, std::uint32_t previous = 0);

}  // namespace tersor
