// Level max, encoder: AVX-512 with BW, VL, VBMI and VBMI2.
#if defined(__x86_64__)
#include <immintrin.h>

#include "../float_max_encode_kernels.hpp"

namespace tersor {
namespace {

// Packs the low 5 bits of 32 lanes of 16, with zeros above, into 20 bytes.
inline void store_five_bits(std::uint8_t* raw, __m512i fields) {
    const __m512i ten = _mm512_madd_epi16(fields, _mm512_set1_epi32(32 << 16 | 1));  // of two lanes
    const __m512i low_ten = _mm512_set1_epi64(0x3FF), twenty = _mm512_or_si512(_mm512_and_si512(ten, low_ten), _mm512_slli_epi64(_mm512_srli_epi64(ten, 32), 10));
    const __m256i quads = _mm512_cvtepi64_epi32(twenty);
    const __m256i low_half = _mm256_set1_epi64x(0xFFFFFFFF), forty = _mm256_or_si256(_mm256_and_si256(quads, low_half), _mm256_slli_epi64(_mm256_srli_epi64(quads, 32), 20));
    alignas(32) static constexpr std::uint8_t kept[32] = {0, 1, 2, 3, 4, 8, 9, 10, 11, 12, 16, 17, 18, 19, 20, 24, 25, 26, 27, 28};
    const __m256i packed = _mm256_permutexvar_epi8(_mm256_load_si256(reinterpret_cast<const __m256i*>(kept)), forty);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(raw), packed);  // the last 12 bytes are overwritten by what follows
}

template <int exponent_bits>
void split(const MaxSplitRow& in, MaxSplitCursor& to) {
    constexpr int raw_bits = 13 - exponent_bits;
    const __m512i addend = _mm512_set1_epi16(static_cast<short>(in.row.addend)), raw_mask = _mm512_set1_epi16((1 << raw_bits) - 1), low_byte = _mm512_set1_epi16(255);
    MaxSplitCursor out = to;
    for (std::size_t j = 0; j < in.n; j += kMaxGroup) {
        const __m512i word = _mm512_loadu_si512(in.words + j), subtracted = _mm512_add_epi16(addend, _mm512_loadu_si512(in.row.addends + j));
        const __m512i u = _mm512_sub_epi16(word, subtracted);
        const __m512i x = _mm512_srli_epi16(_mm512_slli_epi16(u, 1), raw_bits + 1), coded_run = _mm512_loadu_si512(in.coded + j);
        const __mmask32 coded = _mm512_cmplt_epu16_mask(_mm512_sub_epi16(x, _mm512_and_si512(coded_run, low_byte)), _mm512_srli_epi16(coded_run, 8));
        const __m512i symbol = _mm512_or_si512(x, _mm512_slli_epi16(_mm512_srli_epi16(u, 15), 6)), first = _mm512_loadu_si512(in.row.first_entry + j);
        _mm512_storeu_si512(out.entries, _mm512_mask_add_epi16(first, coded, first, symbol));
        out.entries += kMaxGroup;
        const __m512i raw = _mm512_and_si512(word, raw_mask);
        if constexpr (raw_bits == 8)
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(out.raw), _mm512_cvtepi16_epi8(raw));
        else
            store_five_bits(out.raw, raw);
        out.raw += 4 * raw_bits;
        for (std::uint32_t escapes = ~coded; __builtin_expect(escapes != 0, 0); escapes &= escapes - 1) {
            const std::size_t k = j + static_cast<std::size_t>(__builtin_ctz(escapes));
            put_max_escape<exponent_bits>(static_cast<std::uint16_t>(in.words[k] - in.row.addends[k] - in.row.addend), out.escapes);
        }
    }
    to = out;
}

// The quads of a vector in general registers. By themselves: GCC would take their halves out of the vector one by one.
struct Quads {
    std::uint64_t at[4];
};
inline Quads quads_of(__m256i v) {
    Quads quads{{static_cast<std::uint64_t>(_mm_cvtsi128_si64(_mm256_castsi256_si128(v))), static_cast<std::uint64_t>(_mm_extract_epi64(_mm256_castsi256_si128(v), 1)),
                 static_cast<std::uint64_t>(_mm_cvtsi128_si64(_mm256_extracti128_si256(v, 1))), static_cast<std::uint64_t>(_mm_extract_epi64(_mm256_extracti128_si256(v, 1), 1))}};
    for (std::uint64_t& quad : quads.at) __asm__("" : "+r"(quad));
    return quads;
}

