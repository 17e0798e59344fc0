// Codes of grids, decoder: AVX-512 with BW, VL, VBMI and VBMI2.
#if defined(__x86_64__)
#include <immintrin.h>

#include "codes_decode_loop.hpp"

namespace tersor {
namespace {

// The low and the high half of 16 entries.
struct Entries {
    __m512i low, high;
};

// Entries of one table: permutations of registers.
template <int symbols>
struct EntryTables {
    static constexpr int registers = symbols == 16 ? 1 : symbols / 16;
    __m512i low[registers], high[registers];

    explicit EntryTables(const CodeJob& job) {
        for (int r = 0; r < registers; ++r) {
            alignas(64) std::uint32_t lows[16], highs[16];
            for (int b = 0; b < 16; ++b) {
                const std::uint64_t entry = job.entries[16 * r + b];
                lows[b] = static_cast<std::uint32_t>(entry);
                highs[b] = static_cast<std::uint32_t>(entry >> 32);
            }
            low[r] = _mm512_load_si512(lows);
            high[r] = _mm512_load_si512(highs);
        }
    }
    Entries look_up(__m512i bucket) const { return {pick(low, bucket), pick(high, bucket)}; }

private:
    static __m512i pick(const __m512i* table, __m512i bucket) {
        if constexpr (registers == 1) return _mm512_permutexvar_epi32(bucket, table[0]);
        const __m512i first = _mm512_permutex2var_epi32(table[0], bucket, table[1]);
        if constexpr (registers == 2) return first;
        const __mmask16 upper = _mm512_test_epi32_mask(bucket, _mm512_set1_epi32(32));
        return _mm512_mask_mov_epi32(first, upper, _mm512_permutex2var_epi32(table[2 % registers], bucket, table[3 % registers]));
    }
};

// Entries anywhere. Sixteen loads beat two gathers of eight: 2.5 against 2.0 Gsymbol/s on Zen 5, where gathers are microcode.
template <>
struct EntryTables<0> {
    const std::uint64_t* entries;

    explicit EntryTables(const CodeJob& job) : entries(job.entries) {}
    Entries look_up(__m512i index) const {
        const __m512i evens = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30), odds = _mm512_add_epi32(evens, _mm512_set1_epi32(1));
        alignas(64) std::uint32_t at[16];
        _mm512_store_si512(at, index);
        const __m512i first = load_eight(at), second = load_eight(at + 8);
        return {_mm512_permutex2var_epi32(first, evens, second), _mm512_permutex2var_epi32(first, odds, second)};
    }

private:
    __m128i load_two(const std::uint32_t* at) const {
        return _mm_insert_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(entries + at[0])), static_cast<long long>(entries[at[1]]), 1);
    }
    __m256i load_four(const std::uint32_t* at) const { return _mm256_set_m128i(load_two(at + 2), load_two(at)); }
    __m512i load_eight(const std::uint32_t* at) const { return _mm512_inserti64x4(_mm512_castsi256_si512(load_four(at)), load_four(at + 4), 1); }
};

template <int symbols>
struct CodeTables : EntryTables<symbols> {
    __m128i shift;
    __m512i bucket_mask, position_mask, middle;

    explicit CodeTables(const CodeJob& job)
        : EntryTables<symbols>(job),
          shift(_mm_cvtsi32_si128(job.bucket_shift)),
          bucket_mask(_mm512_set1_epi32(job.symbols - 1)),
          position_mask(_mm512_set1_epi32((1 << job.bucket_shift) - 1)),
          middle(_mm512_set1_epi32(job.symbols / 2)) {}
};

template <int symbols, bool with_trellis>
struct Lanes {
    static constexpr bool one_table = symbols > 0, trellis = with_trellis;
    using Tables = CodeTables<symbols>;
    using Parities = std::uint32_t;  // bit i: whether the code of lane i is odd
    __m512i state[2];

    explicit Lanes(const std::uint32_t* states) : state{_mm512_load_si512(states), _mm512_load_si512(states + 16)} {}
    void save(std::uint32_t* states) const {
        _mm512_store_si512(states, state[0]);
        _mm512_store_si512(states + 16, state[1]);
    }

