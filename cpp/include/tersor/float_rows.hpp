// Lossless coding of 16-bit floats whose rows share a scale: docs/format.md 5.5.
#pragma once
#include <array>
#include <cstdint>
#include <span>

#include "tersor/alias_table.hpp"
#include "tersor/bytes.hpp"
#include "tersor/status.hpp"

namespace tersor {

struct FloatFormat {
    int exponent_bits, mantissa_bits, bias;
};
constexpr FloatFormat kBF16{8, 7, 127};
constexpr FloatFormat kF16{5, 10, 15};

enum class FloatCoder : std::uint8_t { balanced = 0, fast = 1 };
constexpr std::size_t kFloatTables = 16;  // 4 shape classes x 4 quarters of an octave
constexpr int kMinClass = -32768, kMaxClass = 32767;

// Histograms from which the tables of a file are made.
struct FloatCounts {
    std::array<std::array<std::uint64_t, 64>, kFloatTables> balanced{};
    std::array<std::array<std::uint64_t, 16>, kFloatTables> fast{};
    std::array<std::uint64_t, 64> row_classes{};
};

struct FloatRowsOptions {
    FloatFormat format;
    std::size_t row_length;  // > 0
    std::size_t n_streams;   // 1 .. 8
    std::size_t lanes;       // 1, 2, 4 .. 32
};

// Adds the words and the class of every `stride`-th row (a power of two), with that weight, to `counts`.
void count_float_rows(std::span<const std::uint16_t> words, const FloatRowsOptions& options, std::size_t stride, FloatCounts& counts);

// The float-row payload for `words`. `tables` is the float12 or float8 set, of 16 tables; all tables must have an escape.
Bytes encode_float_rows(std::span<const std::uint16_t> words, FloatCoder coder, const FloatRowsOptions& options, const TableSet& tables, const AliasTable& class_table);

// The same into memory that exists: the payload is put somewhere behind the first `front` bytes of `out`, which are left alone, and returned as a part of it.
// Empty if `out` is too short for it; float_rows_bound bytes and `front` suffice. Bytes of `out` around the payload may be overwritten.
std::span<std::uint8_t> encode_float_rows(std::span<const std::uint16_t> words, FloatCoder coder, const FloatRowsOptions& options, const TableSet& tables, const AliasTable& class_table,
                                          std::size_t front, std::span<std::uint8_t> out);
std::size_t float_rows_bound(std::size_t n_words, const FloatRowsOptions& options);

// Fills `words` from a payload; `balanced` and `fast` may be null when the file has no such set.
Status decode_float_rows(ByteSpan payload, FloatFormat format, const TableSet* balanced, const TableSet* fast, const AliasTable& class_table, std::span<std::uint16_t> words);

}  // namespace tersor
