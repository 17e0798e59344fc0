// Codes of grids, decoder: AVX2.
#if defined(__x86_64__)
#include <immintrin.h>

#include "codes_decode_loop.hpp"

namespace tersor {
namespace {

// For each set of eight lanes the byte shuffle that hands the next words, in order, to these lanes and 0 to the others.
struct WordShuffles {
    alignas(16) std::uint8_t of[256][16];

    constexpr WordShuffles() : of() {
        for (int mask = 0; mask < 256; ++mask)
            for (int lane = 0, word = 0; lane < 8; ++lane) {
                const bool hungry = mask >> lane & 1;
                of[mask][2 * lane] = static_cast<std::uint8_t>(hungry ? 2 * word : 0x80);
                of[mask][2 * lane + 1] = static_cast<std::uint8_t>(hungry ? 2 * word + 1 : 0x80);
                word += hungry;
            }
    }
};
constexpr WordShuffles kWordShuffles;

inline __m128i load128(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
inline __m128i load_eight(const void* p) { return _mm_loadl_epi64(static_cast<const __m128i*>(p)); }
inline __m256i load256(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline void store256(void* p, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }
inline std::uint32_t mask_of_words(__m256i v) { return static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(v))); }

// States below the lower bound take the next word.
inline __m256i refilled(__m256i next, const std::uint8_t*& words) {
    const __m256i hungry = _mm256_cmpeq_epi32(_mm256_srli_epi32(next, 16), _mm256_setzero_si256());
    const std::uint32_t mask = mask_of_words(hungry);
    const __m256i word = _mm256_cvtepu16_epi32(_mm_shuffle_epi8(load128(words), load128(kWordShuffles.of[mask])));
    words += 2 * _mm_popcnt_u32(mask);
    return _mm256_blendv_epi8(next, _mm256_or_si256(_mm256_slli_epi32(next, 16), word), hungry);
}

// The states of 32 lanes, lanes 8 i .. 8 i + 7 in state[i], and the columns' states of the trellis.
struct LaneStates {
    using Parities = __m256i;  // byte i: the lowest bit of the code of lane i, other bits any
    __m256i state[4];

    explicit LaneStates(const std::uint32_t* states) {
        for (int i = 0; i < 4; ++i) state[i] = load256(states + 8 * i);
    }
    void save(std::uint32_t* states) const {
        for (int i = 0; i < 4; ++i) store256(states + 8 * i, state[i]);
    }
    // The low byte of 32 words in order; their low 16 bits are below 256.
    static __m256i low_bytes(__m256i a, __m256i b, __m256i c, __m256i d) {
        const __m256i bytes = _mm256_packus_epi16(_mm256_packus_epi32(a, b), _mm256_packus_epi32(c, d));
        return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    }
    static Parities parities_of(const std::int32_t* codes) {
        const __m256i one = _mm256_set1_epi32(1);
        return low_bytes(_mm256_and_si256(load256(codes), one), _mm256_and_si256(load256(codes + 8), one), _mm256_and_si256(load256(codes + 16), one),
                         _mm256_and_si256(load256(codes + 24), one));
    }
    static void move_states(std::uint8_t* column_states, Parities parities) {
        const __m256i next_state = _mm256_broadcastsi128_si256(load128(kNextState)), state = load256(column_states);
        const __m256i transition = _mm256_add_epi8(_mm256_add_epi8(state, state), _mm256_and_si256(parities, _mm256_set1_epi8(1)));
        store256(column_states, _mm256_shuffle_epi8(next_state, transition));
    }
};

// A byte table of 16, 32 or 64 symbols as shuffles of 16: each index picks in one of them and gives 0 in the others, where bit 7 of its byte is set.
template <int symbols>
struct Indices {
    static constexpr int parts = symbols / 16;
    __m256i part[parts];

    explicit Indices(__m256i index) {
        if constexpr (parts == 1) part[0] = index;
        else
            for (int p = 0; p < parts; ++p) part[p] = _mm256_add_epi8(_mm256_xor_si256(index, _mm256_set1_epi8(static_cast<char>(16 * p))), _mm256_set1_epi8(0x70));
    }
    __m256i look_up(const std::uint8_t* table) const {
        __m256i found = _mm256_setzero_si256();
#pragma GCC unroll 4
        for (int p = 0; p < parts; ++p) found = _mm256_or_si256(found, _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(load128(table + 16 * p)), part[p]));
        return found;
    }
};

// One table: in byte shuffles. The packed bytes of a group lie in the order of its lanes 0-3 8-11 16-19 24-27 4-7 12-15 20-23 28-31 until the end.
template <int symbols, bool with_trellis>
struct Lanes : LaneStates {
    static constexpr bool one_table = true, trellis = with_trellis;
    static constexpr int bucket_shift = symbols == 16 ? 8 : symbols == 32 ? 7 : 6;
    using LaneStates::LaneStates;
    struct Tables {
        const LaneTable& table;
        std::uint32_t always_open;  // all lanes if there are raw bits

