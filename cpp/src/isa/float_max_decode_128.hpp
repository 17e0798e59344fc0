// Level max, decoder: vectors of 16 bytes, for SSE4.1 and NEON. Every lane has the entry of a table of its own.
#pragma once
#include "../float_max_kernels.hpp"
#include "raw_fields_128.hpp"

namespace tersor {
namespace {

// Four lanes: the symbols. `state` and `words` move on. index: where the entries of the four lie.
inline U32 four_symbols(U32& state, U32 bucket, U32 index, const std::uint64_t* entries, const std::uint8_t*& words) {
    const U32 place = state & 31u;
    const U64 e01 = {entries[index[0]], entries[index[1]]}, e23 = {entries[index[2]], entries[index[3]]};
    const U32 own = __builtin_shufflevector((U32)e01, (U32)e23, 0, 2, 4, 6), other = __builtin_shufflevector((U32)e01, (U32)e23, 1, 3, 5, 7);
    const U32 is_own = (U32)((own & 63u) > place);
    const U32 frequency = select(is_own, own >> 6, other) & 4095u;
    const U32 offset = (place + (~is_own & (other >> 12))) & 4095u;
    const U32 next = (state >> 12) * frequency + offset, hungry = (U32)(next >> 16 == U32{});
    const unsigned mask = bits_of(hungry);
    const U32 word = (U32)look_up(load_low(words), load(kExpansions.words[mask]));
    words += 2 * __builtin_popcount(mask);
    state = select(hungry, next << 16, next) | word;
    return select(is_own, bucket, own >> 18);
}

// Eight lanes: two of the state vectors.
inline U16 eight_symbols(U32* state, const std::uint16_t* first_entry, const std::uint64_t* entries, const std::uint8_t*& words) {
    const U16 first = (U16)load(first_entry);
    const U32 bucket0 = (state[0] >> 5) & 127u, bucket1 = (state[1] >> 5) & 127u;
    const U32 symbols0 = four_symbols(state[0], bucket0, bucket0 + widen_low(first), entries, words);
    const U32 symbols1 = four_symbols(state[1], bucket1, bucket1 + widen_high(first), entries, words);
    return narrow(symbols0, symbols1);
}

template <int exponent_bits>
void decode_row(MaxDecodeCursor* cursor, const MaxRow* row, const MaxDecodeJob& job) {
    constexpr int raw_bits = 13 - exponent_bits;
    const RawFields<raw_bits> raw_fields;
    MaxDecodeCursor& c = *cursor;
    U32 state[8];
    for (int i = 0; i < 8; ++i) state[i] = (U32)load(c.states + 4 * i);
    const std::uint8_t *words = c.words, *raw = c.raw;
    for (std::size_t group = 0; group < job.groups; ++group) {
        std::uint32_t escaped = 0;
        prefetch_max(raw, words, c.out + group * kMaxGroup);
        for (int quarter = 0; quarter < 4; ++quarter, raw += raw_bits) {
            const std::size_t column = group * kMaxGroup + 8 * static_cast<std::size_t>(quarter);
            const U16 symbol = eight_symbols(state + 2 * quarter, row->first_entry + column, job.entries, words);
            const U16 value = (symbol >> 6 << 15) | ((symbol & std::uint16_t{63}) << raw_bits) | raw_fields.get(raw);
            store(c.out + column, value + (U16)load(row->addends + column) + row->addend);
            escaped |= bits_of((U16)(symbol == U16{})) << (8 * quarter);
        }
        c.escaped[group] = escaped;
    }
    for (int i = 0; i < 8; ++i) store(c.states + 4 * i, state[i]);
    c.words = words, c.raw = raw;
    c.out += job.groups * kMaxGroup;
    c.escaped += job.groups;
}

inline MaxDecodeKernels max_kernels_128(int exponent_bits) {
    return {exponent_bits == 8 ? decode_row<8> : decode_row<5>, nullptr};
}

}  // namespace
}  // namespace tersor