    // Writes the codes of a group; returns the lanes whose codes are not complete.
    [[gnu::always_inline]] std::uint32_t decode(const Tables& tables, CodePlace& place, Parities& parities) {
        std::uint32_t open = 0, odd_states = 0;
        if constexpr (trellis && !one_table) odd_states = _mm256_test_epi8_mask(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(place.column_states)), _mm256_set1_epi8(1));
        parities = 0;
#pragma GCC unroll 2
        for (int half = 0; half < 2; ++half) {
            const __m512i x = state[half], position = _mm512_and_si512(x, tables.position_mask);
            const __m512i bucket = _mm512_and_si512(_mm512_srl_epi32(x, tables.shift), tables.bucket_mask);
            const Entries entry = tables.look_up(_mm512_add_epi32(bucket, first_entries(place, half, odd_states)));
            const __mmask16 aliased = _mm512_cmpge_epu32_mask(position, _mm512_and_si512(entry.low, _mm512_set1_epi32(511)));
            const __m512i symbol = _mm512_mask_and_epi32(bucket, aliased, _mm512_srli_epi32(entry.low, 9), _mm512_set1_epi32(127));
            const __m512i offset = _mm512_mask_add_epi32(position, aliased, position, _mm512_srai_epi32(entry.low, 16));
            const __m512i frequency = _mm512_and_si512(_mm512_mask_srli_epi32(entry.high, aliased, entry.high, 12), _mm512_set1_epi32(4095));
            state[half] = refilled(_mm512_add_epi32(_mm512_mullo_epi32(_mm512_srli_epi32(x, 12), frequency), offset), place.words);

            const __m512i raw_bits = _mm512_srli_epi32(entry.high, 24);
            _mm512_storeu_si512(place.out + 16 * half, _mm512_sub_epi32(symbol, tables.middle));
            open |= static_cast<std::uint32_t>(_mm512_testn_epi32_mask(symbol, symbol) | _mm512_test_epi32_mask(raw_bits, raw_bits)) << (16 * half);
            if constexpr (trellis) parities |= std::uint32_t{_mm512_test_epi32_mask(symbol, _mm512_set1_epi32(1))} << (16 * half);  // the middle is even
        }
        return open;
    }

    static Parities parities_of(const std::int32_t* codes) {
        const __m512i one = _mm512_set1_epi32(1);
        return _mm512_test_epi32_mask(_mm512_loadu_si512(codes), one) | std::uint32_t{_mm512_test_epi32_mask(_mm512_loadu_si512(codes + 16), one)} << 16;
    }
    static void move_states(std::uint8_t* column_states, Parities parities) {
        const __m256i next_state = _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(kNextState)));
        const __m256i state = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(column_states)), twice = _mm256_add_epi8(state, state);
        const __m256i transition = _mm256_mask_add_epi8(twice, parities, twice, _mm256_set1_epi8(1));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(column_states), _mm256_shuffle_epi8(next_state, transition));
    }

private:
    static __m512i first_entries(const CodePlace& place, int half, std::uint32_t odd_states) {
        if constexpr (one_table) return _mm512_setzero_si512();
        const __m512i even = _mm512_loadu_si512(place.even + 16 * half);
        if constexpr (!trellis) return even;
        return _mm512_mask_loadu_epi32(even, static_cast<__mmask16>(odd_states >> (16 * half)), place.odd + 16 * half);
    }
    // States below the lower bound take the next word.
    static __m512i refilled(__m512i next, const std::uint8_t*& words) {
        const __mmask16 hungry = _mm512_cmplt_epu32_mask(next, _mm512_set1_epi32(1 << 16));
        const __m512i word = _mm512_maskz_expand_epi32(hungry, _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(words))));
        words += 2 * _mm_popcnt_u32(hungry);
        return _mm512_or_si512(_mm512_mask_slli_epi32(next, hungry, next, 16), word);
    }
};

}  // namespace

CodeKernels codes_decode_avx512(int symbols_of_one_table, bool trellis) {
    return trellis ? kernels_of_lanes<Lanes, true>(symbols_of_one_table) : kernels_of_lanes<Lanes, false>(symbols_of_one_table);
}

}  // namespace tersor
#endif
