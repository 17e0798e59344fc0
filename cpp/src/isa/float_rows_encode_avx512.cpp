// Float rows, encoder: AVX-512 with BW, VL, VBMI and VBMI2.
#if defined(__x86_64__)
#include <immintrin.h>

#include "../float_rows_kernels.hpp"

namespace tersor {
namespace {

inline __m256i load256(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline __m256i broadcast(const std::uint8_t* table) { return _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(table))); }

template <int exponent_bits>
inline __m512 to_float(const std::uint16_t* words) {
    if constexpr (exponent_bits == 5) return _mm512_cvtph_ps(load256(words));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(load256(words)), 16));
}

template <int exponent_bits>
void sums(const std::uint16_t* words, std::size_t groups, float* square, float* fourth) {
    const __m512 limit = _mm512_set1_ps(1e30f);
    __m512 sum2[2] = {_mm512_loadu_ps(square), _mm512_loadu_ps(square + 16)}, sum4[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    for (; groups > 0; --groups, words += kGroup)
        for (int half = 0; half < 2; ++half) {
            const __m512 v = to_float<exponent_bits>(words + 16 * half), v2 = _mm512_mul_ps(v, v);
            const __m512 counted = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(v2, limit, _CMP_LT_OQ), v2);
            sum2[half] = _mm512_add_ps(sum2[half], counted);
            if (fourth) sum4[half] = _mm512_add_ps(sum4[half], _mm512_mul_ps(counted, counted));
        }
    for (int half = 0; half < 2; ++half) {
        _mm512_storeu_ps(square + 16 * half, sum2[half]);
        if (fourth) _mm512_storeu_ps(fourth + 16 * half, sum4[half]);
    }
}

double total(const float* lanes) {
    __m512d sum = _mm512_cvtps_pd(_mm256_loadu_ps(lanes));
    for (int i = 8; i < 32; i += 8) sum = _mm512_add_pd(sum, _mm512_cvtps_pd(_mm256_loadu_ps(lanes + i)));
    const __m512d pairs = _mm512_add_pd(sum, _mm512_permute_pd(sum, 0x55)), quads = _mm512_add_pd(pairs, _mm512_permutex_pd(pairs, 0x4E));
    return _mm_cvtsd_f64(_mm_add_sd(_mm512_castpd512_pd128(quads), _mm512_extractf64x2_pd(quads, 2)));
}

// Packs the low `bits` bits of 32 lanes, with zeros above, into 4 * bits bytes.
template <int bits>
inline void store_raw(std::uint8_t* raw, __m512i fields) {
    if constexpr (bits == 8) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(raw), _mm512_cvtepi16_epi8(fields));
        return;
    }
    const __m512i low_half = _mm512_set1_epi32(0xFFFF), low_pair = _mm512_set1_epi64(0xFFFFFFFF);
    __m512i packed = _mm512_or_si512(_mm512_and_si512(fields, low_half), _mm512_srli_epi32(_mm512_andnot_si512(low_half, fields), 16 - bits));
    packed = _mm512_or_si512(_mm512_and_si512(packed, low_pair), _mm512_srli_epi64(_mm512_andnot_si512(low_pair, packed), 32 - 2 * bits));
    if constexpr (bits == 6) {  // three bytes of every eight
        alignas(64) static constexpr std::uint8_t kept[64] = {0, 1, 2, 8, 9, 10, 16, 17, 18, 24, 25, 26, 32, 33, 34, 40, 41, 42, 48, 49, 50, 56, 57, 58};
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(raw), _mm512_castsi512_si256(_mm512_permutexvar_epi8(_mm512_load_si512(kept), packed)));
    } else {
        alignas(64) std::uint64_t quads[8];
        _mm512_store_si512(quads, packed);
        for (int pair = 0; pair < 4; ++pair, raw += bits) {
            const unsigned __int128 both = static_cast<unsigned __int128>(quads[2 * pair + 1]) << (4 * bits) | quads[2 * pair];
            __builtin_memcpy(raw, &both, bits);
        }
    }
}