        explicit Tables(const CodeJob& job) : table(*job.table), always_open(job.entries[0] >> 56 ? ~0u : 0u) {}
    };

    [[gnu::always_inline]] std::uint32_t decode(const Tables& tables, CodePlace& place, Parities& parities) {
        const LaneTable& t = tables.table;
        const __m256i low12 = _mm256_set1_epi32(4095), in_bucket = _mm256_set1_epi16((1 << bucket_shift) - 1), zero = _mm256_setzero_si256();
        const __m256i slot0 = _mm256_packus_epi32(_mm256_and_si256(state[0], low12), _mm256_and_si256(state[1], low12));
        const __m256i slot1 = _mm256_packus_epi32(_mm256_and_si256(state[2], low12), _mm256_and_si256(state[3], low12));
        const __m256i position = _mm256_packus_epi16(_mm256_and_si256(slot0, in_bucket), _mm256_and_si256(slot1, in_bucket));
        const __m256i bucket = _mm256_packus_epi16(_mm256_srli_epi16(slot0, bucket_shift), _mm256_srli_epi16(slot1, bucket_shift));
        const Indices<symbols> by_bucket(bucket);
        const __m256i aliased = _mm256_cmpeq_epi8(_mm256_max_epu8(position, by_bucket.look_up(t.threshold)), position);
        const __m256i symbol = _mm256_blendv_epi8(bucket, by_bucket.look_up(t.alias), aliased);
        const __m256i adjust_low = _mm256_and_si256(aliased, by_bucket.look_up(t.adjust_low)), adjust_high = _mm256_and_si256(aliased, by_bucket.look_up(t.adjust_high));
        const Indices<symbols> by_symbol(symbol);
        const __m256i f_low = by_symbol.look_up(t.frequency_low), f_high = by_symbol.look_up(t.frequency_high);

        const __m256i offset0 = _mm256_add_epi16(_mm256_unpacklo_epi8(position, zero), _mm256_unpacklo_epi8(adjust_low, adjust_high));
        const __m256i offset1 = _mm256_add_epi16(_mm256_unpackhi_epi8(position, zero), _mm256_unpackhi_epi8(adjust_low, adjust_high));
        const __m256i f0 = _mm256_unpacklo_epi8(f_low, f_high), f1 = _mm256_unpackhi_epi8(f_low, f_high);
        state[0] = advanced(state[0], _mm256_unpacklo_epi16(f0, zero), _mm256_unpacklo_epi16(offset0, zero), place.words);
        state[1] = advanced(state[1], _mm256_unpackhi_epi16(f0, zero), _mm256_unpackhi_epi16(offset0, zero), place.words);
        state[2] = advanced(state[2], _mm256_unpacklo_epi16(f1, zero), _mm256_unpacklo_epi16(offset1, zero), place.words);
        state[3] = advanced(state[3], _mm256_unpackhi_epi16(f1, zero), _mm256_unpackhi_epi16(offset1, zero), place.words);

        const __m256i ordered = _mm256_permutevar8x32_epi32(symbol, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)), code = _mm256_sub_epi8(ordered, _mm256_set1_epi8(symbols / 2));
        const __m128i low = _mm256_castsi256_si128(code), high = _mm256_extracti128_si256(code, 1);
        store256(place.out, _mm256_cvtepi8_epi32(low));
        store256(place.out + 8, _mm256_cvtepi8_epi32(_mm_srli_si128(low, 8)));
        store256(place.out + 16, _mm256_cvtepi8_epi32(high));
        store256(place.out + 24, _mm256_cvtepi8_epi32(_mm_srli_si128(high, 8)));
        parities = ordered;  // the middle is even
        return static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(ordered, zero))) | tables.always_open;
    }

private:
    static __m256i advanced(__m256i x, __m256i frequency, __m256i offset, const std::uint8_t*& words) {
        return refilled(_mm256_add_epi32(_mm256_mullo_epi32(_mm256_srli_epi32(x, 12), frequency), offset), words);
    }
};

