// Codes and steps of a grid to weights, the same bits on every machine: docs/format.md 4.2.
#pragma once
#include <cstdint>
#include <span>

#include "tersor/status.hpp"

namespace tersor {

constexpr int kMaxStepExponent = 480;

// 2^(exponent / 4) as the format defines it. Needs |exponent| <= kMaxStepExponent.
float grid_step(int exponent);

struct GridBlock {
    std::size_t rows, columns;
    std::span<const std::int32_t> codes;             // [rows * columns]
    std::span<const std::int32_t> row_exponents;     // [rows], int16, quarter octaves
    std::span<const std::int32_t> column_exponents;  // [columns]
    std::size_t trellis_rows;                        // 0: plain codes
    std::span<const float> codebook;                 // empty: none
    std::size_t group_size;                          // columns that share a scale and a zero point; 0: none
    std::span<const float> scales;                   // [rows * columns / group_size]
    std::span<const std::int32_t> zero_points;       // the same
};

// Fills values[rows * columns] with the weights, as float32 or rounded to BF16. Codebook and scales are finite.
// bad_argument: sizes that do not fit each other, a step exponent beyond the limit, a code outside the codebook.
Status dequantize(const GridBlock& block, std::span<float> values);
Status dequantize_bf16(const GridBlock& block, std::span<std::uint16_t> values);

}  // namespace tersor
