// The vector code of codes; see float_rows_kernels.hpp on what such files may include.
#pragma once
#include <cstddef>
#include <cstdint>

#include "tersor/lane_table.hpp"

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
    const std::uint64_t* entries;  // TableSet::entries; with one table, those of this table
    const LaneTable* table;        // the one table; null if there are several
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

// symbols_of_one_table: 16, 32 or 64 if every element has the same table; 0: each has its own, of any number of symbols.
#if defined(__x86_64__)
CodeKernels codes_decode_avx512(int symbols_of_one_table, bool trellis);
CodeKernels codes_decode_avx2(int symbols_of_one_table, bool trellis);
CodeKernels codes_decode_sse41(int symbols_of_one_table, bool trellis);
#elif defined(__aarch64__)
CodeKernels codes_decode_neon(int symbols_of_one_table, bool trellis);
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

// Appends the next n raw bits to an int32; false if there are none or the value leaves int32.
// At least 64 bytes of the payload lie behind the raw bits.
static inline bool append_raw_bits(unsigned n, CodeCursor& c, std::int64_t& value) {
    if (n == 0) return true;
    if (c.n_raw_bits - c.raw_bit < n) return false;
    const std::uint8_t* p = c.raw + c.raw_bit / 8;
    const std::uint32_t window = p[0] | std::uint32_t{p[1]} << 8 | std::uint32_t{p[2]} << 16;
    value = value * (std::int64_t{1} << n) | (window >> (c.raw_bit % 8) & ((1u << n) - 1));
    c.raw_bit += n;
    return value >= INT32_MIN && value <= INT32_MAX;
}

}  // namespace tersor
