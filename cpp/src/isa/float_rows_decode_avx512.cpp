// Float rows, decoder: AVX-512 with BW, VL, VBMI and VBMI2.
#if defined(__x86_64__)
#include <immintrin.h>

#include "../float_rows_kernels.hpp"

namespace tersor {
namespace {

// How to take 32 raw fields of `bits` bits each out of 4 * bits bytes: a byte permutation that gives every four fields a quad word
// of their own, then a shift for each byte.
template <int bits>
struct RawFields {
    static constexpr int bytes = 4 * bits;
    __m512i place, shift;

    RawFields() {
        alignas(64) std::uint8_t places[64], shifts[64];
        for (int quad = 0; quad < 8; ++quad)
            for (int b = 0; b < 8; ++b) places[8 * quad + b] = static_cast<std::uint8_t>((4 * bits * quad / 8 + b) & 63);
        for (int l = 0; l < 32; ++l) {
            const int at = 4 * bits * (l / 4) % 8 + bits * (l % 4);
            shifts[2 * l] = static_cast<std::uint8_t>(at & 63);
            shifts[2 * l + 1] = static_cast<std::uint8_t>((at + 8) & 63);
        }
        place = _mm512_load_si512(places);
        shift = _mm512_load_si512(shifts);
    }
    // Each field in the low bits of a 16-bit lane; what stands above it is arbitrary.
    __m512i get(const std::uint8_t* raw) const {
        if constexpr (bits == 8)
            return _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(raw)));
        else
            return _mm512_multishift_epi64_epi8(shift, _mm512_permutexvar_epi8(place, _mm512_loadu_si512(raw)));
    }
};

// field << low_bits | low mantissa bits | sign, plus the row's addend.
template <int low_bits>
inline __m512i join(__m512i field, __m512i raw, __m512i addend) {
    const __m512i low_mask = _mm512_set1_epi16((1 << low_bits) - 1), sign_mask = _mm512_set1_epi16(static_cast<short>(0x8000));
    constexpr int or_and = 0xF8;  // a | (b & c)
    const __m512i with_low = _mm512_ternarylogic_epi32(_mm512_slli_epi16(field, low_bits), raw, low_mask, or_and);
    return _mm512_add_epi16(_mm512_ternarylogic_epi32(with_low, _mm512_slli_epi16(raw, 15 - low_bits), sign_mask, or_and), addend);
}

inline __m256i broadcast(const std::uint8_t* table) { return _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(table))); }

// 32 states in two halves of 16 bits each.
inline __m512i narrow(__m512i first, __m512i second) { return _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi32_epi16(first)), _mm512_cvtepi32_epi16(second), 1); }
inline __m512i widen(__m512i v, int half) { return _mm512_cvtepu16_epi32(half == 0 ? _mm512_castsi512_si256(v) : _mm512_extracti64x4_epi64(v, 1)); }