// Four 32-bit values at four 16-bit indices.
inline __m128i load_four(const std::uint32_t* table, std::uint64_t indices) {
    const auto value = [&](int k) { return static_cast<int>(table[static_cast<std::uint16_t>(indices >> (16 * k))]); };
    return _mm_insert_epi32(_mm_insert_epi32(_mm_insert_epi32(_mm_cvtsi32_si128(value(0)), value(1), 1), value(2), 2), value(3), 3);
}
// Four slots, each with its neighbour above it, at four 32-bit indices.
inline __m128i load_four_slots(const std::uint16_t* slots, std::uint64_t first, std::uint64_t second) {
    const auto pair = [slots](std::uint64_t index) {
        int value;
        __builtin_memcpy(&value, slots + index, sizeof value);
        return value;
    };
    const __m128i two = _mm_insert_epi32(_mm_cvtsi32_si128(pair(static_cast<std::uint32_t>(first))), pair(first >> 32), 1);
    return _mm_insert_epi32(_mm_insert_epi32(two, pair(static_cast<std::uint32_t>(second)), 2), pair(second >> 32), 3);
}
inline __m512i join(__m128i a, __m128i b, __m128i c, __m128i d) { return _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_set_m128i(b, a)), _mm256_set_m128i(d, c), 1); }

inline __m512i load_slots(const std::uint16_t* slots, __m512i index) {
    const Quads low = quads_of(_mm512_castsi512_si256(index)), high = quads_of(_mm512_extracti64x4_epi64(index, 1));
    const __m512i pairs = join(load_four_slots(slots, low.at[0], low.at[1]), load_four_slots(slots, low.at[2], low.at[3]), load_four_slots(slots, high.at[0], high.at[1]),
                               load_four_slots(slots, high.at[2], high.at[3]));
    return _mm512_and_si512(pairs, _mm512_set1_epi32(0xFFFF));
}

// Quotients: x / f in floats of a divisor 3e-7 too great is never too large and at most 1 too small; quotients are below 2^20.
void code(MaxEncodeCursor& cursor, std::size_t groups, const MaxCodes& codes) {
    const __m512i one = _mm512_set1_epi32(1), iota = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512 bias = _mm512_set1_ps(1 - 3e-7f);
    __m512i state[2] = {_mm512_load_si512(cursor.states), _mm512_load_si512(cursor.states + 16)};
    std::uint8_t* words = cursor.words;
    const std::uint16_t* entries = cursor.entries;
    for (; groups > 0; --groups) {
        entries -= kMaxGroup;
#pragma GCC unroll 2
        for (int half = 1; half >= 0; --half) {
            const __m256i entry = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(entries + 16 * half));
            const Quads at = quads_of(entry);
            const __m512i frequency_first = join(load_four(codes.frequency_first, at.at[0]), load_four(codes.frequency_first, at.at[1]), load_four(codes.frequency_first, at.at[2]),
                                                 load_four(codes.frequency_first, at.at[3]));
            const __m512i f = _mm512_srli_epi32(frequency_first, 12);
            __m512i x = state[half];
            const __mmask16 full = _mm512_cmpge_epu32_mask(x, _mm512_slli_epi32(f, 20));
            const int count = _mm_popcnt_u32(full);  // their low words go right below `words`
            const __m512i moved = _mm512_permutexvar_epi32(_mm512_add_epi32(iota, _mm512_set1_epi32(count)), _mm512_maskz_compress_epi32(full, x));
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(words - 32), _mm512_cvtepi32_epi16(moved));
            words -= 2 * count;
            x = _mm512_mask_srli_epi32(x, full, x, 16);

            const __m512 reciprocal = _mm512_div_ps(bias, _mm512_cvtepu32_ps(f));
            __m512i quotient = _mm512_cvttps_epu32(_mm512_mul_ps(_mm512_cvtepu32_ps(x), reciprocal));
            __m512i rest = _mm512_sub_epi32(x, _mm512_mullo_epi32(quotient, f));
            const __mmask16 small = _mm512_cmpge_epu32_mask(rest, f);
            quotient = _mm512_mask_add_epi32(quotient, small, quotient, one);
            rest = _mm512_mask_sub_epi32(rest, small, rest, f);
            const __m512i table = _mm512_slli_epi32(_mm512_srli_epi32(_mm512_cvtepu16_epi32(entry), 7), 12);
            const __m512i index = _mm512_add_epi32(_mm512_or_si512(table, _mm512_and_si512(frequency_first, _mm512_set1_epi32(4095))), rest);
            state[half] = _mm512_or_si512(_mm512_slli_epi32(quotient, 12), load_slots(codes.slots, index));
        }
    }
    _mm512_store_si512(cursor.states, state[0]);
    _mm512_store_si512(cursor.states + 16, state[1]);
    cursor.words = words, cursor.entries = entries;
}

}  // namespace

MaxEncodeKernels max_encode_avx512(int exponent_bits) { return {exponent_bits == 8 ? split<8> : split<5>, code}; }

}  // namespace tersor
#endif
