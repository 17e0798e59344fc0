// Float rows, decoder: vectors of 16 bytes, for SSE4.1 and NEON.
#pragma once
#include "../float_rows_kernels.hpp"
#include "raw_fields_128.hpp"

namespace tersor {
namespace {

// Eight words: field << low_bits | low mantissa bits | sign, plus the row's addend.
template <int low_bits>
inline void store_words(std::uint16_t* out, U16 field, U16 raw, std::uint16_t addend) {
    store(out, ((field << low_bits) | (raw & static_cast<std::uint16_t>((1 << low_bits) - 1)) | (raw >> low_bits << 15)) + addend);
}

template <int exponent_bits>
struct Fast {
    static constexpr int low_bits = 15 - exponent_bits;
    static constexpr std::size_t word_bytes = 32;
    using Raw = RawFields<low_bits + 1>;
    U16 state[4];

    explicit Fast(const std::uint32_t* states) {
        for (int i = 0; i < 4; ++i) state[i] = narrow((U32)load(states + 8 * i), (U32)load(states + 8 * i + 4));
    }
    void save(std::uint32_t* states) const {
        for (int i = 0; i < 4; ++i) store(states + 8 * i, widen_low(state[i])), store(states + 8 * i + 4, widen_high(state[i]));
    }
    // Sixteen symbols from two of the four state vectors.
    U8 symbols(const LaneTable& t, int half, const std::uint8_t*& words) {
        U16* x = state + 2 * half;
        const U8 low = narrow(x[0] & std::uint16_t{255}, x[1] & std::uint16_t{255}), bucket = low >> 4, position = low & std::uint8_t{15};
        const U8 own = (U8)(look_up(load(t.threshold), bucket) > position);
        const U8 symbol = (own & bucket) | (~own & look_up(load(t.alias), bucket));
        const U8 offset = position + (~own & look_up(load(t.adjust_low), bucket)), f = look_up(load(t.frequency_low), symbol);
        next(x[0], widen_low(f), widen_low(offset), words);
        next(x[1], widen_high(f), widen_high(offset), words);
        return symbol;
    }
    static void next(U16& x, U16 f, U16 offset, const std::uint8_t*& words) {
        const U16 y = (x >> 8) * f + offset, hungry = (U16)(y >> 8 == U16{});
        const unsigned mask = bits_of(hungry);
        const U16 word = widen_low(look_up(load_low(words), load_low(kExpansions.bytes[mask])));
        words += __builtin_popcount(mask);
        x = (~hungry & y) | (hungry & (y << 8)) | word;
    }
};

template <int exponent_bits>
struct Balanced {
    static constexpr int low_bits = 15 - exponent_bits - 2;
    static constexpr std::size_t word_bytes = 64;
    using Raw = RawFields<low_bits + 1>;
    U32 state[8];

    explicit Balanced(const std::uint32_t* states) {
        for (int i = 0; i < 8; ++i) state[i] = (U32)load(states + 4 * i);
    }
    void save(std::uint32_t* states) const {
        for (int i = 0; i < 8; ++i) store(states + 4 * i, state[i]);
    }
    U8 symbols(const LaneTable& t, int half, const std::uint8_t*& words) {
        U32* x = state + 4 * half;
        const U16 slot0 = narrow(x[0], x[1]) & std::uint16_t{4095}, slot1 = narrow(x[2], x[3]) & std::uint16_t{4095};
        const U8 position = narrow(slot0 & std::uint16_t{63}, slot1 & std::uint16_t{63}), bucket = narrow(slot0 >> 6, slot1 >> 6);
        const Index64 by_bucket(bucket);
        const U8 own = (U8)(by_bucket.of(t.threshold) > position);
        const U8 symbol = (own & bucket) | (~own & by_bucket.of(t.alias));
        const U8 adjust_low = ~own & by_bucket.of(t.adjust_low), adjust_high = ~own & by_bucket.of(t.adjust_high);
        const Index64 by_symbol(symbol);
        const U8 f_low = by_symbol.of(t.frequency_low), f_high = by_symbol.of(t.frequency_high);
        const U16 offset0 = widen_low(position) + zip_low(adjust_low, adjust_high), offset1 = widen_high(position) + zip_high(adjust_low, adjust_high);
        const U16 f0 = zip_low(f_low, f_high), f1 = zip_high(f_low, f_high);
        next(x[0], widen_low(f0), widen_low(offset0), words);
        next(x[1], widen_high(f0), widen_high(offset0), words);
        next(x[2], widen_low(f1), widen_low(offset1), words);
        next(x[3], widen_high(f1), widen_high(offset1), words);
        return symbol;
    }
    static void next(U32& x, U32 f, U32 offset, const std::uint8_t*& words) {
        const U32 y = (x >> 12) * f + offset, hungry = (U32)(y >> 16 == U32{});
        const unsigned mask = bits_of(hungry);
        const U32 word = (U32)look_up(load_low(words), load(kExpansions.words[mask]));
        words += 2 * __builtin_popcount(mask);
        x = (~hungry & y) | (hungry & (y << 16)) | word;
    }
};

// One stream. Two in lockstep gain little here: the registers do not hold them.
template <class Coder>
void decode(FloatCursor* cursors, const FloatDecodeJob& job) {
    using Raw = typename Coder::Raw;
    const Raw raw_fields;
    FloatCursor& c = *cursors;
    Coder coder(c.states);
    while (const std::size_t groups = common_groups<1, Coder::word_bytes, Raw::bytes>(&c, &c.words, &c.raw, job)) {
        const LaneTable& table = *c.row->table;
        const std::uint16_t addend = c.row->addend;
        advance(c, groups, job);
        const std::uint8_t *words = c.words, *raw = c.raw;
        std::uint16_t* out = c.out;
        for (std::size_t g = 0; g < groups; ++g, out += kGroup) {
            std::uint32_t escaped = 0;
            for (int half = 0; half < 2; ++half) {
                const U8 symbol = coder.symbols(table, half, words);
                store_words<Coder::low_bits>(out + 16 * half, widen_low(symbol), raw_fields.get(raw), addend);
                store_words<Coder::low_bits>(out + 16 * half + 8, widen_high(symbol), raw_fields.get(raw + Raw::bytes / 4), addend);
                raw += Raw::bytes / 2;
                escaped |= bits_of((U8)(symbol == U8{})) << (16 * half);
            }
            c.escaped[g] = escaped;
        }
        c.words = words, c.raw = raw, c.out = out;
        c.escaped += groups;
    }
    coder.save(c.states);
}

inline FloatDecodeKernels kernels_128(bool fast, int exponent_bits) {
    const bool bf16 = exponent_bits == 8;
    if (fast) return {bf16 ? decode<Fast<8>> : decode<Fast<5>>, nullptr, nullptr};
    return {bf16 ? decode<Balanced<8>> : decode<Balanced<5>>, nullptr, nullptr};
}

}  // namespace
}  // namespace tersor
