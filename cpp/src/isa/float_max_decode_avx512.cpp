// Level max, decoder: AVX-512 with BW, VL, VBMI and VBMI2. Every lane has the entry of a table of its own.
#if defined(__x86_64__)
#include <immintrin.h>

#include "../float_max_kernels.hpp"

namespace tersor {
namespace {

// 32 fields of 5 bits each out of 20 bytes: the two bytes that hold a field, and where in them it begins.
struct FiveBits {
    alignas(64) std::uint8_t places[64];
    alignas(64) std::uint16_t shifts[32];

    constexpr FiveBits() : places(), shifts() {
        for (int l = 0; l < 32; ++l) {
            places[2 * l] = static_cast<std::uint8_t>(5 * l / 8);
            places[2 * l + 1] = static_cast<std::uint8_t>(5 * l / 8 + 1);
            shifts[l] = static_cast<std::uint16_t>(5 * l % 8);
        }
    }
};
constexpr FiveBits kFiveBits;

struct RawOfBF16 {
    __m512i place = _mm512_load_si512(kFiveBits.places), shift = _mm512_load_si512(kFiveBits.shifts);

    __m512i get(const std::uint8_t* raw) const {
        const __m512i bytes = _mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(raw)));
        return _mm512_and_si512(_mm512_srlv_epi16(_mm512_permutexvar_epi8(place, bytes), shift), _mm512_set1_epi16(31));
    }
};

struct RawOfF16 {
    __m512i get(const std::uint8_t* raw) const { return _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(raw))); }
};

// Two entries side by side.
inline __m128i two_entries(const std::uint64_t* entries, const std::uint32_t* index) {
    const auto at = [&](int i) { return reinterpret_cast<const double*>(entries + index[i]); };
    return _mm_castpd_si128(_mm_loadh_pd(_mm_load_sd(at(0)), at(1)));
}

// What _mm512_i32gather_epi64 does, which takes 16.8 cycles on Zen 5 where this takes 8.0, but has the result sooner.
inline __m512i eight_entries(const std::uint64_t* entries, const std::uint32_t* index) {
    const __m256i low = _mm256_set_m128i(two_entries(entries, index + 2), two_entries(entries, index)), high = _mm256_set_m128i(two_entries(entries, index + 6), two_entries(entries, index + 4));
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

// Sixteen lanes: the symbols in 16 bits each. `state` and `words` move on. alone: nothing else is done meanwhile.
template <bool alone>
inline __m256i next_symbols(__m512i& state, const std::uint16_t* first_entry, const std::uint64_t* entries, const std::uint8_t*& words) {
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    const __m512i low12 = _mm512_set1_epi32(4095);
    const __m512i bucket = _mm512_and_si512(_mm512_srli_epi32(state, 5), _mm512_set1_epi32(127)), place = _mm512_and_si512(state, _mm512_set1_epi32(31));
    const __m512i index = _mm512_add_epi32(bucket, _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(first_entry))));
    __m512i entry0, entry1;
    if constexpr (alone) {
        entry0 = _mm512_i32gather_epi64(_mm512_castsi512_si256(index), entries, 8);
        entry1 = _mm512_i32gather_epi64(_mm512_extracti64x4_epi64(index, 1), entries, 8);
    } else {
        alignas(64) std::uint32_t indices[16];
        _mm512_store_si512(indices, index);
        entry0 = eight_entries(entries, indices);
        entry1 = eight_entries(entries, indices + 8);
    }
    const __m512i own = _mm512_permutex2var_epi32(entry0, even, entry1), other = _mm512_permutex2var_epi32(entry0, odd, entry1);
    const __mmask16 aliased = _mm512_cmpge_epu32_mask(place, _mm512_and_si512(own, _mm512_set1_epi32(63)));
    const __m512i frequency = _mm512_and_si512(_mm512_mask_mov_epi32(_mm512_srli_epi32(own, 6), aliased, other), low12);
    const __m512i offset = _mm512_and_si512(_mm512_mask_add_epi32(place, aliased, place, _mm512_srli_epi32(other, 12)), low12);
    const __m512i symbol = _mm512_mask_srli_epi32(bucket, aliased, own, 18);
    const __m512i next = _mm512_add_epi32(_mm512_mullo_epi32(_mm512_srli_epi32(state, 12), frequency), offset);
    const __mmask16 needy = _mm512_cmplt_epu32_mask(next, _mm512_set1_epi32(1 << 16));
    const __m512i fresh = _mm512_maskz_expand_epi32(needy, _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(words))));
    words += 2 * _mm_popcnt_u32(needy);
    state = _mm512_or_si512(_mm512_mask_slli_epi32(next, needy, next, 16), fresh);
    return _mm512_cvtepi32_epi16(symbol);
}

template <int exponent_bits, class Raw, int n>
void decode_rows(MaxDecodeCursor* cursors, const MaxRow* rows, const MaxDecodeJob& job) {
    constexpr int raw_bits = 13 - exponent_bits;
    const Raw raw_fields;
    const __m512i low6 = _mm512_set1_epi16(63);
    __m512i state[n][2], row_addend[n];
    const std::uint8_t *words[n], *raw[n];
    for (int k = 0; k < n; ++k) {
        for (int half = 0; half < 2; ++half) state[k][half] = _mm512_load_si512(cursors[k].states + 16 * half);
        row_addend[k] = _mm512_set1_epi16(static_cast<short>(rows[k].addend));
        words[k] = cursors[k].words, raw[k] = cursors[k].raw;
    }
    for (std::size_t group = 0; group < job.groups; ++group) {
        const std::size_t column = group * kMaxGroup;
#pragma GCC unroll 2
        for (int k = 0; k < n; ++k) {
            const MaxRow& row = rows[k];
            std::uint16_t* out = cursors[k].out + column;
            prefetch_max(raw[k], words[k], out);
            const __m256i symbols0 = next_symbols<n == 1>(state[k][0], row.first_entry + column, job.entries, words[k]);
            const __m256i symbols1 = next_symbols<n == 1>(state[k][1], row.first_entry + column + 16, job.entries, words[k]);
            const __m512i symbol = _mm512_inserti64x4(_mm512_castsi256_si512(symbols0), symbols1, 1);
            const __m512i sign = _mm512_slli_epi16(_mm512_srli_epi16(symbol, 6), 15), field = _mm512_slli_epi16(_mm512_and_si512(symbol, low6), raw_bits);
            const __m512i value = _mm512_or_si512(_mm512_or_si512(sign, field), raw_fields.get(raw[k]));
            const __m512i addend = _mm512_add_epi16(row_addend[k], _mm512_loadu_si512(row.addends + column));
            _mm512_storeu_si512(out, _mm512_add_epi16(value, addend));
            cursors[k].escaped[group] = _mm512_testn_epi16_mask(symbol, symbol);
            raw[k] += 4 * raw_bits;
        }
    }
    for (int k = 0; k < n; ++k) {
        MaxDecodeCursor& c = cursors[k];
        for (int half = 0; half < 2; ++half) _mm512_store_si512(c.states + 16 * half, state[k][half]);
        c.words = words[k], c.raw = raw[k];
        c.out += job.groups * kMaxGroup;
        c.escaped += job.groups;
    }
}

}  // namespace

MaxDecodeKernels max_decode_avx512(int exponent_bits) {
    return exponent_bits == 8 ? MaxDecodeKernels{decode_rows<8, RawOfBF16, 1>, decode_rows<8, RawOfBF16, 2>} : MaxDecodeKernels{decode_rows<5, RawOfF16, 1>, decode_rows<5, RawOfF16, 2>};
}

}  // namespace tersor
#endif
