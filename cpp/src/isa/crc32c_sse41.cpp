// CRC-32C with the crc32 instruction of SSE4.2: it takes three cycles but one can begin in every cycle, so three parts of a block run
// beside each other. Their registers are joined by tables that append the zeros of a part.
#if defined(__x86_64__)
#include <nmmintrin.h>

#include "../crc32c_kernels.hpp"

namespace tersor {
namespace {

constexpr std::size_t kPart = kCrcBlock / 3;

// kZeros.by[k][b]: the register after `kPart` zero bytes when it held b << 8 k before.
struct Zeros {
    std::uint32_t by[4][256];
};
constexpr std::uint32_t append_zero_byte(std::uint32_t crc) {
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? 0x82F63B78u : 0u);
    return crc;
}
// Appending is linear in the bits of the register, so it is a matrix; squared ten times it appends 1024 bytes.
constexpr Zeros make_zeros() {
    static_assert(kPart == 1024);
    std::uint32_t power[32]{};
    for (int bit = 0; bit < 32; ++bit) power[bit] = append_zero_byte(1u << bit);
    for (int doubling = 0; doubling < 10; ++doubling) {
        std::uint32_t squared[32]{};
        for (int bit = 0; bit < 32; ++bit)
            for (int i = 0; i < 32; ++i)
                if (power[bit] >> i & 1) squared[bit] ^= power[i];
        for (int bit = 0; bit < 32; ++bit) power[bit] = squared[bit];
    }
    Zeros zeros{};
    for (int k = 0; k < 4; ++k)
        for (int b = 0; b < 256; ++b)
            for (int bit = 0; bit < 8; ++bit)
                if (b >> bit & 1) zeros.by[k][b] ^= power[8 * k + bit];
    return zeros;
}
constexpr Zeros kZeros = make_zeros();

inline std::uint32_t append_part(std::uint32_t crc) {
    return kZeros.by[0][crc & 255] ^ kZeros.by[1][crc >> 8 & 255] ^ kZeros.by[2][crc >> 16 & 255] ^ kZeros.by[3][crc >> 24];
}

inline std::uint64_t load64(const std::uint8_t* p) {
    std::uint64_t v;
    __builtin_memcpy(&v, p, 8);
    return v;
}

}  // namespace

std::uint32_t crc32c_blocks_sse41(std::uint32_t crc, const std::uint8_t* data, std::size_t n_blocks) {
    for (; n_blocks > 0; --n_blocks, data += kCrcBlock) {
        std::uint64_t a = crc, b = 0, c = 0;
        for (std::size_t i = 0; i < kPart; i += 8) {
            a = _mm_crc32_u64(a, load64(data + i));
            b = _mm_crc32_u64(b, load64(data + kPart + i));
            c = _mm_crc32_u64(c, load64(data + 2 * kPart + i));
        }
        crc = append_part(append_part(static_cast<std::uint32_t>(a)) ^ static_cast<std::uint32_t>(b)) ^ static_cast<std::uint32_t>(c);
    }
    return crc;
}

}  // namespace tersor
#endif