// Fast: 16-bit states, 16 symbols in byte shuffles, bytes handed out in lane order by an expansion.
template <int exponent_bits, int n>
void decode_fast(FloatCursor* cursors, const FloatDecodeJob& job) {
    constexpr int low_bits = 15 - exponent_bits;
    using Raw = RawFields<low_bits + 1>;
    const Raw raw_fields;
    const __m256i low_nibble = _mm256_set1_epi8(15);
    const __m512i lower = _mm512_set1_epi16(256);
    __m512i state[n];
    const std::uint8_t *words[n], *raw[n];
    std::uint16_t* out[n];
    std::uint32_t* escaped[n];
    for (int k = 0; k < n; ++k) {
        const FloatCursor& c = cursors[k];
        state[k] = narrow(_mm512_load_si512(c.states), _mm512_load_si512(c.states + 16));
        words[k] = c.words, raw[k] = c.raw, out[k] = c.out, escaped[k] = c.escaped;
    }
    while (const std::size_t groups = common_groups<n, 32, Raw::bytes>(cursors, words, raw, job)) {
        __m256i below[n], alias[n], adjust[n], frequency[n];
        __m512i addend[n];
        for (int k = 0; k < n; ++k) {
            const RowCode& row = *cursors[k].row;
            below[k] = _mm256_sub_epi8(broadcast(row.table->threshold), _mm256_set1_epi8(1));
            alias[k] = broadcast(row.table->alias);
            adjust[k] = broadcast(row.table->adjust_low);
            frequency[k] = broadcast(row.table->frequency_low);
            addend[k] = _mm512_set1_epi16(static_cast<short>(row.addend));
            advance(cursors[k], groups, job);
        }
        for (std::size_t g = 0; g < groups; ++g) {
#pragma GCC unroll 4
            for (int k = 0; k < n; ++k) {
                prefetch(raw[k], words[k], out[k]);
                const __m256i low = _mm512_cvtepi16_epi8(state[k]), bucket = _mm256_and_si256(_mm256_srli_epi16(low, 4), low_nibble), position = _mm256_and_si256(low, low_nibble);
                const __mmask32 aliased = _mm256_cmpgt_epi8_mask(position, _mm256_shuffle_epi8(below[k], bucket));
                const __m256i symbol = _mm256_mask_shuffle_epi8(bucket, aliased, alias[k], bucket);
                const __m256i offset = _mm256_mask_add_epi8(position, aliased, position, _mm256_shuffle_epi8(adjust[k], bucket));
                escaped[k][g] = _mm256_testn_epi8_mask(symbol, symbol);

                const __m512i f = _mm512_cvtepu8_epi16(_mm256_shuffle_epi8(frequency[k], symbol));
                const __m512i next = _mm512_add_epi16(_mm512_mullo_epi16(_mm512_srli_epi16(state[k], 8), f), _mm512_cvtepu8_epi16(offset));
                const __mmask32 hungry = _mm512_cmplt_epu16_mask(next, lower);
                // Widened before they are handed out, so that less is left to do once `hungry` is known: 3% faster.
                const __m512i word = _mm512_maskz_expand_epi16(hungry, _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(words[k]))));
                words[k] += _mm_popcnt_u32(hungry);
                state[k] = _mm512_or_si512(_mm512_mask_slli_epi16(next, hungry, next, 8), word);

                _mm512_storeu_si512(out[k], join<low_bits>(_mm512_cvtepu8_epi16(symbol), raw_fields.get(raw[k]), addend[k]));
                raw[k] += Raw::bytes;
                out[k] += kGroup;
            }
        }
        for (int k = 0; k < n; ++k) escaped[k] += groups;
    }
    for (int k = 0; k < n; ++k) {
        FloatCursor& c = cursors[k];
        for (int half = 0; half < 2; ++half) _mm512_store_si512(c.states + 16 * half, widen(state[k], half));
        c.words = words[k], c.raw = raw[k], c.out = out[k], c.escaped = escaped[k];
    }
}

