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

// Fast: 16-bit states, 16 symbols in byte shuffles, bytes read forward by an expanding load. No branch at all.
template <int exponent_bits, int n>
bool decode_fast(FloatCursor* cursors, const FloatDecodeJob& job) {
    constexpr int low_bits = 15 - exponent_bits;
    using Raw = RawFields<low_bits + 1>;
    const Raw raw_fields;
    const __m256i low_nibble = _mm256_set1_epi8(15);
    const __m512i lower = _mm512_set1_epi16(256);
    __m512i state[n];
    const std::uint8_t *words[n], *escapes[n], *raw[n];
    std::uint16_t* out[n];
    __m256i invalid = _mm256_setzero_si256();
    for (int k = 0; k < n; ++k) {
        const FloatCursor& c = cursors[k];
        state[k] = _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi32_epi16(_mm512_load_si512(c.states))), _mm512_cvtepi32_epi16(_mm512_load_si512(c.states + 16)), 1);
        words[k] = c.words, escapes[k] = c.escapes, raw[k] = c.raw, out[k] = c.out;
    }
    for (bool more = true; more;) {
        std::size_t groups = job.groups_per_row - cursors[0].group;
        __m256i below[n], alias[n], adjust[n], frequency[n];
        __m512i addend[n];
        for (int k = 0; k < n; ++k) {
            FloatCursor& c = cursors[k];
            c.words = words[k], c.escapes = escapes[k], c.raw = raw[k];
            groups = c.row == c.end_row ? 0 : safe_groups<32, 32, Raw::bytes>(c, job.payload_end, groups);
        }
        if (groups == 0) break;
        for (int k = 0; k < n; ++k) {
            FloatCursor& c = cursors[k];
            below[k] = _mm256_sub_epi8(broadcast(c.row->table->threshold), _mm256_set1_epi8(1));
            alias[k] = broadcast(c.row->table->alias);
            adjust[k] = broadcast(c.row->table->adjust_low);
            frequency[k] = broadcast(c.row->table->frequency_low);
            addend[k] = _mm512_set1_epi16(static_cast<short>(c.row->addend));
            c.group += groups;
            if (c.group == job.groups_per_row) c.group = 0, ++c.row;
        }
        for (; groups > 0; --groups) {
#pragma GCC unroll 4
            for (int k = 0; k < n; ++k) {
                const __m256i low = _mm512_cvtepi16_epi8(state[k]), bucket = _mm256_and_si256(_mm256_srli_epi16(low, 4), low_nibble), position = _mm256_and_si256(low, low_nibble);
                const __mmask32 aliased = _mm256_cmpgt_epi8_mask(position, _mm256_shuffle_epi8(below[k], bucket));
                const __m256i symbol = _mm256_mask_shuffle_epi8(bucket, aliased, alias[k], bucket);
                const __m256i offset = _mm256_mask_add_epi8(position, aliased, position, _mm256_shuffle_epi8(adjust[k], bucket));
                const __mmask32 escaped = _mm256_testn_epi8_mask(symbol, symbol);
                const __m256i field = _mm256_or_si256(symbol, _mm256_maskz_expand_epi8(escaped, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(escapes[k]))));
                escapes[k] += _mm_popcnt_u32(escaped);
                if constexpr (exponent_bits < 8) invalid = _mm256_or_si256(invalid, field);

                const __m512i f = _mm512_cvtepu8_epi16(_mm256_shuffle_epi8(frequency[k], symbol));
                const __m512i next = _mm512_add_epi16(_mm512_mullo_epi16(_mm512_srli_epi16(state[k], 8), f), _mm512_cvtepu8_epi16(offset));
                const __mmask32 hungry = _mm512_cmplt_epu16_mask(next, lower);
                const __m512i word = _mm512_cvtepu8_epi16(_mm256_maskz_expand_epi8(hungry, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words[k]))));
                words[k] += _mm_popcnt_u32(hungry);
                state[k] = _mm512_or_si512(_mm512_mask_slli_epi16(next, hungry, next, 8), word);

                _mm512_storeu_si512(out[k], join<low_bits>(_mm512_cvtepu8_epi16(field), raw_fields.get(raw[k]), addend[k]));
                raw[k] += Raw::bytes;
                out[k] += kGroup;
            }
        }
        for (int k = 0; k < n; ++k) more = more && cursors[k].row != cursors[k].end_row;
    }
    for (int k = 0; k < n; ++k) {
        FloatCursor& c = cursors[k];
        _mm512_store_si512(c.states, _mm512_cvtepu16_epi32(_mm512_castsi512_si256(state[k])));
        _mm512_store_si512(c.states + 16, _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(state[k], 1)));
        c.words = words[k], c.escapes = escapes[k], c.raw = raw[k], c.out = out[k];
    }
    return _mm256_cmpgt_epu8_mask(invalid, _mm256_set1_epi8(static_cast<char>((1 << exponent_bits) - 1))) == 0;
}

