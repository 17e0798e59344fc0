// The vector decoder of codes; see float_rows_kernels.hpp on what such files may include.
#pragma once
#include <cstddef>
#include <cstdint>

namespace tersor {

// One stream on its way through its rows.
struct CodeCursor {
    alignas(64) std::uint32_t states[32];
    const std::uint8_t* words;
    const std::uint8_t* escapes;
    const std::uint8_t* raw;
    std::size_t raw_bit, n_raw_bits;  // the next bit of `raw`, and how many there are
    std::int32_t* out;
    std::size_t row, end_row, group;
    std::uint8_t* trellis;  // state of each column; null for plain codes
};

struct CodeJob {
    const std::uint64_t* entries;  // TableSet::entries
    int symbols, bucket_shift;
    std::size_t groups_per_row, trellis_rows;
    // By row: where the entries of each column's table begin, for even and (trellis only) odd states.
    const std::uint32_t* const* even;
    const std::uint32_t* const* odd;
    const std::uint8_t* payload_end;
};

// Decodes N cursors in lockstep like the kernels of float rows. False: an escape or code that no encoder writes.
using CodeKernel = bool (*)(CodeCursor* cursors, const CodeJob& job);
struct CodeKernels {
    CodeKernel one, two;
};

// one_table: every element has the first table of `entries`, which has 16 or 32 symbols.
#if defined(__x86_64__)
CodeKernels codes_decode_avx512(bool one_table, bool trellis);
#endif

// ---- shared by the kernels

// Reads a zigzag varint of an escape; false if it is malformed, outside of int32 or ends behind `end`. Shortest form, as ByteReader.
static inline bool read_escape(const std::uint8_t*& at, const std::uint8_t* end, std::int64_t& h) {
    std::uint64_t v = 0;
    for (int shift = 0; shift < 35; shift += 7) {
        if (at == end) return false;
        const std::uint8_t byte = *at++;
        if (shift > 0 && byte == 0) return false;
        v |= std::uint64_t{byte & 127u} << shift;
        if (byte < 128) {
            h = static_cast<std::int64_t>(v >> 1) ^ -static_cast<std::int64_t>(v & 1);
            return h >= INT32_MIN && h <= INT32_MAX;
        }
    }
    return false;
}

// Completes the codes of a half group, in order: escapes and raw bits. mask: lanes that have either; symbol 0 is an escape.
// At least 64 bytes of the payload lie behind the raw bits.
static inline bool complete_codes(std::uint32_t mask, const std::uint32_t* symbol, const std::uint32_t* raw_bits, std::int32_t* code, CodeCursor& c, const std::uint8_t* end) {
    for (; mask != 0; mask &= mask - 1) {
        const int lane = __builtin_ctz(mask);
        std::int64_t value = code[lane];
        if (symbol[lane] == 0 && !read_escape(c.escapes, end, value)) return false;
        const unsigned r = raw_bits[lane];
        if (c.n_raw_bits - c.raw_bit < r) return false;
        const std::uint8_t* p = c.raw + c.raw_bit / 8;
        const std::uint32_t window = r == 0 ? 0 : p[0] | std::uint32_t{p[1]} << 8 | std::uint32_t{p[2]} << 16;
        value = value * (std::int64_t{1} << r) | (window >> (c.raw_bit % 8) & ((1u << r) - 1));
        c.raw_bit += r;
        if (value < INT32_MIN || value > INT32_MAX) return false;
        code[lane] = static_cast<std::int32_t>(value);
    }
    return true;
}

}  // namespace tersor
