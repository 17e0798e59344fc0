// Float rows, decoder: AVX2.
#if defined(__x86_64__)
#include <immintrin.h>

#include "../float_rows_kernels.hpp"

namespace tersor {
namespace {

// For each mask of eight lanes: a byte shuffle that hands the next words, in order, to the lanes of the mask and 0 to the others.
struct Expansions {
    alignas(64) std::uint8_t bytes[256][8];      // words of one byte
    alignas(64) std::uint8_t words[256][16];     // words of two bytes
};
constexpr Expansions make_expansions() {
    Expansions e{};
    for (int mask = 0; mask < 256; ++mask)
        for (int lane = 0, k = 0; lane < 8; ++lane) {
            const bool hungry = mask >> lane & 1;
            e.bytes[mask][lane] = static_cast<std::uint8_t>(hungry ? k : 0x80);
            e.words[mask][2 * lane] = static_cast<std::uint8_t>(hungry ? 2 * k : 0x80);
            e.words[mask][2 * lane + 1] = static_cast<std::uint8_t>(hungry ? 2 * k + 1 : 0x80);
            k += hungry;
        }
    return e;
}
constexpr Expansions kExpansions = make_expansions();

inline __m128i load128(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
inline __m256i load256(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline void store256(void* p, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }
inline __m256i load_halves(const void* low, const void* high) { return _mm256_set_m128i(load128(high), load128(low)); }
inline __m256i broadcast(const std::uint8_t* table) { return _mm256_broadcastsi128_si256(load128(table)); }

// 16 raw fields of `bits` bits out of 2 * bits bytes, each in the low bits of a 16-bit lane, nothing above.
template <int bits>
struct RawFields {
    static constexpr int bytes = 4 * bits;
    __m256i place, shift;

    RawFields() {
        alignas(32) std::uint8_t places[32];
        alignas(32) std::uint32_t shifts[8];
        for (int l = 0; l < 8; ++l) {
            for (int b = 0; b < 4; ++b) places[4 * l + b] = static_cast<std::uint8_t>(bits * l / 8 + b);
            shifts[l] = static_cast<std::uint32_t>(bits * l % 8);
        }
        place = load256(places);
        shift = load256(shifts);
    }
    // Eight fields take exactly `bits` bytes.
    __m256i eight(const std::uint8_t* raw) const {
        const __m256i windows = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(load128(raw)), place);
        return _mm256_and_si256(_mm256_srlv_epi32(windows, shift), _mm256_set1_epi32((1 << bits) - 1));
    }
    __m256i get(const std::uint8_t* raw) const {
        if constexpr (bits == 8) return _mm256_cvtepu8_epi16(load128(raw));
        return _mm256_permute4x64_epi64(_mm256_packus_epi32(eight(raw), eight(raw + bits)), 0xD8);
    }
};
// Six bits: windows of 16 bits are enough, and a multiplication shifts each lane by its own amount.
template <>
struct RawFields<6> {
    static constexpr int bytes = 24;
    __m256i place, factor;

    RawFields() {
        alignas(32) std::uint8_t places[32];
        alignas(32) std::uint16_t factors[16];
        for (int l = 0; l < 16; ++l) {
            const int bit = 6 * l - (l >= 8 ? 48 : 0);
            places[2 * l] = static_cast<std::uint8_t>(bit / 8);
            places[2 * l + 1] = static_cast<std::uint8_t>(bit / 8 + 1);
            factors[l] = static_cast<std::uint16_t>(1 << (8 - bit % 8));
        }
        place = load256(places);
        factor = load256(factors);
    }
    __m256i get(const std::uint8_t* raw) const {
        const __m256i windows = _mm256_shuffle_epi8(load_halves(raw, raw + 6), place);
        return _mm256_and_si256(_mm256_srli_epi16(_mm256_mullo_epi16(windows, factor), 8), _mm256_set1_epi16(63));
    }
};

// 16 words: field << low_bits | low mantissa bits | sign, plus the row's addend.
template <int low_bits>
inline __m256i join(__m256i field, __m256i raw, __m256i addend) {
    const __m256i low = _mm256_and_si256(raw, _mm256_set1_epi16((1 << low_bits) - 1));
    const __m256i sign = _mm256_and_si256(_mm256_slli_epi16(raw, 15 - low_bits), _mm256_set1_epi16(static_cast<short>(0x8000)));
    return _mm256_add_epi16(_mm256_or_si256(_mm256_or_si256(_mm256_slli_epi16(field, low_bits), low), sign), addend);
}

// Fast: element order is restored by packing, so state[0] holds lanes 0-7 and 16-23, state[1] lanes 8-15 and 24-31.
template <int exponent_bits, int n>
void decode_fast(FloatCursor* cursors, const FloatDecodeJob& job) {
    constexpr int low_bits = 15 - exponent_bits;
    using Raw = RawFields<low_bits + 1>;
    const Raw raw_fields;
    const __m256i low_byte = _mm256_set1_epi16(255), low_nibble = _mm256_set1_epi8(15), zero = _mm256_setzero_si256();
    __m256i state[n][2];
    const std::uint8_t *words[n], *raw[n];
    std::uint16_t* out[n];
    std::uint32_t* escaped[n];
    for (int k = 0; k < n; ++k) {
        const FloatCursor& c = cursors[k];
        for (int half = 0; half < 2; ++half) {
            const std::uint32_t* s = c.states + 8 * half;
            state[k][half] = _mm256_set_m128i(_mm_packus_epi32(load128(s + 16), load128(s + 20)), _mm_packus_epi32(load128(s), load128(s + 4)));
        }
        words[k] = c.words, raw[k] = c.raw, out[k] = c.out, escaped[k] = c.escaped;
    }
    while (const std::size_t groups = common_groups<n, 32, Raw::bytes>(cursors, words, raw, job)) {
        const LaneTable* table[n];
        std::uint16_t addend[n];
        for (int k = 0; k < n; ++k) {
            table[k] = cursors[k].row->table;
            addend[k] = cursors[k].row->addend;
            advance(cursors[k], groups, job);
        }
        for (std::size_t g = 0; g < groups; ++g) {
#pragma GCC unroll 4
            for (int k = 0; k < n; ++k) {
                prefetch(raw[k], words[k], out[k]);
                const LaneTable& t = *table[k];
                const __m256i x0 = state[k][0], x1 = state[k][1];
                const __m256i low = _mm256_packus_epi16(_mm256_and_si256(x0, low_byte), _mm256_and_si256(x1, low_byte));
                const __m256i bucket = _mm256_and_si256(_mm256_srli_epi16(low, 4), low_nibble), position = _mm256_and_si256(low, low_nibble);
                const __m256i own = _mm256_cmpgt_epi8(_mm256_shuffle_epi8(broadcast(t.threshold), bucket), position);
                const __m256i symbol = _mm256_blendv_epi8(_mm256_shuffle_epi8(broadcast(t.alias), bucket), bucket, own);
                const __m256i offset = _mm256_add_epi8(position, _mm256_andnot_si256(own, _mm256_shuffle_epi8(broadcast(t.adjust_low), bucket)));
                const __m256i f = _mm256_shuffle_epi8(broadcast(t.frequency_low), symbol);

                const __m256i y0 = _mm256_add_epi16(_mm256_mullo_epi16(_mm256_srli_epi16(x0, 8), _mm256_unpacklo_epi8(f, zero)), _mm256_unpacklo_epi8(offset, zero));
                const __m256i y1 = _mm256_add_epi16(_mm256_mullo_epi16(_mm256_srli_epi16(x1, 8), _mm256_unpackhi_epi8(f, zero)), _mm256_unpackhi_epi8(offset, zero));
                const __m256i hungry0 = _mm256_cmpeq_epi16(_mm256_srli_epi16(y0, 8), zero), hungry1 = _mm256_cmpeq_epi16(_mm256_srli_epi16(y1, 8), zero);
                const auto mask = static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_packs_epi16(hungry0, hungry1)));
                const auto expand = [&](int byte) {
                    const std::uint8_t* from = words[k] + _mm_popcnt_u32(mask & ((1u << (8 * byte)) - 1));
                    return _mm_shuffle_epi8(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)),
                                            _mm_loadl_epi64(reinterpret_cast<const __m128i*>(kExpansions.bytes[mask >> (8 * byte) & 255])));
                };
                const __m256i word = _mm256_set_m128i(_mm_unpacklo_epi64(expand(2), expand(3)), _mm_unpacklo_epi64(expand(0), expand(1)));
                words[k] += _mm_popcnt_u32(mask);
                state[k][0] = _mm256_blendv_epi8(y0, _mm256_or_si256(_mm256_slli_epi16(y0, 8), _mm256_unpacklo_epi8(word, zero)), hungry0);
                state[k][1] = _mm256_blendv_epi8(y1, _mm256_or_si256(_mm256_slli_epi16(y1, 8), _mm256_unpackhi_epi8(word, zero)), hungry1);

                const __m256i a = _mm256_set1_epi16(static_cast<short>(addend[k]));
                store256(out[k], join<low_bits>(_mm256_cvtepu8_epi16(_mm256_castsi256_si128(symbol)), raw_fields.get(raw[k]), a));
                store256(out[k] + 16, join<low_bits>(_mm256_cvtepu8_epi16(_mm256_extracti128_si256(symbol, 1)), raw_fields.get(raw[k] + Raw::bytes / 2), a));
                escaped[k][g] = static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(symbol, zero)));
                raw[k] += Raw::bytes;
                out[k] += kGroup;
            }
        }
        for (int k = 0; k < n; ++k) escaped[k] += groups;
    }
    for (int k = 0; k < n; ++k) {
        FloatCursor& c = cursors[k];
        for (int half = 0; half < 2; ++half) {
            std::uint32_t* s = c.states + 8 * half;
            store256(s, _mm256_cvtepu16_epi32(_mm256_castsi256_si128(state[k][half])));
            store256(s + 16, _mm256_cvtepu16_epi32(_mm256_extracti128_si256(state[k][half], 1)));
        }
        c.words = words[k], c.raw = raw[k], c.out = out[k], c.escaped = escaped[k];
    }
}

