// Float rows, encoder: AVX2 and F16C.
#if defined(__x86_64__)
#include <immintrin.h>

#include "../float_rows_kernels.hpp"

namespace tersor {
namespace {

inline __m128i load128(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
inline __m256i load256(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline void store256(void* p, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }
inline __m256i broadcast(const std::uint8_t* table) { return _mm256_broadcastsi128_si256(load128(table)); }

template <int exponent_bits>
inline __m256 to_float(const std::uint16_t* words) {
    if constexpr (exponent_bits == 5) return _mm256_cvtph_ps(load128(words));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load128(words)), 16));
}

template <int exponent_bits>
void sums(const std::uint16_t* words, std::size_t groups, float* square, float* fourth) {
    const __m256 limit = _mm256_set1_ps(1e30f);
    __m256 sum2[4], sum4[4];
    for (int i = 0; i < 4; ++i) sum2[i] = _mm256_loadu_ps(square + 8 * i), sum4[i] = _mm256_setzero_ps();
    for (; groups > 0; --groups, words += kGroup)
        for (int i = 0; i < 4; ++i) {
            const __m256 v = to_float<exponent_bits>(words + 8 * i), v2 = _mm256_mul_ps(v, v);
            const __m256 counted = _mm256_and_ps(_mm256_cmp_ps(v2, limit, _CMP_LT_OQ), v2);
            sum2[i] = _mm256_add_ps(sum2[i], counted);
            if (fourth) sum4[i] = _mm256_add_ps(sum4[i], _mm256_mul_ps(counted, counted));
        }
    for (int i = 0; i < 4; ++i) {
        _mm256_storeu_ps(square + 8 * i, sum2[i]);
        if (fourth) _mm256_storeu_ps(fourth + 8 * i, sum4[i]);
    }
}

// The low bytes of 32 words, in order; all are below 256 or, with saturation, 255.
inline __m256i pack_words(__m256i low, __m256i high) { return _mm256_permute4x64_epi64(_mm256_packus_epi16(low, high), 0xD8); }

// Packs the low `bits` bits of 16 lanes, with zeros above, into 2 * bits bytes.
template <int bits>
inline void store_raw(std::uint8_t* raw, __m256i fields) {
    const __m256i low_half = _mm256_set1_epi32(0xFFFF), low_pair = _mm256_set1_epi64x(0xFFFFFFFF);
    __m256i packed = _mm256_or_si256(_mm256_and_si256(fields, low_half), _mm256_srli_epi32(_mm256_andnot_si256(low_half, fields), 16 - bits));
    packed = _mm256_or_si256(_mm256_and_si256(packed, low_pair), _mm256_srli_epi64(_mm256_andnot_si256(low_pair, packed), 32 - 2 * bits));
    alignas(32) std::uint64_t quads[4];
    store256(quads, packed);
    for (int pair = 0; pair < 2; ++pair, raw += bits) {
        const unsigned __int128 both = static_cast<unsigned __int128>(quads[2 * pair + 1]) << (4 * bits) | quads[2 * pair];
        __builtin_memcpy(raw, &both, bits);
    }
}

// 255 where a field (saturated to a byte) is a symbol.
template <bool fast>
inline __m256i is_coded(const LaneTable& table, __m256i field) {
    if constexpr (fast) {
        const __m256i small = _mm256_cmpeq_epi8(_mm256_min_epu8(field, _mm256_set1_epi8(15)), field);
        return _mm256_and_si256(small, _mm256_shuffle_epi8(broadcast(table.coded), field));
    }
    __m256i coded = _mm256_setzero_si256();
    for (int quarter = 0; quarter < 4; ++quarter) {  // adding 112 with saturation sets bit 7 of all other fields
        const __m256i index = _mm256_adds_epu8(_mm256_xor_si256(field, _mm256_set1_epi8(static_cast<char>(16 * quarter))), _mm256_set1_epi8(0x70));
        coded = _mm256_or_si256(coded, _mm256_shuffle_epi8(broadcast(table.coded + 16 * quarter), index));
    }
    return coded;
}

template <bool fast, int exponent_bits>
void split(const std::uint16_t* words, std::size_t groups, const RowCode& row, SplitCursor& to) {
    constexpr int low_bits = 15 - exponent_bits - (fast ? 0 : 2);
    const __m256i addend = _mm256_set1_epi16(static_cast<short>(row.addend)), low_mask = _mm256_set1_epi16((1 << low_bits) - 1), sign_bit = _mm256_set1_epi16(1 << low_bits);
    SplitCursor out = to;
    for (; groups > 0; --groups, words += kGroup) {
        __m256i field[2], raw[2];
        for (int half = 0; half < 2; ++half) {
            const __m256i u = _mm256_sub_epi16(load256(words + 16 * half), addend);
            field[half] = _mm256_srli_epi16(_mm256_slli_epi16(u, 1), low_bits + 1);
            raw[half] = _mm256_or_si256(_mm256_and_si256(u, low_mask), _mm256_and_si256(_mm256_srli_epi16(u, 15 - low_bits), sign_bit));
        }
        const __m256i fields = pack_words(field[0], field[1]), coded = is_coded<fast>(*row.table, fields);
        store256(out.symbols, _mm256_and_si256(fields, coded));
        if constexpr (low_bits == 7) {
            store256(out.raw, pack_words(raw[0], raw[1]));
        } else {
            store_raw<low_bits + 1>(out.raw, raw[0]);
            store_raw<low_bits + 1>(out.raw + 2 * (low_bits + 1), raw[1]);
        }
        out.symbols += kGroup;
        out.raw += 4 * (low_bits + 1);
        const auto escaped = ~static_cast<std::uint32_t>(_mm256_movemask_epi8(coded));
        if (__builtin_expect(escaped != 0, 0)) put_escapes<fast, exponent_bits>(escaped, words, row.addend, out.escapes);
    }
    to = out;
}

// Byte shuffles that move the words of a mask's lanes, in order, to the upper end of eight.
struct Compressions {
    alignas(64) std::uint8_t bytes[256][8];
    alignas(64) std::uint8_t words[256][16];
};
constexpr Compressions make_compressions() {
    Compressions c{};
    for (int mask = 0; mask < 256; ++mask) {
        int at = 8;
        for (int lane = 7; lane >= 0; --lane)
            if (mask >> lane & 1) {
                --at;
                c.bytes[mask][at] = static_cast<std::uint8_t>(lane);
                c.words[mask][2 * at] = static_cast<std::uint8_t>(2 * lane);
                c.words[mask][2 * at + 1] = static_cast<std::uint8_t>(2 * lane + 1);
            }
        for (; at > 0; --at) c.bytes[mask][at - 1] = c.words[mask][2 * at - 1] = c.words[mask][2 * at - 2] = 0x80;
    }
    return c;
}
constexpr Compressions kCompressions = make_compressions();

template <int n>
bool any_done(const EncodeCursor* cursors) {
    bool done = false;
    for (int k = 0; k < n; ++k) done = done || cursors[k].row == cursors[k].first_row;
    return done;
}

// Fast. A quotient by multiplication with floor(65536 / f) is exact or 1 too small. state[0]: lanes 0-15, state[1]: 16-31.
template <int n>
void code_fast(EncodeCursor* cursors, std::size_t groups_per_row) {
    const __m256i low_byte = _mm256_set1_epi16(255);
    __m256i state[n][2];
    std::uint8_t* words[n];
    const std::uint8_t* symbols[n];
    for (int k = 0; k < n; ++k) {
        const std::uint32_t* s = cursors[k].states;
        for (int half = 0; half < 2; ++half, s += 16)
            state[k][half] = _mm256_set_m128i(_mm_packus_epi32(load128(s + 8), load128(s + 12)), _mm_packus_epi32(load128(s), load128(s + 4)));
        words[k] = cursors[k].words, symbols[k] = cursors[k].symbols;
    }
    while (!any_done<n>(cursors)) {
        const LaneTable* table[n];
        for (int k = 0; k < n; ++k) table[k] = (--cursors[k].row)->table;
        for (std::size_t group = groups_per_row; group > 0; --group)
            for (int half = 1; half >= 0; --half) {
#pragma GCC unroll 2
                for (int k = 0; k < n; ++k) {
                    symbols[k] -= 16;
                    const LaneTable& t = *table[k];
                    const __m128i symbol = load128(symbols[k]);
                    const __m256i f = _mm256_cvtepu8_epi16(_mm_shuffle_epi8(load128(t.frequency_low), symbol));
                    __m256i x = state[k][half];
                    const __m256i full = _mm256_cmpeq_epi16(_mm256_max_epu16(_mm256_srli_epi16(x, 8), f), _mm256_srli_epi16(x, 8));
                    const __m128i mask_bytes = _mm_packs_epi16(_mm256_castsi256_si128(full), _mm256_extracti128_si256(full, 1));
                    const auto mask = static_cast<std::uint32_t>(_mm_movemask_epi8(mask_bytes));
                    const __m256i low = _mm256_and_si256(x, low_byte);
                    const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
                    const auto put = [&](__m128i eight, std::uint32_t lanes) {
                        const __m128i place = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(kCompressions.bytes[lanes]));
                        _mm_storel_epi64(reinterpret_cast<__m128i*>(words[k] - 8), _mm_shuffle_epi8(eight, place));
                        words[k] -= _mm_popcnt_u32(lanes);
                    };
                    put(_mm_srli_si128(bytes, 8), mask >> 8);
                    put(bytes, mask & 255);
                    x = _mm256_blendv_epi8(x, _mm256_srli_epi16(x, 8), full);

                    const __m128i r_low = _mm_shuffle_epi8(load128(t.reciprocal_low), symbol), r_high = _mm_shuffle_epi8(load128(t.reciprocal_high), symbol);
                    const __m256i reciprocal = _mm256_set_m128i(_mm_unpackhi_epi8(r_low, r_high), _mm_unpacklo_epi8(r_low, r_high));
                    __m256i quotient = _mm256_mulhi_epu16(x, reciprocal), rest = _mm256_sub_epi16(x, _mm256_mullo_epi16(quotient, f));
                    const __m256i small = _mm256_cmpeq_epi16(_mm256_max_epu16(rest, f), rest);
                    quotient = _mm256_sub_epi16(quotient, small);
                    rest = _mm256_sub_epi16(rest, _mm256_and_si256(small, f));

                    alignas(16) std::uint8_t index[16], slot[16];
                    const __m128i rests = _mm_packus_epi16(_mm256_castsi256_si128(rest), _mm256_extracti128_si256(rest, 1));
                    _mm_store_si128(reinterpret_cast<__m128i*>(index), _mm_add_epi8(rests, _mm_shuffle_epi8(load128(t.first), symbol)));
                    for (int l = 0; l < 16; ++l) slot[l] = t.slot[index[l]];
                    state[k][half] = _mm256_or_si256(_mm256_slli_epi16(quotient, 8), _mm256_cvtepu8_epi16(_mm_load_si128(reinterpret_cast<const __m128i*>(slot))));
                }
            }
    }
    for (int k = 0; k < n; ++k) {
        std::uint32_t* s = cursors[k].states;
        for (int half = 0; half < 2; ++half, s += 16) {
            store256(s, _mm256_cvtepu16_epi32(_mm256_castsi256_si128(state[k][half])));
            store256(s + 8, _mm256_cvtepu16_epi32(_mm256_extracti128_si256(state[k][half], 1)));
        }
        cursors[k].words = words[k], cursors[k].symbols = symbols[k];
    }
}