// Balanced: the upper and the lower 16 bits of 32-bit states in a register each; 64 symbols in permutations of 16-bit words.
template <int exponent_bits, int n>
void decode_balanced(FloatCursor* cursors, const FloatDecodeJob& job) {
    constexpr int low_bits = 15 - exponent_bits - 2;
    using Raw = RawFields<low_bits + 1>;
    const Raw raw_fields;
    const __m512i low_six = _mm512_set1_epi16(63), one = _mm512_set1_epi16(1);
    __m512i upper[n], lower[n];
    const std::uint8_t *words[n], *raw[n];
    std::uint16_t* out[n];
    std::uint32_t* escaped[n];
    for (int k = 0; k < n; ++k) {
        const FloatCursor& c = cursors[k];
        const __m512i first = _mm512_load_si512(c.states), second = _mm512_load_si512(c.states + 16);
        lower[k] = narrow(first, second);
        upper[k] = narrow(_mm512_srli_epi32(first, 16), _mm512_srli_epi32(second, 16));
        words[k] = c.words, raw[k] = c.raw, out[k] = c.out, escaped[k] = c.escaped;
    }
    while (const std::size_t groups = common_groups<n, 64, Raw::bytes>(cursors, words, raw, job)) {
        __m512i buckets[n][2], adjust[n][2], frequency[n][2], addend[n];
        for (int k = 0; k < n; ++k) {
            const RowCode& row = *cursors[k].row;
            for (int half = 0; half < 2; ++half) {
                buckets[k][half] = _mm512_load_si512(row.table->threshold_alias + 32 * half);
                adjust[k][half] = _mm512_load_si512(row.table->adjust + 32 * half);
                frequency[k][half] = _mm512_load_si512(row.table->frequency + 32 * half);
            }
            addend[k] = _mm512_set1_epi16(static_cast<short>(row.addend));
            advance(cursors[k], groups, job);
        }
        for (std::size_t g = 0; g < groups; ++g) {
#pragma GCC unroll 4
            for (int k = 0; k < n; ++k) {
                prefetch(raw[k], words[k], out[k]);
                // Permutations take the low six bits of an index, so that what stands above them need not be cleared.
                const __m512i bucket = _mm512_srli_epi16(lower[k], 6), position = _mm512_and_si512(lower[k], low_six);
                const __m512i entry = _mm512_permutex2var_epi16(buckets[k][0], bucket, buckets[k][1]);
                const __mmask32 aliased = _mm512_cmpge_epu16_mask(position, _mm512_srli_epi16(entry, 6));
                const __m512i symbol = _mm512_mask_mov_epi16(bucket, aliased, entry);
                const __m512i offset = _mm512_mask_add_epi16(position, aliased, position, _mm512_permutex2var_epi16(adjust[k][0], bucket, adjust[k][1]));
                const __m512i f = _mm512_permutex2var_epi16(frequency[k][0], symbol, frequency[k][1]);
                const __m512i field = _mm512_and_si512(symbol, low_six);
                escaped[k][g] = _mm512_testn_epi16_mask(field, field);

                // (state >> 12) * f + offset in halves: f has 12 bits and state >> 12 has 20.
                const __m512i quotient = _mm512_shldi_epi16(upper[k], lower[k], 4), top = _mm512_mullo_epi16(_mm512_srli_epi16(upper[k], 12), f);
                const __m512i next_lower = _mm512_add_epi16(_mm512_mullo_epi16(quotient, f), offset);
                const __mmask32 carry = _mm512_cmplt_epu16_mask(next_lower, offset);
                const __m512i sum = _mm512_add_epi16(_mm512_mulhi_epu16(quotient, f), top), next_upper = _mm512_mask_add_epi16(sum, carry, sum, one);
                const __mmask32 hungry = _mm512_testn_epi16_mask(next_upper, next_upper);
                upper[k] = _mm512_mask_mov_epi16(next_upper, hungry, next_lower);
                lower[k] = _mm512_mask_expand_epi16(next_lower, hungry, _mm512_loadu_si512(words[k]));
                words[k] += 2 * _mm_popcnt_u32(hungry);

                _mm512_storeu_si512(out[k], join<low_bits>(field, raw_fields.get(raw[k]), addend[k]));
                raw[k] += Raw::bytes;
                out[k] += kGroup;
            }
        }
        for (int k = 0; k < n; ++k) escaped[k] += groups;
    }
    for (int k = 0; k < n; ++k) {
        FloatCursor& c = cursors[k];
        for (int half = 0; half < 2; ++half)
            _mm512_store_si512(c.states + 16 * half, _mm512_or_si512(_mm512_slli_epi32(widen(upper[k], half), 16), widen(lower[k], half)));
        c.words = words[k], c.raw = raw[k], c.out = out[k], c.escaped = escaped[k];
    }
}

}  // namespace

FloatDecodeKernels float_decode_avx512(bool fast, int exponent_bits) {
    const bool bf16 = exponent_bits == 8;
    if (fast) return bf16 ? FloatDecodeKernels{decode_fast<8, 1>, decode_fast<8, 2>, decode_fast<8, 4>} : FloatDecodeKernels{decode_fast<5, 1>, decode_fast<5, 2>, decode_fast<5, 4>};
    return bf16 ? FloatDecodeKernels{decode_balanced<8, 1>, decode_balanced<8, 2>, decode_balanced<8, 4>}
                : FloatDecodeKernels{decode_balanced<5, 1>, decode_balanced<5, 2>, decode_balanced<5, 4>};
}

}  // namespace tersor
#endif
