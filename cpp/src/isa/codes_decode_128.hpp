// Codes of grids, decoder: vectors of 16 bytes, for SSE4.1 and NEON.
#pragma once
#include "codes_decode_loop.hpp"
#include "vectors_128.hpp"

namespace tersor {
namespace {

typedef std::int32_t I32 __attribute__((vector_size(16)));

// A byte table of 16, 32 or 64 symbols.
template <int symbols>
struct Indices : Index64 {
    using Index64::Index64;
};
template <>
struct Indices<16> {
    U8 index;
    explicit Indices(U8 i) : index(i) {}
    U8 of(const std::uint8_t* table) const { return look_up(load(table), index); }
};
#if defined(__aarch64__)
template <>
struct Indices<32> {
    U8 index;
    explicit Indices(U8 i) : index(i) {}
    U8 of(const std::uint8_t* table) const { return (U8)vqtbl2q_u8(uint8x16x2_t{{vld1q_u8(table), vld1q_u8(table + 16)}}, (uint8x16_t)index); }
};
#else
template <>
struct Indices<32> {
    U8 lower, upper;
    explicit Indices(U8 i) : lower(i + std::uint8_t{0x70}), upper((i ^ std::uint8_t{16}) + std::uint8_t{0x70}) {}
    U8 of(const std::uint8_t* table) const { return look_up(load(table), lower) | look_up(load(table + 16), upper); }
};
#endif

// Four states after an element; those below the lower bound take the next word.
inline U32 advanced(U32 x, U32 frequency, U32 offset, const std::uint8_t*& words) {
    const U32 next = (x >> 12) * frequency + offset, hungry = (U32)(next >> 16 == U32{});
    const unsigned mask = bits_of(hungry);
    const U32 word = (U32)look_up(load_low(words), load(kExpansions.words[mask]));
    words += 2 * __builtin_popcount(mask);
    return (~hungry & next) | (hungry & (next << 16)) | word;
}

// Whether codes are odd: byte i is the lowest bit of the code of lane i, other bits any.
struct ParityBytes {
    U8 half[2];
};

struct LaneStates {
    using Parities = ParityBytes;
    U32 state[8];  // lanes 4 i .. 4 i + 3 in state[i]

    explicit LaneStates(const std::uint32_t* states) {
        for (int i = 0; i < 8; ++i) state[i] = (U32)load(states + 4 * i);
    }
    void save(std::uint32_t* states) const {
        for (int i = 0; i < 8; ++i) store(states + 4 * i, state[i]);
    }
    // The low bytes of 16 words, in order.
    static U8 low_bytes(const void* words) {
        const auto* w = static_cast<const std::uint8_t*>(words);
        return narrow(narrow((U32)load(w), (U32)load(w + 16)), narrow((U32)load(w + 32), (U32)load(w + 48)));
    }
    static Parities parities_of(const std::int32_t* codes) { return {{low_bytes(codes), low_bytes(codes + 16)}}; }
    static void move_states(std::uint8_t* column_states, const Parities& parities) {
        const U8 next_state = load(kNextState);
        for (int half = 0; half < 2; ++half) {
            const U8 states = load(column_states + 16 * half);
            store(column_states + 16 * half, look_up(next_state, states + states + (parities.half[half] & std::uint8_t{1})));
        }
    }
};

// One table: in byte shuffles.
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