// A table of 64 bytes as four shuffles: each index picks in one quarter and gives 0 in the others, where bit 7 of its byte is set.
struct Indices {
    __m256i quarter[4];
    explicit Indices(__m256i index) {
        const __m256i to_bit_7 = _mm256_set1_epi8(0x70);
        for (int q = 0; q < 4; ++q) quarter[q] = _mm256_add_epi8(_mm256_xor_si256(index, _mm256_set1_epi8(static_cast<char>(16 * q))), to_bit_7);
    }
    __m256i look_up(const std::uint8_t* table) const {
        __m256i found = _mm256_shuffle_epi8(broadcast(table), quarter[0]);
        for (int q = 1; q < 4; ++q) found = _mm256_or_si256(found, _mm256_shuffle_epi8(broadcast(table + 16 * q), quarter[q]));
        return found;
    }
};

// Balanced: state[i] holds lanes 8 i .. 8 i + 7. Packing mixes the four registers; one permutation at the end brings the symbols in order.
template <int exponent_bits, int n>
void decode_balanced(FloatCursor* cursors, const FloatDecodeJob& job) {
    constexpr int low_bits = 15 - exponent_bits - 2;
    using Raw = RawFields<low_bits + 1>;
    const Raw raw_fields;
    const __m256i low_twelve = _mm256_set1_epi32(4095), low_six = _mm256_set1_epi16(63), zero = _mm256_setzero_si256();
    const __m256i natural = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    __m256i state[n][4];
    const std::uint8_t *words[n], *raw[n];
    std::uint16_t* out[n];
    std::uint32_t* escaped[n];
    for (int k = 0; k < n; ++k) {
        const FloatCursor& c = cursors[k];
        for (int i = 0; i < 4; ++i) state[k][i] = load256(c.states + 8 * i);
        words[k] = c.words, raw[k] = c.raw, out[k] = c.out, escaped[k] = c.escaped;
    }
    while (const std::size_t groups = common_groups<n, 64, Raw::bytes>(cursors, words, raw, job)) {
        const LaneTable* table[n];
        std::uint16_t addend[n];
        for (int k = 0; k < n; ++k) {
            table[k] = cursors[k].row->table;
            addend[k] = cursors[k].row->addend;
            advance(cursors[k], groups, job);
        }
        for (std::size_t g = 0; g < groups; ++g) {
#pragma GCC unroll 2
            for (int k = 0; k < n; ++k) {
                prefetch(raw[k], words[k], out[k]);
                const LaneTable& t = *table[k];
                __m256i* x = state[k];
                const __m256i slot0 = _mm256_packus_epi32(_mm256_and_si256(x[0], low_twelve), _mm256_and_si256(x[1], low_twelve));
                const __m256i slot1 = _mm256_packus_epi32(_mm256_and_si256(x[2], low_twelve), _mm256_and_si256(x[3], low_twelve));
                const __m256i position = _mm256_packus_epi16(_mm256_and_si256(slot0, low_six), _mm256_and_si256(slot1, low_six));
                const __m256i bucket = _mm256_packus_epi16(_mm256_srli_epi16(slot0, 6), _mm256_srli_epi16(slot1, 6));
                const Indices by_bucket(bucket);
                const __m256i own = _mm256_cmpgt_epi8(by_bucket.look_up(t.threshold), position);
                const __m256i symbol = _mm256_blendv_epi8(by_bucket.look_up(t.alias), bucket, own);
                const __m256i adjust_low = _mm256_andnot_si256(own, by_bucket.look_up(t.adjust_low)), adjust_high = _mm256_andnot_si256(own, by_bucket.look_up(t.adjust_high));
                const Indices by_symbol(symbol);
                const __m256i f_low = by_symbol.look_up(t.frequency_low), f_high = by_symbol.look_up(t.frequency_high);

                const __m256i offset0 = _mm256_add_epi16(_mm256_unpacklo_epi8(position, zero), _mm256_unpacklo_epi8(adjust_low, adjust_high));
                const __m256i offset1 = _mm256_add_epi16(_mm256_unpackhi_epi8(position, zero), _mm256_unpackhi_epi8(adjust_low, adjust_high));
                const __m256i f0 = _mm256_unpacklo_epi8(f_low, f_high), f1 = _mm256_unpackhi_epi8(f_low, f_high);
                const __m256i f[4] = {_mm256_unpacklo_epi16(f0, zero), _mm256_unpackhi_epi16(f0, zero), _mm256_unpacklo_epi16(f1, zero), _mm256_unpackhi_epi16(f1, zero)};
                const __m256i offset[4] = {_mm256_unpacklo_epi16(offset0, zero), _mm256_unpackhi_epi16(offset0, zero), _mm256_unpacklo_epi16(offset1, zero),
                                           _mm256_unpackhi_epi16(offset1, zero)};
#pragma GCC unroll 4
                for (int i = 0; i < 4; ++i) {
                    const __m256i y = _mm256_add_epi32(_mm256_mullo_epi32(_mm256_srli_epi32(x[i], 12), f[i]), offset[i]);
                    const __m256i hungry = _mm256_cmpeq_epi32(_mm256_srli_epi32(y, 16), zero);
                    const auto mask = static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(hungry)));
                    const __m256i word = _mm256_cvtepu16_epi32(_mm_shuffle_epi8(load128(words[k]), load128(kExpansions.words[mask])));
                    words[k] += 2 * _mm_popcnt_u32(mask);
                    x[i] = _mm256_blendv_epi8(y, _mm256_or_si256(_mm256_slli_epi32(y, 16), word), hungry);
                }

                const __m256i ordered = _mm256_permutevar8x32_epi32(symbol, natural), a = _mm256_set1_epi16(static_cast<short>(addend[k]));
                store256(out[k], join<low_bits>(_mm256_cvtepu8_epi16(_mm256_castsi256_si128(ordered)), raw_fields.get(raw[k]), a));
                store256(out[k] + 16, join<low_bits>(_mm256_cvtepu8_epi16(_mm256_extracti128_si256(ordered, 1)), raw_fields.get(raw[k] + Raw::bytes / 2), a));
                escaped[k][g] = static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(ordered, zero)));
                raw[k] += Raw::bytes;
                out[k] += kGroup;
            }
        }
        for (int k = 0; k < n; ++k) escaped[k] += groups;
    }
    for (int k = 0; k < n; ++k) {
        FloatCursor& c = cursors[k];
        for (int i = 0; i < 4; ++i) store256(c.states + 8 * i, state[k][i]);
        c.words = words[k], c.raw = raw[k], c.out = out[k], c.escaped = escaped[k];
    }
}

}  // namespace

FloatDecodeKernels float_decode_avx2(bool fast, int exponent_bits) {
    const bool bf16 = exponent_bits == 8;
    if (fast) return bf16 ? FloatDecodeKernels{decode_fast<8, 1>, decode_fast<8, 2>, decode_fast<8, 4>} : FloatDecodeKernels{decode_fast<5, 1>, decode_fast<5, 2>, decode_fast<5, 4>};
    return bf16 ? FloatDecodeKernels{decode_balanced<8, 1>, decode_balanced<8, 2>, nullptr} : FloatDecodeKernels{decode_balanced<5, 1>, decode_balanced<5, 2>, nullptr};
}

}  // namespace tersor
#endif
