// Dense blocks of floats as the archive stores them (form 2 of docs/format.md 4.1), written straight into memory that exists.
#pragma once
#include <cstdint>
#include <functional>
#include <span>

#include "tersor/bytes.hpp"
#include "tersor/float_rows.hpp"

namespace tersor {

enum class FloatUnit : std::uint8_t { bf16 = 0, f16 = 1, f32 = 2 };  // the numbers of form 2
constexpr std::size_t size_of(FloatUnit unit) { return unit == FloatUnit::f32 ? 4 : 2; }

// data: rows * columns elements, row by row, little-endian, at any address.
struct FloatBlock {
    ByteSpan data;
    std::size_t rows, columns;
    FloatUnit unit;
};

// Puts the float-row payload of a block's words behind the first `front` bytes of `out`, see encode_float_rows. Empty if there is no room.
using WordEncoder = std::function<std::span<std::uint8_t>(std::span<const std::uint16_t> words, std::size_t front, std::span<std::uint8_t> out)>;

struct FloatBlockOptions {
    std::uint8_t raw_codec;  // its number in the index: the low halves of F32 are stored by it
    bool narrow_rows;        // F32: rows with trailing zeros have a form of their own, so blocks with such rows are left alone
};

// payload: a part of the memory that was given; empty if another form may be smaller (constant, repeated or few values, no gain over raw).
struct EncodedFloatBlock {
    std::span<std::uint8_t> payload;
    std::uint32_t crc;  // CRC-32C of the block's bytes
};

EncodedFloatBlock encode_float_block(const FloatBlock& block, const WordEncoder& encode_words, const FloatBlockOptions& options, std::span<std::uint8_t> out);

// count_float_rows of a block's words.
void count_float_block(const FloatBlock& block, const FloatRowsOptions& options, std::size_t stride, FloatCounts& counts);

// Bytes of memory that a block of so many bytes is given: a payload that needs more would not be worth having.
std::size_t float_block_room(std::size_t n_bytes, std::size_t n_rows);

}  // namespace tersor
