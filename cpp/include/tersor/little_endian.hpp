// Unaligned little-endian loads and stores, the same bytes on every machine.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace tersor {

inline std::uint64_t to_little_endian(std::uint64_t value) {
    if constexpr (std::endian::native == std::endian::big) {
        std::uint64_t swapped = 0;
        for (int k = 0; k < 8; ++k) swapped = swapped << 8 | (value >> 8 * k & 0xff);
        return swapped;
    }
    return value;
}

inline std::uint64_t load_u64(const std::uint8_t* from) {
    std::uint64_t value;
    std::memcpy(&value, from, sizeof value);
    return to_little_endian(value);
}

inline void store_u64(std::uint8_t* to, std::uint64_t value) {
    value = to_little_endian(value);
    std::memcpy(to, &value, sizeof value);
}

}  // namespace tersor
