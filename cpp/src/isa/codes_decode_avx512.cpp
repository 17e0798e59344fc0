// Codes of grids, decoder: AVX-512 with BW, VL, VBMI and VBMI2.
#if defined(__x86_64__)
#include <immintrin.h>

#include "../codes_kernels.hpp"

namespace tersor {
namespace {

constexpr std::size_t kGroupSize = 32, kMostWordBytes = 64, kReach = 64;

// next[2 * state + code mod 2], the machine of docs/format.md 5.6.
alignas(16) constexpr std::uint8_t kNextState[16] = {0, 2, 5, 7, 1, 3, 6, 4, 2, 0, 4, 6, 3, 1, 7, 5};

// The low and the high half of 16 entries.
struct Entries {
    __m512i low, high;
};

template <bool one_table>
struct Tables;
template <>
struct Tables<false> {
    const std::uint64_t* entries;
    explicit Tables(const CodeJob& job) : entries(job.entries) {}
    Entries look_up(__m512i index) const {
        const __m512i evens = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
        const __m512i a = _mm512_i32gather_epi64(_mm512_castsi512_si256(index), entries, 8), b = _mm512_i32gather_epi64(_mm512_extracti64x4_epi64(index, 1), entries, 8);
        return {_mm512_permutex2var_epi32(a, evens, b), _mm512_permutex2var_epi32(a, _mm512_add_epi32(evens, _mm512_set1_epi32(1)), b)};
    }
};
template <>
struct Tables<true> {
    __m512i low[2], high[2];
    explicit Tables(const CodeJob& job) {
        alignas(64) std::uint32_t lows[32], highs[32];
        for (int b = 0; b < 32; ++b) {
            const std::uint64_t entry = job.entries[b & (job.symbols - 1)];
            lows[b] = static_cast<std::uint32_t>(entry);
            highs[b] = static_cast<std::uint32_t>(entry >> 32);
        }
        for (int half = 0; half < 2; ++half) low[half] = _mm512_load_si512(lows + 16 * half), high[half] = _mm512_load_si512(highs + 16 * half);
    }
    Entries look_up(__m512i index) const { return {_mm512_permutex2var_epi32(low[0], index, low[1]), _mm512_permutex2var_epi32(high[0], index, high[1])}; }
};

inline std::size_t safe_code_groups(const CodeCursor& c, const CodeJob& job) {
    if (c.row == c.end_row) return 0;
    const auto left = static_cast<std::size_t>(job.payload_end - c.words), wanted = job.groups_per_row - c.group;
    const std::size_t n = left < kReach ? 0 : (left - kReach) / kMostWordBytes;
    return n < wanted ? n : wanted;
}

template <bool one_table, bool trellis, int n>
bool decode(CodeCursor* cursors, const CodeJob& job) {
    const Tables<one_table> tables(job);
    const __m128i shift = _mm_cvtsi32_si128(job.bucket_shift);
    const __m512i bucket_mask = _mm512_set1_epi32(job.symbols - 1), position_mask = _mm512_set1_epi32((1 << job.bucket_shift) - 1), middle = _mm512_set1_epi32(job.symbols / 2);
    const __m512i lower = _mm512_set1_epi32(1 << 16), frequency_mask = _mm512_set1_epi32(4095);
    const __m256i next_state = _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(kNextState)));
    __m512i state[n][2];
    const std::uint8_t* words[n];
    bool valid = true;
    for (int k = 0; k < n; ++k) {
        state[k][0] = _mm512_load_si512(cursors[k].states);
        state[k][1] = _mm512_load_si512(cursors[k].states + 16);
        words[k] = cursors[k].words;
    }
    while (valid) {
        std::size_t groups = job.groups_per_row;
        for (int k = 0; k < n; ++k) {
            cursors[k].words = words[k];
            const std::size_t safe = safe_code_groups(cursors[k], job);
            groups = safe < groups ? safe : groups;
        }
        if (groups == 0) break;
        const std::uint32_t *even[n], *odd[n];
        std::uint8_t* columns[n];
        std::int32_t* out[n];
        for (int k = 0; k < n; ++k) {
            CodeCursor& c = cursors[k];
            const std::size_t column = c.group * kGroupSize;
            even[k] = one_table ? nullptr : job.even[c.row] + column;
            odd[k] = one_table || !trellis ? nullptr : job.odd[c.row] + column;
            if (trellis && c.group == 0 && c.row % job.trellis_rows == 0) __builtin_memset(c.trellis, 0, job.groups_per_row * kGroupSize);
            columns[k] = trellis ? c.trellis + column : nullptr;
            out[k] = c.out;
            c.out += groups * kGroupSize;
            c.group += groups;
            if (c.group == job.groups_per_row) c.group = 0, ++c.row;
        }
        for (std::size_t group = 0; group < groups; ++group) {
#pragma GCC unroll 2
            for (int k = 0; k < n; ++k) {
                std::uint32_t odd_states = 0, odd_codes = 0;
                __m256i column_states = _mm256_setzero_si256();
                if constexpr (trellis) {
                    column_states = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(columns[k]));
                    odd_states = _mm256_test_epi8_mask(column_states, _mm256_set1_epi8(1));
                }
#pragma GCC unroll 2
                for (int half = 0; half < 2; ++half) {
                    const __m512i x = state[k][half], bucket = _mm512_and_si512(_mm512_srl_epi32(x, shift), bucket_mask), position = _mm512_and_si512(x, position_mask);
                    __m512i index = bucket;
                    if constexpr (!one_table) {
                        __m512i base = _mm512_loadu_si512(even[k] + 16 * half);
                        if constexpr (trellis) base = _mm512_mask_loadu_epi32(base, static_cast<__mmask16>(odd_states >> (16 * half)), odd[k] + 16 * half);
                        index = _mm512_add_epi32(base, bucket);
                    }
                    const Entries entry = tables.look_up(index);
                    const __mmask16 aliased = _mm512_cmpge_epu32_mask(position, _mm512_and_si512(entry.low, _mm512_set1_epi32(511)));
                    const __m512i symbol = _mm512_mask_and_epi32(bucket, aliased, _mm512_srli_epi32(entry.low, 9), _mm512_set1_epi32(127));
                    const __m512i offset = _mm512_mask_add_epi32(position, aliased, position, _mm512_srai_epi32(entry.low, 16));
                    const __m512i f = _mm512_and_si512(_mm512_mask_srli_epi32(entry.high, aliased, entry.high, 12), frequency_mask);
                    const __m512i next = _mm512_add_epi32(_mm512_mullo_epi32(_mm512_srli_epi32(x, 12), f), offset);
                    const __mmask16 hungry = _mm512_cmplt_epu32_mask(next, lower);
                    const __m512i word = _mm512_maskz_expand_epi32(hungry, _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(words[k]))));
                    words[k] += 2 * _mm_popcnt_u32(hungry);
                    state[k][half] = _mm512_or_si512(_mm512_mask_slli_epi32(next, hungry, next, 16), word);

                    const __m512i code = _mm512_sub_epi32(symbol, middle), raw_bits = _mm512_srli_epi32(entry.high, 24);
                    _mm512_storeu_si512(out[k] + 16 * half, code);
                    std::uint32_t odd_half = _mm512_test_epi32_mask(code, _mm512_set1_epi32(1));
                    const std::uint32_t open = _mm512_testn_epi32_mask(symbol, symbol) | _mm512_test_epi32_mask(raw_bits, raw_bits);
                    if (__builtin_expect(open != 0, 0)) {
                        alignas(64) std::uint32_t symbols[16], bits[16];
                        _mm512_store_si512(symbols, symbol);
                        _mm512_store_si512(bits, raw_bits);
                        valid = complete_codes(open, symbols, bits, out[k] + 16 * half, cursors[k], job.payload_end) && valid;
                        odd_half = _mm512_test_epi32_mask(_mm512_loadu_si512(out[k] + 16 * half), _mm512_set1_epi32(1));
                    }
                    odd_codes |= odd_half << (16 * half);
                }
                if constexpr (trellis) {
                    const __m256i twice = _mm256_add_epi8(column_states, column_states);
                    const __m256i transition = _mm256_mask_add_epi8(twice, odd_codes, twice, _mm256_set1_epi8(1));
                    _mm256_storeu_si256(reinterpret_cast<__m256i*>(columns[k]), _mm256_shuffle_epi8(next_state, transition));
                    columns[k] += kGroupSize;
                    if constexpr (!one_table) odd[k] += kGroupSize;
                }
                if constexpr (!one_table) even[k] += kGroupSize;
                out[k] += kGroupSize;
            }
        }
    }
    for (int k = 0; k < n; ++k) {
        _mm512_store_si512(cursors[k].states, state[k][0]);
        _mm512_store_si512(cursors[k].states + 16, state[k][1]);
        cursors[k].words = words[k];
    }
    return valid;
}

template <bool one_table, bool trellis>
constexpr CodeKernels kKernels{decode<one_table, trellis, 1>, decode<one_table, trellis, 2>};

}  // namespace

CodeKernels codes_decode_avx512(bool one_table, bool trellis) {
    if (one_table) return trellis ? kKernels<true, true> : kKernels<true, false>;
    return trellis ? kKernels<false, true> : kKernels<false, false>;
}

}  // namespace tersor
#endif