// Unsigned 32 bits to float, rounded once: both halves are exact.
inline __m256 unsigned_to_float(__m256i x) {
    const __m256 high = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_srli_epi32(x, 16)), _mm256_set1_ps(65536.0f));
    return _mm256_add_ps(high, _mm256_cvtepi32_ps(_mm256_and_si256(x, _mm256_set1_epi32(0xFFFF))));
}

// Balanced. The reciprocals are 3e-7 too small: no rounding makes a quotient (below 2^20) too large, and none more than 1 too small.
template <int n>
void code_balanced(EncodeCursor* cursors, std::size_t groups_per_row) {
    __m256i state[n][4];
    std::uint8_t* words[n];
    const std::uint8_t* symbols[n];
    for (int k = 0; k < n; ++k) {
        for (int i = 0; i < 4; ++i) state[k][i] = load256(cursors[k].states + 8 * i);
        words[k] = cursors[k].words, symbols[k] = cursors[k].symbols;
    }
    while (!any_done<n>(cursors)) {
        const RowCode* row[n];
        for (int k = 0; k < n; ++k) row[k] = --cursors[k].row;
        for (std::size_t group = groups_per_row; group > 0; --group)
            for (int i = 3; i >= 0; --i) {
#pragma GCC unroll 2
                for (int k = 0; k < n; ++k) {
                    symbols[k] -= 8;
                    const LaneTable& t = *row[k]->table;
                    const __m256i symbol = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(symbols[k])));
                    const __m256i frequency_first = _mm256_i32gather_epi32(reinterpret_cast<const int*>(t.frequency_first), symbol, 4);
                    const __m256 reciprocal = _mm256_i32gather_ps(t.reciprocal, symbol, 4);
                    const __m256i f = _mm256_srli_epi32(frequency_first, 12);
                    __m256i x = state[k][i];
                    const __m256i room = _mm256_cmpgt_epi32(f, _mm256_srli_epi32(x, 20));  // the others are full
                    const auto mask = ~static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(room))) & 255;
                    const __m256i low = _mm256_and_si256(x, _mm256_set1_epi32(0xFFFF));
                    const __m128i low_words = _mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
                    _mm_storeu_si128(reinterpret_cast<__m128i*>(words[k] - 16), _mm_shuffle_epi8(low_words, load128(kCompressions.words[mask])));
                    words[k] -= 2 * _mm_popcnt_u32(mask);
                    x = _mm256_blendv_epi8(_mm256_srli_epi32(x, 16), x, room);

                    __m256i quotient = _mm256_cvttps_epi32(_mm256_mul_ps(unsigned_to_float(x), reciprocal));
                    __m256i rest = _mm256_sub_epi32(x, _mm256_mullo_epi32(quotient, f));
                    const __m256i exact = _mm256_cmpgt_epi32(f, rest);  // the others are 1 too small
                    quotient = _mm256_sub_epi32(quotient, _mm256_andnot_si256(exact, _mm256_set1_epi32(-1)));
                    rest = _mm256_sub_epi32(rest, _mm256_andnot_si256(exact, f));

                    alignas(32) std::uint32_t index[8];
                    alignas(32) std::uint32_t slot[8];
                    store256(index, _mm256_add_epi32(_mm256_and_si256(frequency_first, _mm256_set1_epi32(4095)), rest));
                    for (int l = 0; l < 8; ++l) slot[l] = row[k]->slot[index[l]];
                    state[k][i] = _mm256_or_si256(_mm256_slli_epi32(quotient, 12), load256(slot));
                }
            }
    }
    for (int k = 0; k < n; ++k) {
        for (int i = 0; i < 4; ++i) store256(cursors[k].states + 8 * i, state[k][i]);
        cursors[k].words = words[k], cursors[k].symbols = symbols[k];
    }
}

}  // namespace

FloatEncodeKernels float_encode_avx2(bool fast, int exponent_bits) {
    const bool bf16 = exponent_bits == 8;
    if (fast) return {bf16 ? sums<8> : sums<5>, nullptr, bf16 ? split<true, 8> : split<true, 5>, code_fast<1>, code_fast<2>, nullptr};
    return {bf16 ? sums<8> : sums<5>, nullptr, bf16 ? split<false, 8> : split<false, 5>, code_balanced<1>, code_balanced<2>, nullptr};
}

}  // namespace tersor
#endif
