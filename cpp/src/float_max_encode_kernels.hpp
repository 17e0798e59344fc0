// The encoder's vector code for level max. As in float_rows_kernels.hpp, files of an instruction set include nothing else that defines functions.
#pragma once
#include <cstddef>
#include <cstdint>

#include "float_max_kernels.hpp"

namespace tersor {

// A row on its way into symbols and raw bits. Vector code may write up to kMaxSlack bytes behind what it produces.
struct MaxSplitRow {
    const std::uint16_t* words;
    MaxRow row;
    const std::uint16_t* coded;  // of each column: the first exponent field with symbols of its own, and how many have them, in the upper byte
    std::size_t n;
};
struct MaxSplitCursor {
    std::uint16_t* entries;  // of each word, among those of all tables; an escape has its table's first
    std::uint8_t* raw;
    std::uint8_t* escapes;
};
// Takes whole groups.
using MaxSplitKernel = void (*)(const MaxSplitRow& row, MaxSplitCursor& out);

// What a symbol is coded with, by entry: frequency << 12 | first slot; the slots of all tables, 4,096 each, and one more.
struct MaxCodes {
    const std::uint32_t* frequency_first;
    const std::uint16_t* slots;
};
// A stream on its way from its last whole group to its first; words are written below `words`.
struct MaxEncodeCursor {
    alignas(64) std::uint32_t states[kMaxGroup];
    const std::uint16_t* entries;  // behind those still to be coded
    std::uint8_t* words;
};
using MaxCodeKernel = void (*)(MaxEncodeCursor& cursor, std::size_t groups, const MaxCodes& codes);

struct MaxEncodeKernels {
    MaxSplitKernel split;
    MaxCodeKernel code;
};

#if defined(__x86_64__)
MaxEncodeKernels max_encode_avx512(int exponent_bits);
#endif

// ---- shared by the kernels

// Writes the escape of a word from which all has been subtracted.
template <int exponent_bits>
static inline void put_max_escape(std::uint16_t u, std::uint8_t*& escapes) {
    const unsigned x = u >> (13 - exponent_bits) & ((4u << exponent_bits) - 1), d = (0u - (x >> 2)) & ((1u << exponent_bits) - 1);
    *escapes++ = static_cast<std::uint8_t>((d < 31 ? d : 31) << 3 | static_cast<unsigned>(u >> 15) << 2 | (x & 3));
    if (d >= 31) *escapes++ = static_cast<std::uint8_t>(d);
}

}  // namespace tersor