    std::uint32_t decode(const Tables& tables, CodePlace& place, Parities& parities) {
        std::uint32_t open = tables.always_open;
        for (int half = 0; half < 2; ++half) {
            const U8 symbol = sixteen_symbols(tables.table, state + 4 * half, place.words);
            store_codes(symbol - static_cast<std::uint8_t>(symbols / 2), place.out + 16 * half);
            open |= bits_of((U8)(symbol == U8{})) << (16 * half);
            parities.half[half] = symbol;  // the middle is even
        }
        return open;
    }

private:
    static U8 sixteen_symbols(const LaneTable& t, U32* x, const std::uint8_t*& words) {
        const std::uint16_t in_bucket = (1 << bucket_shift) - 1;
        const U16 slot0 = narrow(x[0], x[1]) & std::uint16_t{4095}, slot1 = narrow(x[2], x[3]) & std::uint16_t{4095};
        const U8 position = narrow(slot0 & in_bucket, slot1 & in_bucket), bucket = narrow(slot0 >> bucket_shift, slot1 >> bucket_shift);
        const Indices<symbols> by_bucket(bucket);
        const U8 aliased = (U8)(position >= by_bucket.of(t.threshold));
        const U8 symbol = (aliased & by_bucket.of(t.alias)) | (~aliased & bucket);
        const U8 adjust_low = aliased & by_bucket.of(t.adjust_low), adjust_high = aliased & by_bucket.of(t.adjust_high);
        const Indices<symbols> by_symbol(symbol);
        const U8 f_low = by_symbol.of(t.frequency_low), f_high = by_symbol.of(t.frequency_high);
        const U16 offset0 = widen_low(position) + zip_low(adjust_low, adjust_high), offset1 = widen_high(position) + zip_high(adjust_low, adjust_high);
        const U16 f0 = zip_low(f_low, f_high), f1 = zip_high(f_low, f_high);
        x[0] = advanced(x[0], widen_low(f0), widen_low(offset0), words);
        x[1] = advanced(x[1], widen_high(f0), widen_high(offset0), words);
        x[2] = advanced(x[2], widen_low(f1), widen_low(offset1), words);
        x[3] = advanced(x[3], widen_high(f1), widen_high(offset1), words);
        return symbol;
    }
    // Sixteen signed bytes as int32.
    static void store_codes(U8 code, std::int32_t* out) {
        const U16 sign_low = zip_low(code, (U8)((I8)code < I8{})), sign_high = zip_high(code, (U8)((I8)code < I8{}));
        store_words(sign_low, out);
        store_words(sign_high, out + 8);
    }
    static void store_words(U16 code, std::int32_t* out) {
        const U16 above = 0 - (code >> 15);
        store(out, __builtin_shufflevector(code, above, 0, 8, 1, 9, 2, 10, 3, 11));
        store(out + 4, __builtin_shufflevector(code, above, 4, 12, 5, 13, 6, 14, 7, 15));
    }
};

// A table for each lane: four entries are loaded at a time.
template <bool with_trellis>
struct Lanes<0, with_trellis> : LaneStates {
    static constexpr bool one_table = false, trellis = with_trellis;
    using LaneStates::LaneStates;
    struct Tables {
        const std::uint64_t* entries;
        int bucket_shift;
        U32 bucket_mask, position_mask;
        std::uint32_t middle;

        explicit Tables(const CodeJob& job)
            : entries(job.entries),
              bucket_shift(job.bucket_shift),
              bucket_mask(U32{} + static_cast<std::uint32_t>(job.symbols - 1)),
              position_mask(U32{} + ((1u << job.bucket_shift) - 1)),
              middle(static_cast<std::uint32_t>(job.symbols / 2)) {}
    };

    std::uint32_t decode(const Tables& tables, CodePlace& place, Parities& parities) {
        std::uint32_t open = 0;
        for (int i = 0; i < 8; ++i) open |= four_codes(tables, place, i) << (4 * i);
        if constexpr (trellis) parities = parities_of(place.out);
        return open;
    }

private:
    // Returns which of the four are not complete.
    unsigned four_codes(const Tables& tables, CodePlace& place, int i) {
        const U32 x = state[i], position = x & tables.position_mask, bucket = (x >> tables.bucket_shift) & tables.bucket_mask;
        const U32 index = first_entries(place, i) + bucket;
        const U64 e01 = {tables.entries[index[0]], tables.entries[index[1]]}, e23 = {tables.entries[index[2]], tables.entries[index[3]]};
        const U32 low = __builtin_shufflevector((U32)e01, (U32)e23, 0, 2, 4, 6), high = __builtin_shufflevector((U32)e01, (U32)e23, 1, 3, 5, 7);
        const U32 aliased = (U32)(position >= (low & 511u));
        const U32 symbol = select(aliased, (low >> 9) & 127u, bucket), offset = position + (aliased & (U32)((I32)low >> 16));
        state[i] = advanced(x, select(aliased, high >> 12, high) & 4095u, offset, place.words);
        store(place.out + 4 * i, symbol - tables.middle);
        return bits_of((U32)(symbol == U32{}) | (U32)(high >> 24 != U32{}));
    }
    static U32 first_entries(const CodePlace& place, int i) {
        const U32 even = (U32)load(place.even + 4 * i);
        if constexpr (!trellis) return even;
        std::uint32_t states;
        __builtin_memcpy(&states, place.column_states + 4 * i, 4);
        const U32 odd_states = 0u - ((U32{states, states >> 8, states >> 16, states >> 24}) & 1u);
        return select(odd_states, (U32)load(place.odd + 4 * i), even);
    }
};

inline CodeKernels code_kernels_128(int symbols_of_one_table, bool trellis) {
    return trellis ? kernels_of_lanes<Lanes, true>(symbols_of_one_table) : kernels_of_lanes<Lanes, false>(symbols_of_one_table);
}

}  // namespace
}  // namespace tersor