// Balanced: 32-bit states in two registers, 64 symbols in permutations of 16-bit words.
template <int exponent_bits, int n>
bool decode_balanced(FloatCursor* cursors, const FloatDecodeJob& job) {
    constexpr int low_bits = 15 - exponent_bits - 2;
    using Raw = RawFields<low_bits + 1>;
    const Raw raw_fields;
    const __m512i low_six = _mm512_set1_epi32(63), lower = _mm512_set1_epi32(1 << 16);
    constexpr __mmask32 even = 0x55555555;  // the 16-bit lanes that hold something
    __m512i state[n][2];
    const std::uint8_t *words[n], *escapes[n], *raw[n];
    std::uint16_t* out[n];
    bool valid = true;
    for (int k = 0; k < n; ++k) {
        const FloatCursor& c = cursors[k];
        state[k][0] = _mm512_load_si512(c.states);
        state[k][1] = _mm512_load_si512(c.states + 16);
        words[k] = c.words, escapes[k] = c.escapes, raw[k] = c.raw, out[k] = c.out;
    }
    for (bool more = true; more && valid;) {
        std::size_t groups = job.groups_per_row - cursors[0].group;
        __m512i buckets[n][2], adjust[n][2], frequency[n][2];
        std::uint16_t addend[n];
        for (int k = 0; k < n; ++k) {
            FloatCursor& c = cursors[k];
            c.words = words[k], c.raw = raw[k];
            groups = c.row == c.end_row ? 0 : safe_groups<64, 0, Raw::bytes>(c, job.payload_end, groups);
        }
        if (groups == 0) break;
        for (int k = 0; k < n; ++k) {
            FloatCursor& c = cursors[k];
            for (int half = 0; half < 2; ++half) {
                buckets[k][half] = _mm512_load_si512(c.row->table->threshold_alias + 32 * half);
                adjust[k][half] = _mm512_load_si512(c.row->table->adjust + 32 * half);
                frequency[k][half] = _mm512_load_si512(c.row->table->frequency + 32 * half);
            }
            addend[k] = c.row->addend;
            c.group += groups;
            if (c.group == job.groups_per_row) c.group = 0, ++c.row;
        }
        for (; groups > 0; --groups) {
#pragma GCC unroll 4
            for (int k = 0; k < n; ++k) {
                __m256i symbols[2];
#pragma GCC unroll 2
                for (int half = 0; half < 2; ++half) {
                    const __m512i x = state[k][half], bucket = _mm512_srli_epi32(x, 6), position = _mm512_and_si512(x, low_six);
                    const __m512i entry = _mm512_maskz_permutex2var_epi16(even, buckets[k][0], bucket, buckets[k][1]);
                    const __mmask16 aliased = _mm512_cmpge_epu32_mask(position, _mm512_srli_epi32(entry, 6));
                    const __m512i symbol = _mm512_mask_mov_epi32(bucket, aliased, entry);  // in the low six bits
                    const __m512i moved = _mm512_maskz_permutex2var_epi16(even, adjust[k][0], bucket, adjust[k][1]);
                    const __m512i offset = _mm512_add_epi16(position, _mm512_maskz_mov_epi32(aliased, moved));
                    const __m512i f = _mm512_maskz_permutex2var_epi16(even, frequency[k][0], symbol, frequency[k][1]);
                    symbols[half] = _mm512_cvtepi32_epi16(_mm512_and_si512(symbol, low_six));

                    const __m512i next = _mm512_add_epi32(_mm512_mullo_epi32(_mm512_srli_epi32(x, 12), f), offset);
                    const __mmask16 hungry = _mm512_cmplt_epu32_mask(next, lower);
                    const __m512i word = _mm512_maskz_expand_epi32(hungry, _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(words[k]))));
                    words[k] += 2 * _mm_popcnt_u32(hungry);
                    state[k][half] = _mm512_or_si512(_mm512_mask_slli_epi32(next, hungry, next, 16), word);
                }
                const __m512i symbol = _mm512_inserti64x4(_mm512_castsi256_si512(symbols[0]), symbols[1], 1);
                _mm512_storeu_si512(out[k], join<low_bits>(symbol, raw_fields.get(raw[k]), _mm512_set1_epi16(static_cast<short>(addend[k]))));
                const __mmask32 escaped = _mm512_testn_epi16_mask(symbol, symbol);
                if (__builtin_expect(escaped != 0, 0)) valid = patch_escapes<exponent_bits, low_bits>(escaped, out[k], addend[k], escapes[k], job.payload_end) && valid;
                raw[k] += Raw::bytes;
                out[k] += kGroup;
            }
        }
        for (int k = 0; k < n; ++k) more = more && cursors[k].row != cursors[k].end_row;
    }
    for (int k = 0; k < n; ++k) {
        FloatCursor& c = cursors[k];
        _mm512_store_si512(c.states, state[k][0]);
        _mm512_store_si512(c.states + 16, state[k][1]);
        c.words = words[k], c.escapes = escapes[k], c.raw = raw[k], c.out = out[k];
    }
    return valid;
}

}  // namespace

FloatDecodeKernels float_decode_avx512(bool fast, int exponent_bits) {
    const bool bf16 = exponent_bits == 8;
    if (fast) return bf16 ? FloatDecodeKernels{decode_fast<8, 1>, decode_fast<8, 2>, decode_fast<8, 4>} : FloatDecodeKernels{decode_fast<5, 1>, decode_fast<5, 2>, decode_fast<5, 4>};
    return bf16 ? FloatDecodeKernels{decode_balanced<8, 1>, decode_balanced<8, 2>, nullptr} : FloatDecodeKernels{decode_balanced<5, 1>, decode_balanced<5, 2>, nullptr};
}

}  // namespace tersor
#endif