// Selects the bytes of two vectors: those of even numbers, or of odd ones.
inline __m512i bytes_of(__m512i first, __m512i second, bool odd) {
    alignas(64) static constexpr std::uint8_t even[64] = {0,  2,  4,  6,  8,  10, 12, 14, 16, 18, 20, 22,  24,  26,  28,  30,  32,  34,  36,  38,  40,  42,
                                                          44, 46, 48, 50, 52, 54, 56, 58, 60, 62, 64,  66,  68,  70,  72,  74,  76,  78,  80,  82,  84,  86,
                                                          88, 90, 92, 94, 96, 98, 100, 102, 104, 106, 108, 110, 112, 114, 116, 118, 120, 122, 124, 126};
    const __m512i index = _mm512_load_si512(even);
    return _mm512_permutex2var_epi8(first, odd ? _mm512_or_si512(index, _mm512_set1_epi8(1)) : index, second);
}

// Two groups of BF16 words at a time, for tables whose coded symbols are one run.
// Fast: the exponent lies in both bytes of a word, sign and mantissa make the raw byte.
inline __mmask64 split_pair_fast(__m512i u0, __m512i u1, const LaneTable& table, SplitCursor& out) {
    const __m512i low = bytes_of(u0, u1, false), high = bytes_of(u0, u1, true), twice = _mm512_add_epi8(high, high);
    const __m512i field = _mm512_mask_sub_epi8(twice, _mm512_movepi8_mask(low), twice, _mm512_set1_epi8(-1));
    const __mmask64 coded = _mm512_cmplt_epu8_mask(_mm512_sub_epi8(field, _mm512_set1_epi8(static_cast<char>(table.first_coded))), _mm512_set1_epi8(static_cast<char>(table.n_coded)));
    _mm512_storeu_si512(out.symbols, _mm512_maskz_mov_epi8(coded, field));
    _mm512_storeu_si512(out.raw, _mm512_ternarylogic_epi64(_mm512_set1_epi8(0x7F), low, high, 0xCA));  // mask ? low : high
    out.raw += 64;
    return coded;
}

// Balanced: a field is exponent and two bits, six bits are raw: 48 bytes.
inline __mmask64 split_pair_balanced(__m512i u0, __m512i u1, const LaneTable& table, SplitCursor& out) {
    const __m512i first = _mm512_set1_epi16(table.first_coded), n = _mm512_set1_epi16(table.n_coded);
    const __m512i field0 = _mm512_srli_epi16(_mm512_slli_epi16(u0, 1), 6), field1 = _mm512_srli_epi16(_mm512_slli_epi16(u1, 1), 6);
    const __mmask64 coded = _mm512_kunpackd(_mm512_cmplt_epu16_mask(_mm512_sub_epi16(field1, first), n), _mm512_cmplt_epu16_mask(_mm512_sub_epi16(field0, first), n));
    _mm512_storeu_si512(out.symbols, _mm512_maskz_mov_epi8(coded, bytes_of(field0, field1, false)));
    const __m512i low = bytes_of(u0, u1, false), high = bytes_of(u0, u1, true);
    const __m512i raw = _mm512_or_si512(_mm512_and_si512(low, _mm512_set1_epi8(31)), _mm512_and_si512(_mm512_srli_epi16(high, 2), _mm512_set1_epi8(32)));
    const __m512i twelve = _mm512_maddubs_epi16(raw, _mm512_set1_epi16(64 << 8 | 1)), packed = _mm512_madd_epi16(twelve, _mm512_set1_epi32(4096 << 16 | 1));
    alignas(64) static constexpr std::uint8_t kept[64] = {0,  1,  2,  4,  5,  6,  8,  9,  10, 12, 13, 14, 16, 17, 18, 20, 21, 22, 24, 25, 26, 28, 29, 30,
                                                          32, 33, 34, 36, 37, 38, 40, 41, 42, 44, 45, 46, 48, 49, 50, 52, 53, 54, 56, 57, 58, 60, 61, 62};
    _mm512_storeu_si512(out.raw, _mm512_permutexvar_epi8(_mm512_load_si512(kept), packed));  // the last 16 bytes are overwritten by what follows
    out.raw += 48;
    return coded;
}

