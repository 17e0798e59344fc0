// The vector code of float rows: what a decoder or encoder keeps of each stream, and the functions of each instruction set.
// Files that use an instruction set include nothing else that defines functions: an inline function compiled there with that set
// could replace its portable twin in the whole program.
#pragma once
#include <cstddef>
#include <cstdint>

#include "tersor/lane_table.hpp"

namespace tersor {

constexpr std::size_t kGroup = 32;     // elements that vector code takes at a time: one of each lane
constexpr int kSlack = 64;             // vector loads reach at most so far behind the bytes that a group uses

// How the words of a row are coded.
struct RowCode {
    const LaneTable* table;
    const std::uint16_t* slot;  // encoder: AliasTable::slot
    std::uint16_t addend;
};

// One stream of a block on its way through whole rows of whole groups.
struct FloatCursor {
    alignas(64) std::uint32_t states[kGroup];
    const std::uint8_t* words;
    const std::uint8_t* escapes;
    const std::uint8_t* raw;
    std::uint16_t* out;
    const RowCode* row;
    const RowCode* end_row;
    std::size_t group;  // of the row, the next to be decoded
};

// A kernel decodes its N cursors in lockstep until one has no rows left or comes within reach of the payload's end.
// It never reads at or behind `payload_end`. False: an escape is not what an encoder writes.
struct FloatDecodeJob {
    std::size_t groups_per_row;
    const std::uint8_t* payload_end;
};
using FloatDecodeKernel = bool (*)(FloatCursor* cursors, const FloatDecodeJob& job);

struct FloatDecodeKernels {
    FloatDecodeKernel one, two, four;  // by number of streams in lockstep; null if fewer are as fast
};

// Kernels for words with 8 (BF16) or 5 (F16) exponent bits; null members where there are none.
#define TERSOR_FLOAT_DECODE_KERNELS(name) FloatDecodeKernels name(bool fast, int exponent_bits)
#if defined(__x86_64__)
TERSOR_FLOAT_DECODE_KERNELS(float_decode_avx512);
TERSOR_FLOAT_DECODE_KERNELS(float_decode_avx2);
TERSOR_FLOAT_DECODE_KERNELS(float_decode_sse41);
#elif defined(__aarch64__)
TERSOR_FLOAT_DECODE_KERNELS(float_decode_neon);
#endif

// Where the parts of an encoded row go. Vector code may write up to kSlack bytes behind what it produces.
struct SplitCursor {
    std::uint8_t* symbols;
    std::uint8_t* raw;
    std::uint8_t* escapes;
};

// One stream on its way from its last whole row to its first. Words are written below `words`, which moves down.
struct EncodeCursor {
    alignas(64) std::uint32_t states[kGroup];
    const std::uint8_t* symbols;  // behind those still to be coded
    std::uint8_t* words;
    const RowCode* first_row;
    const RowCode* row;  // behind the rows still to be coded
};

struct FloatEncodeKernels {
    // Adds the squares of whole groups to square[lane], and their squares to fourth[lane] unless it is null, in element order.
    // Squares not below 1e30, NaNs among them, count as 0.
    void (*sums)(const std::uint16_t* words, std::size_t groups, float* square, float* fourth);
    void (*split)(const std::uint16_t* words, std::size_t groups, const RowCode& row, SplitCursor& out);
    void (*code_one)(EncodeCursor* cursors, std::size_t groups_per_row);
    void (*code_two)(EncodeCursor* cursors, std::size_t groups_per_row);  // in lockstep, until one has no rows left
    void (*code_four)(EncodeCursor* cursors, std::size_t groups_per_row);
};

#if defined(__x86_64__)
FloatEncodeKernels float_encode_avx512(bool fast, int exponent_bits);
FloatEncodeKernels float_encode_avx2(bool fast, int exponent_bits);
#endif

// ---- shared by the kernels

// Number of groups, at most `wanted`, that a cursor can decode without coming too near to the payload's end.
// word_bytes, escape_bytes: what a group uses of each at most; 0 escape_bytes: the kernel checks each escape.
template <std::size_t word_bytes, std::size_t escape_bytes, std::size_t raw_bytes>
static inline std::size_t safe_groups(const FloatCursor& cursor, const std::uint8_t* payload_end, std::size_t wanted) {
    const auto within = [&](const std::uint8_t* at, std::size_t group_bytes) {
        const auto left = static_cast<std::size_t>(payload_end - at);
        const std::size_t n = left < kSlack ? 0 : (left - kSlack) / group_bytes;
        if (n < wanted) wanted = n;
    };
    within(cursor.words, word_bytes);
    within(cursor.raw, raw_bytes);
    if constexpr (escape_bytes > 0) within(cursor.escapes, escape_bytes);
    return wanted;
}

// Puts the escaped fields of a group of balanced words into `out`; bit l of `mask`: element l is an escape. 5.5 of docs/format.md.
template <int exponent_bits, int low_bits>
static inline bool patch_escapes(std::uint32_t mask, std::uint16_t* out, std::uint16_t addend, const std::uint8_t*& escapes, const std::uint8_t* end) {
    constexpr unsigned field_mask = (4u << exponent_bits) - 1;
    for (; mask != 0; mask &= mask - 1) {
        const int lane = __builtin_ctz(mask);
        if (end - escapes < 2) return false;
        const unsigned first = *escapes++;
        unsigned d = first >> 2;
        if (d == 63) {
            d = *escapes++;
            if (d < 63 || d >> exponent_bits != 0) return false;
        }
        if (d >> exponent_bits != 0) return false;
        const unsigned field = ((0u - d) << 2 | (first & 3)) & field_mask;
        const unsigned u = static_cast<std::uint16_t>(out[lane] - addend);
        out[lane] = static_cast<std::uint16_t>(((u & ~(field_mask << low_bits)) | field << low_bits) + addend);
    }
    return true;
}

// Appends the escapes of a group, the other way round. `words`: of the group.
template <bool fast, int exponent_bits>
static inline void put_escapes(std::uint32_t mask, const std::uint16_t* words, std::uint16_t addend, std::uint8_t*& escapes) {
    for (; mask != 0; mask &= mask - 1) {
        const unsigned u = static_cast<std::uint16_t>(words[__builtin_ctz(mask)] - addend);
        if constexpr (fast) {
            *escapes++ = static_cast<std::uint8_t>(u >> (15 - exponent_bits) & ((1u << exponent_bits) - 1));
        } else {
            const unsigned field = u >> (13 - exponent_bits), d = (0u - (field >> 2)) & ((1u << exponent_bits) - 1);
            *escapes++ = static_cast<std::uint8_t>((d < 63 ? d : 63) << 2 | (field & 3));
            if (d >= 63) *escapes++ = static_cast<std::uint8_t>(d);
        }
    }
}

// The same for fast words, whose escapes are single bytes.
template <int exponent_bits>
static inline bool patch_byte_escapes(std::uint32_t mask, std::uint16_t* out, std::uint16_t addend, const std::uint8_t*& escapes, const std::uint8_t* end) {
    constexpr unsigned field_mask = (1u << exponent_bits) - 1;
    constexpr int low_bits = 15 - exponent_bits;
    for (; mask != 0; mask &= mask - 1) {
        const int lane = __builtin_ctz(mask);
        if (escapes == end || *escapes > field_mask) return false;
        const unsigned u = static_cast<std::uint16_t>(out[lane] - addend);
        out[lane] = static_cast<std::uint16_t>(((u & ~(field_mask << low_bits)) | static_cast<unsigned>(*escapes++) << low_bits) + addend);
    }
    return true;
}

}  // namespace tersor
