#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tersor/status.hpp"

namespace tersor {

// A matrix to round to an integer grid, column by column, each column's error pushed into the columns after it.
//
// step(i, j) = row_steps[i] * column_steps[j]; code(i, j) = round(weight(i, j) / step(i, j)) after the feedback.
// factor: upper triangular U with (input Hessian)^-1 = U^T U, row-major columns x columns; empty: no feedback.
// Dead zone (the rate term): a magnitude u is rounded to floor(u + 1/2 - z), at least 0, with
// z = min(row_dead_zones[i] * column_dead_zones[j], kMaxDeadZone); zeros give plain rounding to nearest.
struct RoundingProblem {
    std::size_t rows = 0;
    std::size_t columns = 0;
    std::span<const float> weights;           // rows x columns, row-major, finite
    std::span<const float> factor;            // columns x columns or empty
    std::span<const float> row_steps;         // rows, > 0
    std::span<const float> column_steps;      // columns, > 0
    std::span<const float> row_dead_zones;    // rows, >= 0
    std::span<const float> column_dead_zones; // columns, >= 0
    std::span<const std::uint8_t> mask;       // rows x columns, 0: the code is 0 whatever the value; empty: none
};

inline constexpr float kMaxDeadZone = 0.35f;
inline constexpr float kMaxMagnitude = 8388608.0f;  // 2^23: floats beyond hold no fraction, so rounding means nothing

// Fills `codes` (rows x columns, row-major). Rows are independent: any `threads` (>= 1) gives the same codes, and
// so does every instruction set (products and sums are never contracted).
// bad_argument: a span of the wrong length, a step or a diagonal that is not positive, or a magnitude above
// kMaxMagnitude (the step is too small for the weights); `codes` is then unspecified.
// Source: Frantar et al. 2022, arXiv:2210.17323, on an unbounded grid and with a step per column as in
// arXiv:2603.04956.
Status round_with_feedback(const RoundingProblem& problem, std::span<std::int32_t> codes, unsigned threads);

}  // namespace tersor