template <bool fast>
void split_pairs(const std::uint16_t*& words, std::size_t& groups, const RowCode& row, SplitCursor& to) {
    const __m512i addend = _mm512_set1_epi16(static_cast<short>(row.addend));
    SplitCursor out = to;
    for (; groups >= 2; groups -= 2, words += 2 * kGroup) {
        const __m512i u0 = _mm512_sub_epi16(_mm512_loadu_si512(words), addend), u1 = _mm512_sub_epi16(_mm512_loadu_si512(words + kGroup), addend);
        const __mmask64 escapes = ~(fast ? split_pair_fast(u0, u1, *row.table, out) : split_pair_balanced(u0, u1, *row.table, out));
        out.symbols += 2 * kGroup;
        if (__builtin_expect(escapes != 0, 0)) {
            put_escapes<fast, 8>(static_cast<std::uint32_t>(escapes), words, row.addend, out.escapes);
            put_escapes<fast, 8>(static_cast<std::uint32_t>(escapes >> 32), words + kGroup, row.addend, out.escapes);
        }
    }
    to = out;
}

template <bool fast, int exponent_bits>
void split(const std::uint16_t* words, std::size_t groups, const RowCode& row, SplitCursor& to) {
    if constexpr (exponent_bits == 8)
        if (row.table->n_coded > 0) split_pairs<fast>(words, groups, row, to);
    constexpr int low_bits = 15 - exponent_bits - (fast ? 0 : 2);
    const __m512i addend = _mm512_set1_epi16(static_cast<short>(row.addend)), low_mask = _mm512_set1_epi16((1 << low_bits) - 1), sign_bit = _mm512_set1_epi16(1 << low_bits);
    const __m512i symbols = _mm512_set1_epi16(fast ? 16 : 64);
    const __m512i frequency0 = _mm512_load_si512(row.table->frequency), frequency1 = _mm512_load_si512(row.table->frequency + 32);
    SplitCursor out = to;
    for (; groups > 0; --groups, words += kGroup) {
        const __m512i u = _mm512_sub_epi16(_mm512_loadu_si512(words), addend);
        const __m512i field = _mm512_srli_epi16(_mm512_slli_epi16(u, 1), low_bits + 1);
        const __m512i frequency = _mm512_permutex2var_epi16(frequency0, field, frequency1);
        const __mmask32 coded = _mm512_mask_test_epi16_mask(_mm512_mask_cmplt_epu16_mask(_mm512_test_epi16_mask(field, field), field, symbols), frequency, frequency);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out.symbols), _mm512_maskz_cvtepi16_epi8(coded, field));
        store_raw<low_bits + 1>(out.raw, _mm512_or_si512(_mm512_and_si512(u, low_mask), _mm512_and_si512(_mm512_srli_epi16(u, 15 - low_bits), sign_bit)));
        out.symbols += kGroup;
        out.raw += 4 * (low_bits + 1);
        if (__builtin_expect(~coded != 0, 0)) put_escapes<fast, exponent_bits>(~coded, words, row.addend, out.escapes);
    }
    to = out;
}

