// CRC-32C with the crc32 instruction of SSE4.2: it takes three cycles but one can begin in every cycle, so three parts of a block run
// beside each other. Their registers are joined by tables that append the zeros of a part.
#if defined(__x86_64__)
#include <nmmintrin.h>

#include "../crc32c_kernels.hpp"
#include "../crc32c_zeros.hpp"

namespace tersor {
namespace {

constexpr std::size_t kPart = kCrcBlock / 3;

constexpr CrcZeros kZeros = make_crc_zeros(10);
static_assert(kPart == 1 << 10);

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
        const std::uint32_t two = append_zeros(kZeros, static_cast<std::uint32_t>(a)) ^ static_cast<std::uint32_t>(b);
        crc = append_zeros(kZeros, two) ^ static_cast<std::uint32_t>(c);
    }
    return crc;
}

}  // namespace tersor
#endif
