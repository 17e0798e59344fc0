// Lossless coding of 16-bit floats at level max: rows and columns have scales, columns a sign and a skew too; docs/format.md 5.5.2.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "tersor/alias_table.hpp"
#include "tersor/bytes.hpp"
#include "tersor/float_rows.hpp"
#include "tersor/status.hpp"

namespace tersor {

constexpr std::size_t kMaxSymbols = 128;
constexpr std::size_t kSkews = 5;
constexpr std::size_t kMaxTableCount = 4 * kSkews * 4;  // shape classes x skews x quarters of an octave
constexpr std::int32_t kMaxColumnShape = 2 * kSkews - 1;

// A matrix of 16-bit words, possibly every other one (the upper halves of F32).
struct WordMatrix {
    const std::uint16_t* data;
    std::size_t rows, columns;
    std::size_t row_stride, column_stride;  // in words
    std::uint16_t at(std::size_t row, std::size_t column) const { return data[row * row_stride + column * column_stride]; }
};

// What a tensor's words are measured against. profiles: 1 or 2; rows of one profile share the columns' scales and shapes.
struct FloatModel {
    int shape = 3;
    std::int32_t base = 0;
    std::size_t profiles = 1;
    std::vector<std::int32_t> row_class;     // [rows], quarter octaves around base
    std::vector<std::int32_t> row_profile;   // [rows], 0 or 1
    std::vector<std::int32_t> column_scale;  // [profiles * columns], quarter octaves
    std::vector<std::int32_t> column_shape;  // [profiles * columns], 2 * skew + sign
};

// A block's part of a model: spans into it, columns first .. first + columns - 1 of each profile.
struct FloatBlockModel {
    int shape;
    std::int32_t base;
    std::size_t profiles, columns;
    std::span<const std::int32_t> row_class, row_profile;        // [rows of the block]
    std::span<const std::int32_t> column_scale, column_shape;    // [profiles * columns of the block]
};

// Called now and then, whenever another kPauseBytes of a matrix have been read, so that what was read may leave memory. May be empty.
using Pause = std::function<void()>;
constexpr std::size_t kPauseBytes = std::size_t{1} << 23;

FloatModel fit_float_model(const WordMatrix& words, FloatFormat format, const Pause& pause = {});

// Adds every `stride`-th row, with that weight, to counts[kMaxTableCount * kMaxSymbols].
void count_float_max(const WordMatrix& words, FloatFormat format, const FloatBlockModel& model, std::size_t stride, std::span<std::uint64_t> counts, const Pause& pause = {});

// Moves every row's class to the one of its neighbours (up to `reach` away) that codes it in the fewest bits under `cost` [kMaxTableCount * kMaxSymbols].
void refine_row_classes(const WordMatrix& words, FloatFormat format, std::span<const float> cost, int reach, FloatModel& model, const Pause& pause = {});

struct MaxSideTables {
    const AliasTable *row_class, *row_profile;
};

// The tables of level max as its encoder wants them.
struct MaxCodeTables {
    explicit MaxCodeTables(const TableSet& tables);          // kMaxTableCount tables of kMaxSymbols, each with an escape
    std::vector<std::uint32_t> frequency_first;              // of each symbol of each table: frequency << 12 | first slot
    std::vector<std::uint64_t> multiplier;                   // of each symbol of each table: about 2^44 / frequency
    std::vector<std::uint16_t> slots;                        // of all tables; and kSlotPadding more
    std::vector<std::uint16_t> coded;                        // of each table: first exponent field with symbols of its own | their number << 8; all others escape
};

// The payload of a block of rows x columns words, row by row.
Bytes encode_float_max(std::span<const std::uint16_t> words, FloatFormat format, const FloatBlockModel& model, std::size_t n_streams, std::size_t lanes, const TableSet& tables,
                       const MaxSideTables& side);

// The same into memory that exists, see encode_float_rows. float_max_bound bytes and `front` suffice.
std::span<std::uint8_t> encode_float_max(std::span<const std::uint16_t> words, FloatFormat format, const FloatBlockModel& model, std::size_t n_streams, std::size_t lanes,
                                         const MaxCodeTables& codes, const MaxSideTables& side, std::size_t front, std::span<std::uint8_t> out);
std::size_t float_max_bound(std::size_t n_words, std::size_t n_rows, std::size_t n_streams, std::size_t lanes);

// A payload (after its coder byte has been seen to be 2) and what it is decoded with and into: words[rows * columns].
struct MaxPayload {
    ByteSpan payload;
    FloatFormat format;
    std::size_t rows, columns, profiles;
    std::span<const std::int32_t> column_scale, column_shape;  // [profiles * columns]
    const TableSet* tables;
    MaxSideTables side;
    std::span<std::uint16_t> words;
};

Status decode_float_max(const MaxPayload& payload);

// Two payloads in little more time than one: look-ups in tables take long, and meanwhile the other is worked on. Their columns should be equally many.
std::array<Status, 2> decode_two_float_max(const std::array<MaxPayload, 2>& payloads);

}  // namespace tersor
