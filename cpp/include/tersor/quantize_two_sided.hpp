#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tersor/status.hpp"

namespace tersor {

// What a code costs beside its squared error, by the class of its place and the half of the trellis it is in.
struct CodeCosts {
    std::span<const float> costs;  // halves x n_classes x width: of a code of magnitude 0 .. width - 1; the last also of larger ones
    std::size_t width = 0;         // > 0
    std::size_t n_classes = 0;     // > 0
    std::int32_t first_class = 0;  // classes outside first_class .. first_class + n_classes - 1 cost what the nearest does
};

// A matrix to round to an integer grid with error feedback along its columns and along its rows.
//
// With step(i, j) = row_steps[i] * column_steps[j], columns j in order, inside a column rows i in order:
//   t_i = w_ij - sum over k < i of row_factor(i, k) e_k                  the value that is rounded
//   q_i = step(i, j) * level of code(i, j)                               minimises ((t_i - q_i) / step)^2 + cost of the code
//   e_i = (t_i - q_i) / row_factor(i, i)
//   w_ik -= (w_ij - q_i) / column_factor(j, j) * column_factor(j, k)     for columns k > j
// The level of a code k is k itself, or, with a trellis, 2k in even states and 2k - sign(k) in odd ones; the state is 0 at the first row
// of every run of `run_rows` rows of a column, and codes.hpp's kTrellisNext moves it. Then the sum over the run is minimised (a
// Viterbi search in which every survivor carries its own errors e).
// Source: YAQA, arXiv:2505.22988 (two-sided rounding); trellis-coded quantization as in VVC, with 8 states.
struct TwoSidedProblem {
    std::size_t rows = 0;
    std::size_t columns = 0;
    std::span<const float> weights;               // rows x columns, row-major, finite
    std::span<const float> column_factor;         // columns x columns, upper triangular U, (input Hessian)^-1 = U^T U; empty: none
    std::span<const float> row_factor;            // rows x rows, lower triangular L, (output Hessian)^-1 = L L^T; empty: none
    std::span<const float> row_steps;             // rows, > 0
    std::span<const float> column_steps;          // columns, > 0
    std::span<const std::int32_t> row_classes;    // rows; row + column class is the class of a place
    std::span<const std::int32_t> column_classes; // columns
    CodeCosts code_costs;                         // two halves (even states first) with a trellis, else one
    bool has_trellis = false;
    std::size_t run_rows = 0;                     // a multiple of kRunMultiple, at most kMaxRunRows
    std::span<const std::uint8_t> mask;           // rows x columns, 0: the code is 0 whatever the value; empty: none
};

inline constexpr std::size_t kRunMultiple = 16, kMaxRunRows = 256;

// Fills `codes` (rows x columns, row-major): the same for any `threads` (>= 1) and every instruction set.
// bad_argument: a span of the wrong length, a step or a diagonal that is not positive, run_rows out of range, or a magnitude of 2^23 steps or more (the step is
// too small for the weights, or a weight is not finite); `codes` is then unspecified.
Status round_two_sided(const TwoSidedProblem& problem, std::span<std::int32_t> codes, unsigned threads);

}  // namespace tersor
