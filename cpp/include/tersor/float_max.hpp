// Lossless coding of 16-bit floats at level max: rows and columns have scales, columns a sign and a skew too; docs/format.md 5.5.2.
#pragma once
#include <cstdint>
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

FloatModel fit_float_model(const WordMatrix& words, FloatFormat format);

// Adds every `stride`-th row, with that weight, to counts[kMaxTableCount * kMaxSymbols].
void count_float_max(const WordMatrix& words, FloatFormat format, const FloatBlockModel& model, std::size_t stride, std::span<std::uint64_t> counts);

// Moves every row's class to the one of its neighbours (up to `reach` away) that codes it in the fewest bits under `cost` [kMaxTableCount * kMaxSymbols].
void refine_row_classes(const WordMatrix& words, FloatFormat format, std::span<const float> cost, int reach, FloatModel& model);

// The same for every column's scale, skew and sign, each by one step, judged on every `stride`-th row.
void refine_columns(const WordMatrix& words, FloatFormat format, std::span<const float> cost, std::size_t stride, FloatModel& model);

struct MaxSideTables {
    const AliasTable *row_class, *row_profile;
};

// The payload of a block of rows x columns words, row by row.
Bytes encode_float_max(std::span<const std::uint16_t> words, FloatFormat format, const FloatBlockModel& model, std::size_t n_streams, std::size_t lanes, const TableSet& tables,
                       const MaxSideTables& side);

// Fills words[rows * columns] from a payload (after its coder byte has been seen to be 2).
Status decode_float_max(ByteSpan payload, FloatFormat format, std::size_t rows, std::size_t columns, std::size_t profiles, std::span<const std::int32_t> column_scale,
                        std::span<const std::int32_t> column_shape, const TableSet& tables, const MaxSideTables& side, std::span<std::uint16_t> words);

}  // namespace tersor
