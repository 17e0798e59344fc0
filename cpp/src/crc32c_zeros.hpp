// CRC-32C registers moved over zeros: what parts of some data that were taken beside each other are joined with.
// Everything here is static, see float_rows_kernels.hpp on files of an instruction set.
#pragma once
#include <cstdint>

namespace tersor {

// by[k][b]: the register after a number of zero bytes when it held b << 8 k before.
struct CrcZeros {
    std::uint32_t by[4][256];
};

static constexpr std::uint32_t append_zero_byte(std::uint32_t crc) {
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? 0x82F63B78u : 0u);
    return crc;
}

// 2^doublings zero bytes. Appending is linear in the bits of the register, so it is a matrix; squared, it appends twice as many.
static constexpr CrcZeros make_crc_zeros(int doublings) {
    std::uint32_t power[32]{};
    for (int bit = 0; bit < 32; ++bit) power[bit] = append_zero_byte(1u << bit);
    for (; doublings > 0; --doublings) {
        std::uint32_t squared[32]{};
        for (int bit = 0; bit < 32; ++bit)
            for (int i = 0; i < 32; ++i)
                if (power[bit] >> i & 1) squared[bit] ^= power[i];
        for (int bit = 0; bit < 32; ++bit) power[bit] = squared[bit];
    }
    CrcZeros zeros{};
    for (int k = 0; k < 4; ++k)
        for (int b = 0; b < 256; ++b)
            for (int bit = 0; bit < 8; ++bit)
                if (b >> bit & 1) zeros.by[k][b] ^= power[8 * k + bit];
    return zeros;
}

static inline std::uint32_t append_zeros(const CrcZeros& zeros, std::uint32_t crc) {
    return zeros.by[0][crc & 255] ^ zeros.by[1][crc >> 8 & 255] ^ zeros.by[2][crc >> 16 & 255] ^ zeros.by[3][crc >> 24];
}

// x^n modulo the polynomial, bits reversed.
static constexpr std::uint64_t crc_power(int n) {
    std::uint32_t power = 1u << 31;
    for (; n > 0; --n) power = (power >> 1) ^ (power & 1 ? 0x82F63B78u : 0u);
    return power;
}

// What the two halves of 128 bits are multiplied by, without carries, to move them `bits` on. The product of reversed operands is one bit short.
struct CrcFold {
    std::uint64_t low, high;
};
static constexpr CrcFold crc_fold_by(int bits) { return {crc_power(bits + 32) << 1, crc_power(bits - 32) << 1}; }

}  // namespace tersor
