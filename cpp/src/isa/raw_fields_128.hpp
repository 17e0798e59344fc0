// Raw fields of floats, for SSE4.1 and NEON.
#pragma once
#include "vectors_128.hpp"

namespace tersor {
namespace {

// Eight raw fields of `bits` bits out of `bits` bytes: a window of four bytes for each, shifted by a multiplication.
template <int bits>
struct RawFields {
    static constexpr int bytes = 4 * bits;
    U8 place[2];
    U32 factor[2];

    RawFields() {
        for (int half = 0; half < 2; ++half)
            for (int l = 0; l < 4; ++l) {
                const int at = bits * (4 * half + l);
                for (int b = 0; b < 4; ++b) place[half][4 * l + b] = static_cast<std::uint8_t>(at / 8 + b);
                factor[half][l] = 1u << (8 - at % 8);
            }
    }
    U16 get(const std::uint8_t* raw) const {
        if constexpr (bits == 8) return widen_low(load_low(raw));
        const U8 data = load(raw);
        const std::uint32_t mask = (1u << bits) - 1;
        const U32 low = ((U32)look_up(data, place[0]) * factor[0] >> 8) & mask, high = ((U32)look_up(data, place[1]) * factor[1] >> 8) & mask;
        return narrow(low, high);
    }
};

}  // namespace
}  // namespace tersor