// Fast. A quotient by multiplication with floor(65536 / f) is exact or 1 too small.
template <int n>
void code_fast(EncodeCursor* cursors, std::size_t groups_per_row) {
    const __m512i one = _mm512_set1_epi16(1);
    alignas(32) static constexpr std::uint8_t counting[32] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
    const __m256i iota = load256(counting);
    __m512i state[n];
    std::uint8_t* words[n];
    const std::uint8_t* symbols[n];
    for (int k = 0; k < n; ++k) {
        const EncodeCursor& c = cursors[k];
        state[k] = _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi32_epi16(_mm512_load_si512(c.states))), _mm512_cvtepi32_epi16(_mm512_load_si512(c.states + 16)), 1);
        words[k] = c.words, symbols[k] = c.symbols;
    }
    const auto any_done = [&] {
        bool done = false;
        for (int k = 0; k < n; ++k) done = done || cursors[k].row == cursors[k].first_row;
        return done;
    };
    while (!any_done()) {
        const LaneTable* table[n];
        __m256i frequencies[n], firsts[n];
        for (int k = 0; k < n; ++k) {
            table[k] = (--cursors[k].row)->table;
            frequencies[k] = broadcast(table[k]->frequency_low);
            firsts[k] = broadcast(table[k]->first);
        }
        for (std::size_t group = groups_per_row; group > 0; --group) {
#pragma GCC unroll 4
            for (int k = 0; k < n; ++k) {
                symbols[k] -= kGroup;
                const __m256i symbol = load256(symbols[k]);
                const __m512i f = _mm512_cvtepu8_epi16(_mm256_shuffle_epi8(frequencies[k], symbol));
                __m512i x = state[k];
                const __mmask32 full = _mm512_cmpge_epu16_mask(x, _mm512_slli_epi16(f, 8));
                const int count = _mm_popcnt_u32(full);  // their low bytes go right below `words`
                const __m256i bytes = _mm256_maskz_compress_epi8(full, _mm512_cvtepi16_epi8(x));
                _mm256_storeu_si256(reinterpret_cast<__m256i*>(words[k] - 32), _mm256_permutexvar_epi8(_mm256_add_epi8(iota, _mm256_set1_epi8(static_cast<char>(count))), bytes));
                words[k] -= count;
                x = _mm512_mask_srli_epi16(x, full, x, 8);

                const __m512i reciprocal = _mm512_permutexvar_epi16(_mm512_cvtepu8_epi16(symbol), _mm512_load_si512(table[k]->reciprocal16));
                __m512i quotient = _mm512_mulhi_epu16(x, reciprocal), rest = _mm512_sub_epi16(x, _mm512_mullo_epi16(quotient, f));
                const __mmask32 small = _mm512_cmpge_epu16_mask(rest, f);
                quotient = _mm512_mask_add_epi16(quotient, small, quotient, one);
                rest = _mm512_mask_sub_epi16(rest, small, rest, f);

                const __m512i index = _mm512_castsi256_si512(_mm256_add_epi8(_mm512_cvtepi16_epi8(rest), _mm256_shuffle_epi8(firsts[k], symbol)));
                const std::uint8_t* slots = table[k]->slot;
                const __m512i low = _mm512_permutex2var_epi8(_mm512_load_si512(slots), index, _mm512_load_si512(slots + 64));
                const __m512i high = _mm512_permutex2var_epi8(_mm512_load_si512(slots + 128), index, _mm512_load_si512(slots + 192));
                const __m256i slot = _mm512_castsi512_si256(_mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low, high));
                state[k] = _mm512_or_si512(_mm512_slli_epi16(quotient, 8), _mm512_cvtepu8_epi16(slot));
            }
        }
    }
    for (int k = 0; k < n; ++k) {
        EncodeCursor& c = cursors[k];
        _mm512_store_si512(c.states, _mm512_cvtepu16_epi32(_mm512_castsi512_si256(state[k])));
        _mm512_store_si512(c.states + 16, _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(state[k], 1)));
        c.words = words[k], c.symbols = symbols[k];
    }
}

inline __m512i look_up_64(const void* table, __m512i index, __mmask16 upper) {
    const auto* part = static_cast<const std::uint32_t*>(table);
    return _mm512_mask_blend_epi32(upper, _mm512_permutex2var_epi32(_mm512_load_si512(part), index, _mm512_load_si512(part + 16)),
                                   _mm512_permutex2var_epi32(_mm512_load_si512(part + 32), index, _mm512_load_si512(part + 48)));
}

// Four slots, each with its neighbour above it, at the four 16-bit indices of a quad.
inline __m128i load_slot_pairs(const std::uint16_t* slots, std::uint64_t quad) {
    __asm__("" : "+r"(quad));  // else GCC takes the indices out of the vector one by one
    const auto pair = [slots, quad](int k) {
        int value;
        __builtin_memcpy(&value, slots + static_cast<std::uint16_t>(quad >> (16 * k)), sizeof value);
        return value;
    };
    return _mm_insert_epi32(_mm_insert_epi32(_mm_insert_epi32(_mm_cvtsi32_si128(pair(0)), pair(1), 1), pair(2), 2), pair(3), 3);
}

// 16 table entries by scalar loads: a block takes a quarter less time than with vpgatherdd, or with indices by way of memory (Zen 5).
inline __m512i load_slots(const std::uint16_t* slots, __m512i index) {
    const __m256i at = _mm512_cvtepi32_epi16(index);
    const auto pairs = [&](__m128i half) {
        const auto low = static_cast<std::uint64_t>(_mm_cvtsi128_si64(half)), high = static_cast<std::uint64_t>(_mm_extract_epi64(half, 1));
        return _mm256_set_m128i(load_slot_pairs(slots, high), load_slot_pairs(slots, low));
    };
    const __m512i all = _mm512_inserti64x4(_mm512_castsi256_si512(pairs(_mm256_castsi256_si128(at))), pairs(_mm256_extracti128_si256(at, 1)), 1);
    return _mm512_and_si512(all, _mm512_set1_epi32(0xFFFF));
}

