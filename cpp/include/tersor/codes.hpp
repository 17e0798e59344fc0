// Entropy coding of a quantizer's integer codes, every element with the table of its class: docs/format.md 5.6.
#pragma once
#include <cstdint>
#include <span>

#include "tersor/alias_table.hpp"
#include "tersor/bytes.hpp"
#include "tersor/status.hpp"

namespace tersor {

// The next state of the 8-state trellis for codes with k mod 2 = 0 and 1 (the machine of VVC's dependent quantization, extended to 8 states).
constexpr std::uint8_t kTrellisNext[8][2] = {{0, 2}, {5, 7}, {1, 3}, {6, 4}, {2, 0}, {4, 6}, {3, 1}, {7, 5}};

struct CodeShape {
    std::size_t rows, columns;
    std::span<const std::int32_t> row_class;     // [rows], int16
    std::span<const std::int32_t> column_class;  // [columns], int16
    std::size_t trellis_rows;                    // 0: plain codes; else every column's state restarts at 0 every so many rows
};

// Histogram of codes by class: counts[(half * n_classes + class - first_class) * (2 * range + 1) + code + range]; classes are clamped to the
// n_classes given, codes outside [-range, range] are counted in `outside[half * n_classes + class]`.
void count_codes(std::span<const std::int32_t> codes, const CodeShape& shape, int first_class, int n_classes, int range,
                 std::span<std::uint64_t> counts, std::span<std::uint64_t> outside);

// The code payload for codes[rows * columns]. tables: of format A12, all with an escape, and a class map.
Bytes encode_codes(std::span<const std::int32_t> codes, const CodeShape& shape, std::size_t n_streams, std::size_t lanes, const TableSet& tables);

// Reads a code payload to the end of `in`.
Status decode_codes(ByteReader& in, const CodeShape& shape, const TableSet& tables, std::span<std::int32_t> codes);

// Level of each trellis code: 2k in even states, 2k - sign(k) in odd ones, which may lie outside int32. codes and levels: [rows * columns].
void trellis_levels(std::span<const std::int32_t> codes, std::size_t rows, std::size_t columns, std::size_t trellis_rows, std::span<float> levels);

}  // namespace tersor
