// What the Huffman encoder and decoder share: the canonical code and the constants of the format.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace tersor::huffman {

constexpr int n_symbols = 256;
// 12 bits, measured on planes of MiniLM and on text: a limit of 11 makes up to 0.3% more bytes for 8% more decode
// speed, 15 saves up to 0.2% but its table (64 KB) no longer fits the first-level cache.
constexpr int max_length = 12;

// First byte of a payload.
constexpr std::uint8_t form_constant = 0;
constexpr std::uint8_t form_one_stream = 1;
constexpr std::uint8_t form_four_streams = 4;

// One bit, 1, follows the last code of a stream, then zeros to the end of the byte: without it a stream that ends with
// zeros would also decode to one symbol more or fewer.
constexpr unsigned end_mark = 1;

// Nibbles of the table of lengths: 0 is one unused symbol, 1..12 a length, and:
constexpr unsigned short_gap = 13;  // one more nibble g: g + 2 unused symbols
constexpr unsigned long_gap = 14;   // two more nibbles g, low first: g + 18 unused symbols
constexpr unsigned short_gap_base = 2;
constexpr unsigned long_gap_base = 18;

using Lengths = std::array<std::uint8_t, n_symbols>;   // 0: the symbol has no code
using Codes = std::array<std::uint16_t, n_symbols>;    // bits in the order they are written, first bit lowest

// Canonical code: shorter codes first, equal lengths by symbol; consecutive numbers, written highest bit first.
Codes canonical_codes(const Lengths& lengths);

// Stream k of n holds the symbols [stream_begin(k), stream_begin(k + 1)).
inline std::size_t stream_begin(std::size_t n_data, unsigned k, unsigned n_streams) {
    const std::size_t whole = n_data / n_streams, rest = n_data % n_streams;
    return whole * k + rest * k / n_streams;
}

}  // namespace tersor::huffman
