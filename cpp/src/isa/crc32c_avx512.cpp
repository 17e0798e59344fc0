// CRC-32C by carry-less multiplication, 256 bytes at a time: four registers of four 128-bit lanes, each folded onto the bytes that
// stand 256 further on. Gopal et al., "Fast CRC computation for generic polynomials using PCLMULQDQ", Intel 2009. Measured on Zen 5,
// data in the L2 cache: 72 GB/s, against 32 GB/s of three chains of the crc32 instruction.
#if defined(__x86_64__)
#include <immintrin.h>

#include "../crc32c_kernels.hpp"
#include "../crc32c_zeros.hpp"

namespace tersor {
namespace {

constexpr CrcFold kFold2048 = crc_fold_by(2048), kFold512 = crc_fold_by(512), kFold384 = crc_fold_by(384), kFold256 = crc_fold_by(256), kFold128 = crc_fold_by(128);

inline __m512i fold_onto(__m512i data, __m512i factors, __m512i next) {
    constexpr int exclusive_or = 0x96;
    return _mm512_ternarylogic_epi64(_mm512_clmulepi64_epi128(data, factors, 0x00), _mm512_clmulepi64_epi128(data, factors, 0x11), next, exclusive_or);
}

inline __m512i everywhere(CrcFold f) { return _mm512_broadcast_i32x4(_mm_set_epi64x(static_cast<long long>(f.high), static_cast<long long>(f.low))); }

}  // namespace

std::uint32_t crc32c_lines_avx512(std::uint32_t crc, const std::uint8_t* data, std::size_t n_lines) {
    if (n_lines == 0) return crc;
    const auto load = [&](int i) { return _mm512_loadu_si512(data + 64 * i); };
    __m512i a[4] = {_mm512_xor_si512(load(0), _mm512_zextsi128_si512(_mm_cvtsi32_si128(static_cast<int>(crc)))), load(1), load(2), load(3)};
    const __m512i far = everywhere(kFold2048), near = everywhere(kFold512);
    for (; --n_lines > 0;) {
        data += kCrcLine;
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) a[i] = fold_onto(a[i], far, load(i));
    }
    const __m512i last = fold_onto(fold_onto(fold_onto(a[0], near, a[1]), near, a[2]), near, a[3]);
    // Three lanes onto the fourth, each over its own distance.
    const __m512i distances = _mm512_setr_epi64(static_cast<long long>(kFold384.low), static_cast<long long>(kFold384.high), static_cast<long long>(kFold256.low),
                                                static_cast<long long>(kFold256.high), static_cast<long long>(kFold128.low), static_cast<long long>(kFold128.high), 0, 0);
    const __m512i moved = _mm512_xor_si512(_mm512_clmulepi64_epi128(last, distances, 0x00), _mm512_clmulepi64_epi128(last, distances, 0x11));
    const __m128i sum = _mm_xor_si128(_mm_xor_si128(_mm512_extracti32x4_epi32(moved, 0), _mm512_extracti32x4_epi32(moved, 1)),
                                      _mm_xor_si128(_mm512_extracti32x4_epi32(moved, 2), _mm512_extracti32x4_epi32(last, 3)));
    // What is left has the remainder of all that went before, and the crc32 instruction takes it as 16 bytes of data.
    const std::uint64_t half = _mm_crc32_u64(0, static_cast<std::uint64_t>(_mm_cvtsi128_si64(sum)));
    return static_cast<std::uint32_t>(_mm_crc32_u64(half, static_cast<std::uint64_t>(_mm_extract_epi64(sum, 1))));
}

}  // namespace tersor
#endif