// A table for each lane. Eight loads beat two gathers of four: 1.5 against 1.4 Gsymbol/s on Zen 5.
template <bool with_trellis>
struct Lanes<0, with_trellis> : LaneStates {
    static constexpr bool one_table = false, trellis = with_trellis;
    using LaneStates::LaneStates;
    struct Tables {
        const std::uint64_t* entries;
        __m128i shift;
        __m256i bucket_mask, position_mask, middle;

        explicit Tables(const CodeJob& job)
            : entries(job.entries),
              shift(_mm_cvtsi32_si128(job.bucket_shift)),
              bucket_mask(_mm256_set1_epi32(job.symbols - 1)),
              position_mask(_mm256_set1_epi32((1 << job.bucket_shift) - 1)),
              middle(_mm256_set1_epi32(job.symbols / 2)) {}
    };

    [[gnu::always_inline]] std::uint32_t decode(const Tables& tables, CodePlace& place, Parities& parities) {
        __m256i symbol[4];
        std::uint32_t open = 0;
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
            symbol[i] = next_symbols(tables, place, i, open);
            store256(place.out + 8 * i, _mm256_sub_epi32(symbol[i], tables.middle));
        }
        if constexpr (trellis) parities = low_bytes(symbol[0], symbol[1], symbol[2], symbol[3]);  // the middle is even
        return open;
    }

private:
    __m256i next_symbols(const Tables& tables, CodePlace& place, int i, std::uint32_t& open) {
        const __m256i x = state[i], position = _mm256_and_si256(x, tables.position_mask);
        const __m256i bucket = _mm256_and_si256(_mm256_srl_epi32(x, tables.shift), tables.bucket_mask);
        alignas(32) std::uint32_t at[8];
        store256(at, _mm256_add_epi32(bucket, first_entries(place, i)));
        // Lanes 0 1 4 5 in one, 2 3 6 7 in the other: the shuffles below work in halves and bring them back into order.
        const __m256 entry0 = load_four(tables.entries, at, at + 4), entry1 = load_four(tables.entries, at + 2, at + 6);
        const __m256i low = _mm256_castps_si256(_mm256_shuffle_ps(entry0, entry1, 0x88)), high = _mm256_castps_si256(_mm256_shuffle_ps(entry0, entry1, 0xDD));
        const __m256i own = _mm256_cmpgt_epi32(_mm256_and_si256(low, _mm256_set1_epi32(511)), position);
        const __m256i symbol = _mm256_blendv_epi8(_mm256_and_si256(_mm256_srli_epi32(low, 9), _mm256_set1_epi32(127)), bucket, own);
        const __m256i offset = _mm256_add_epi32(position, _mm256_andnot_si256(own, _mm256_srai_epi32(low, 16)));
        const __m256i frequency = _mm256_and_si256(_mm256_blendv_epi8(_mm256_srli_epi32(high, 12), high, own), _mm256_set1_epi32(4095));
        state[i] = refilled(_mm256_add_epi32(_mm256_mullo_epi32(_mm256_srli_epi32(x, 12), frequency), offset), place.words);
        const __m256i has_raw_bits = _mm256_cmpgt_epi32(high, _mm256_set1_epi32((1 << 24) - 1));
        open |= mask_of_words(_mm256_or_si256(_mm256_cmpeq_epi32(symbol, _mm256_setzero_si256()), has_raw_bits)) << (8 * i);
        return symbol;
    }
    static __m128i load_two(const std::uint64_t* entries, const std::uint32_t* at) {
        return _mm_insert_epi64(load_eight(entries + at[0]), static_cast<long long>(entries[at[1]]), 1);
    }
    static __m256 load_four(const std::uint64_t* entries, const std::uint32_t* low, const std::uint32_t* high) {
        return _mm256_castsi256_ps(_mm256_set_m128i(load_two(entries, high), load_two(entries, low)));
    }
    static __m256i first_entries(const CodePlace& place, int i) {
        const __m256i even = load256(place.even + 8 * i);
        if constexpr (!trellis) return even;
        const __m256i odd_states = _mm256_slli_epi32(_mm256_cvtepu8_epi32(load_eight(place.column_states + 8 * i)), 31);
        return _mm256_castps_si256(_mm256_blendv_ps(_mm256_castsi256_ps(even), _mm256_castsi256_ps(load256(place.odd + 8 * i)), _mm256_castsi256_ps(odd_states)));
    }
};

}  // namespace

CodeKernels codes_decode_avx2(int symbols_of_one_table, bool trellis) {
    return trellis ? kernels_of_lanes<Lanes, true>(symbols_of_one_table) : kernels_of_lanes<Lanes, false>(symbols_of_one_table);
}

}  // namespace tersor
#endif
