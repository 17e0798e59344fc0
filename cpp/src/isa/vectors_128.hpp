// Vectors of 16 bytes in the compilers' own notation, which SSE4.1 and NEON share; only a byte lookup and a mask differ.
#pragma once
#include <cstddef>
#include <cstdint>

#if defined(__aarch64__)
#include <arm_neon.h>
#else
#include <immintrin.h>
#endif

namespace tersor {
namespace {

typedef std::uint8_t U8 __attribute__((vector_size(16)));
typedef std::int8_t I8 __attribute__((vector_size(16)));
typedef std::uint16_t U16 __attribute__((vector_size(16)));
typedef std::uint32_t U32 __attribute__((vector_size(16)));
typedef std::uint64_t U64 __attribute__((vector_size(16)));

inline U32 select(U32 mask, U32 yes, U32 no) { return (mask & yes) | (~mask & no); }

inline U8 load(const void* p) {
    U8 v;
    __builtin_memcpy(&v, p, 16);
    return v;
}
template <class V>
inline void store(void* p, V v) {
    __builtin_memcpy(p, &v, 16);
}

#if defined(__aarch64__)
// Eight bytes, zeros above.
inline U8 load_low(const void* p) { return (U8)vcombine_u8(vld1_u8(static_cast<const std::uint8_t*>(p)), vdup_n_u8(0)); }
// table[index[i]]; 0 where the index is 128 or more.
inline U8 look_up(U8 table, U8 index) { return (U8)vqtbl1q_u8((uint8x16_t)table, (uint8x16_t)index); }
// Bit i: whether lane i of a comparison holds.
inline unsigned bits_of(U16 mask) { return vaddvq_u16(vandq_u16((uint16x8_t)mask, uint16x8_t{1, 2, 4, 8, 16, 32, 64, 128})); }
inline unsigned bits_of(U32 mask) { return vaddvq_u32(vandq_u32((uint32x4_t)mask, uint32x4_t{1, 2, 4, 8})); }
inline unsigned bits_of(U8 mask) {
    const uint8x16_t weights = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t bits = vandq_u8((uint8x16_t)mask, weights);
    return vaddv_u8(vget_low_u8(bits)) | static_cast<unsigned>(vaddv_u8(vget_high_u8(bits))) << 8;
}
// 64 entries, index below 64.
struct Index64 {
    uint8x16_t index;
    explicit Index64(U8 i) : index((uint8x16_t)i) {}
    U8 of(const std::uint8_t* table) const { return (U8)vqtbl4q_u8(uint8x16x4_t{{vld1q_u8(table), vld1q_u8(table + 16), vld1q_u8(table + 32), vld1q_u8(table + 48)}}, index); }
};
#else
inline U8 load_low(const void* p) { return (U8)_mm_loadl_epi64(static_cast<const __m128i*>(p)); }
inline U8 look_up(U8 table, U8 index) { return (U8)_mm_shuffle_epi8((__m128i)table, (__m128i)index); }
inline unsigned bits_of(U8 mask) { return static_cast<unsigned>(_mm_movemask_epi8((__m128i)mask)); }
inline unsigned bits_of(U16 mask) { return static_cast<unsigned>(_mm_movemask_epi8(_mm_packs_epi16((__m128i)mask, _mm_setzero_si128()))); }
inline unsigned bits_of(U32 mask) { return static_cast<unsigned>(_mm_movemask_ps(_mm_castsi128_ps((__m128i)mask))); }
// Four lookups: each index picks in one quarter and has bit 7 set, which gives 0, in the others.
struct Index64 {
    U8 quarter[4];
    explicit Index64(U8 index) {
        for (int q = 0; q < 4; ++q) quarter[q] = (index ^ static_cast<std::uint8_t>(16 * q)) + std::uint8_t{0x70};
    }
    U8 of(const std::uint8_t* table) const {
        return look_up(load(table), quarter[0]) | look_up(load(table + 16), quarter[1]) | look_up(load(table + 32), quarter[2]) | look_up(load(table + 48), quarter[3]);
    }
};
#endif

// Low and high half of two vectors, element by element in turn.
inline U16 zip_low(U8 a, U8 b) { return (U16)__builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23); }
inline U16 zip_high(U8 a, U8 b) { return (U16)__builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31); }
inline U32 widen_low(U16 a) { return (U32)__builtin_shufflevector(a, U16{}, 0, 8, 1, 9, 2, 10, 3, 11); }
inline U32 widen_high(U16 a) { return (U32)__builtin_shufflevector(a, U16{}, 4, 8, 5, 9, 6, 10, 7, 11); }
inline U16 widen_low(U8 a) { return zip_low(a, U8{}); }
inline U16 widen_high(U8 a) { return zip_high(a, U8{}); }
// The low bytes (words) of all lanes.
inline U8 narrow(U16 a, U16 b) { return __builtin_shufflevector((U8)a, (U8)b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30); }
inline U16 narrow(U32 a, U32 b) { return __builtin_shufflevector((U16)a, (U16)b, 0, 2, 4, 6, 8, 10, 12, 14); }

// Byte shuffles that hand the next words, in order, to the lanes of a mask and 0 to the others.
struct Expansions {
    alignas(16) std::uint8_t bytes[256][8];  // words of one byte for eight lanes
    alignas(16) std::uint8_t words[16][16];  // words of two bytes for four lanes of four
};
constexpr Expansions make_expansions() {
    Expansions e{};
    for (int mask = 0; mask < 256; ++mask)
        for (int lane = 0, k = 0; lane < 8; ++lane) e.bytes[mask][lane] = static_cast<std::uint8_t>(mask >> lane & 1 ? k++ : 0x80);
    for (int mask = 0; mask < 16; ++mask)
        for (int lane = 0, k = 0; lane < 4; ++lane) {
            const bool hungry = mask >> lane & 1;
            for (int b = 0; b < 4; ++b) e.words[mask][4 * lane + b] = static_cast<std::uint8_t>(hungry && b < 2 ? 2 * k + b : 0x80);
            k += hungry;
        }
    return e;
}
constexpr Expansions kExpansions = make_expansions();

}  // namespace
}  // namespace tersor