// Balanced. The reciprocals are 3e-7 too small: no rounding makes a quotient (below 2^20) too large, and none more than 1 too small.
template <int n>
void code_balanced(EncodeCursor* cursors, std::size_t groups_per_row) {
    const __m512i one = _mm512_set1_epi32(1), iota = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i state[n][2];
    std::uint8_t* words[n];
    const std::uint8_t* symbols[n];
    for (int k = 0; k < n; ++k) {
        const EncodeCursor& c = cursors[k];
        state[k][0] = _mm512_load_si512(c.states);
        state[k][1] = _mm512_load_si512(c.states + 16);
        words[k] = c.words, symbols[k] = c.symbols;
    }
    const auto any_done = [&] {
        bool done = false;
        for (int k = 0; k < n; ++k) done = done || cursors[k].row == cursors[k].first_row;
        return done;
    };
    while (!any_done()) {
        const RowCode* row[n];
        for (int k = 0; k < n; ++k) row[k] = --cursors[k].row;
        for (std::size_t group = groups_per_row; group > 0; --group)
            for (int half = 1; half >= 0; --half) {
#pragma GCC unroll 4
                for (int k = 0; k < n; ++k) {
                    symbols[k] -= 16;
                    const __m512i symbol = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(symbols[k])));
                    const __mmask16 upper = _mm512_test_epi32_mask(symbol, _mm512_set1_epi32(32));
                    const __m512i frequency_first = look_up_64(row[k]->table->frequency_first, symbol, upper);
                    const __m512 reciprocal = _mm512_castsi512_ps(look_up_64(row[k]->table->reciprocal, symbol, upper));
                    const __m512i f = _mm512_srli_epi32(frequency_first, 12);
                    __m512i x = half ? state[k][1] : state[k][0];
                    const __mmask16 full = _mm512_cmpge_epu32_mask(x, _mm512_slli_epi32(f, 20));
                    const int count = _mm_popcnt_u32(full);  // their low words go right below `words`
                    const __m512i moved = _mm512_permutexvar_epi32(_mm512_add_epi32(iota, _mm512_set1_epi32(count)), _mm512_maskz_compress_epi32(full, x));
                    _mm256_storeu_si256(reinterpret_cast<__m256i*>(words[k] - 32), _mm512_cvtepi32_epi16(moved));
                    words[k] -= 2 * count;
                    x = _mm512_mask_srli_epi32(x, full, x, 16);

                    __m512i quotient = _mm512_cvttps_epu32(_mm512_mul_ps(_mm512_cvtepu32_ps(x), reciprocal));
                    __m512i rest = _mm512_sub_epi32(x, _mm512_mullo_epi32(quotient, f));
                    const __mmask16 small = _mm512_cmpge_epu32_mask(rest, f);
                    quotient = _mm512_mask_add_epi32(quotient, small, quotient, one);
                    rest = _mm512_mask_sub_epi32(rest, small, rest, f);
                    const __m512i slot = load_slots(row[k]->slot, _mm512_add_epi32(_mm512_and_si512(frequency_first, _mm512_set1_epi32(4095)), rest));
                    const __m512i next = _mm512_or_si512(_mm512_slli_epi32(quotient, 12), slot);
                    if (half)
                        state[k][1] = next;
                    else
                        state[k][0] = next;
                }
            }
    }
    for (int k = 0; k < n; ++k) {
        EncodeCursor& c = cursors[k];
        _mm512_store_si512(c.states, state[k][0]);
        _mm512_store_si512(c.states + 16, state[k][1]);
        c.words = words[k], c.symbols = symbols[k];
    }
}

}  // namespace

FloatEncodeKernels float_encode_avx512(bool fast, int exponent_bits) {
    const bool bf16 = exponent_bits == 8;
    if (fast) return {bf16 ? sums<8> : sums<5>, total, bf16 ? split<true, 8> : split<true, 5>, code_fast<1>, code_fast<2>, code_fast<4>};
    return {bf16 ? sums<8> : sums<5>, total, bf16 ? split<false, 8> : split<false, 5>, code_balanced<1>, code_balanced<2>, code_balanced<4>};
}

}  // namespace tersor
#endif
