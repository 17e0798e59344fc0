#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tersor/status.hpp"

namespace tersor {

// A matrix whose weights are removed column after column, each error pushed into what has not been worked on yet.
//
// Columns j in order, inside a column rows i in order:
//   t_i = w_ij - sum over k < i of row_factor(i, k) e_k      the value of the place
//   q_i = t_i where it is kept, else 0
//   e_i = (t_i - q_i) / row_factor(i, i)
//   w_ik -= (w_ij - q_i) / column_factor(j, j) * column_factor(j, k)     for columns k > j; w_ij = q_i
// A block is worked on in groups of columns, so that the next group's mask can be chosen by the weights as they are then:
// `remove_columns` for each group updates the columns of the block, `push_removed` then all columns behind it.
// Source: SparseGPT, arXiv:2301.00774; the feedback along rows as YAQA, arXiv:2505.22988, has it for quantization.
struct PruneProblem {
    std::size_t rows = 0;
    std::size_t columns = 0;
    std::span<float> weights;              // rows x columns, row-major; changed in place
    std::span<const std::uint8_t> mask;    // rows x columns, 0: removed
    std::span<const float> column_factor;  // columns x columns, upper triangular U, (input Hessian)^-1 = U^T U
    std::span<const float> row_factor;     // rows x rows, lower triangular L, (output Hessian)^-1 = L L^T; empty: none
};

// The columns first .. last - 1 of a matrix, of which begin .. end - 1 are the group to be worked on.
struct PruneBlock {
    std::size_t first = 0, last = 0, begin = 0, end = 0;
};

inline constexpr std::size_t kMaxPruneGroup = 128;

// Works on a group. errors: rows x (last - first), what `push_removed` needs; the group's columns are written.
// Results are the same for any `threads` (>= 1) and every instruction set.
// bad_argument: a span of the wrong length, a block that does not lie in the matrix or a group in the block, a group of more than
// kMaxPruneGroup columns, or a diagonal that is not positive.
Status remove_columns(const PruneProblem& problem, const PruneBlock& block, std::span<float> errors, unsigned threads);

// Updates the columns behind a block whose groups have all been worked on.
Status push_removed(const PruneProblem& problem, const PruneBlock& block, std::span<const float> errors, unsigned threads);

}  // namespace tersor
