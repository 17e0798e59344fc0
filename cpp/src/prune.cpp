#include "tersor/prune.hpp"

#include <algorithm>
#include <vector>

#include "tersor/parallel.hpp"
#include "vector_clones.hpp"

namespace tersor {
namespace {

constexpr std::size_t kRows = 32;      // rows of a job, and rows whose feedback is collected together
constexpr std::size_t kAhead = 1024;   // columns that a block's errors are pushed into at a time: 128 KB of a factor of 32 rows
constexpr std::size_t kVector = 16;

std::size_t round_up(std::size_t n) { return (n + kVector - 1) / kVector * kVector; }

// to[k] -= factor * from[k]
TERSOR_VECTOR_CLONES
void subtract(float* to, const float* from, float factor, std::size_t n) {
    for (std::size_t k = 0; k < n; ++k) to[k] -= factor * from[k];
}

// to[k] -= sum over j < n_errors of errors[j] * factor[j * stride + k], added up in the order of j.
TERSOR_VECTOR_CLONES
void subtract_all(float* to, const float* errors, const float* factor, std::size_t stride, std::size_t n_errors, std::size_t n) {
    std::size_t k = 0;
    for (; k + kVector <= n; k += kVector) {
        float values[kVector];
        for (std::size_t i = 0; i < kVector; ++i) values[i] = to[k + i];
        for (std::size_t j = 0; j < n_errors; ++j)
            for (std::size_t i = 0; i < kVector; ++i) values[i] -= errors[j] * factor[j * stride + k + i];
        for (std::size_t i = 0; i < kVector; ++i) to[k + i] = values[i];
    }
    for (; k < n; ++k) {
        float value = to[k];
        for (std::size_t j = 0; j < n_errors; ++j) value -= errors[j] * factor[j * stride + k];
        to[k] = value;
    }
}

// sums[c] += sum over i < n of weights[i] * rows[i * stride + c], for `stride` columns c, a multiple of kVector.
TERSOR_VECTOR_CLONES
void add_weighted(float* sums, const float* weights, const float* rows, std::size_t stride, std::size_t n) {
    for (std::size_t c = 0; c < stride; c += kVector) {
        float values[kVector];
        for (std::size_t x = 0; x < kVector; ++x) values[x] = sums[c + x];
        for (std::size_t i = 0; i < n; ++i)
            for (std::size_t x = 0; x < kVector; ++x) values[x] += weights[i] * rows[i * stride + c + x];
        for (std::size_t x = 0; x < kVector; ++x) sums[c + x] = values[x];
    }
}

// One row of a group. carried: the feedback of the rows above; row_errors: e of this row, nullptr without feedback along rows.
void remove_row(const PruneProblem& problem, const PruneBlock& block, std::size_t row, const float* carried, float* row_errors, float* errors) {
    float* const weights = problem.weights.data() + row * problem.columns;
    const std::uint8_t* const mask = problem.mask.data() + row * problem.columns;
    float* const own_errors = errors + row * (block.last - block.first);
    const float inverse_diagonal = row_errors == nullptr ? 0.0f : 1.0f / problem.row_factor[row * problem.rows + row];
    for (std::size_t j = block.begin; j < block.end; ++j) {
        const float moved = carried == nullptr ? 0.0f : carried[j - block.begin], value = weights[j] - moved;
        const bool is_kept = mask[j] != 0;
        if (row_errors != nullptr) row_errors[j - block.begin] = is_kept ? 0.0f : value * inverse_diagonal;
        const float* const factor = problem.column_factor.data() + j * problem.columns;
        const float error = (is_kept ? moved : weights[j]) / factor[j];
        own_errors[j - block.first] = error;
        weights[j] = is_kept ? value : 0.0f;
        if (error != 0.0f) subtract(weights + j + 1, factor + j + 1, error, block.last - j - 1);
    }
}

// Rows do not depend on each other.
void remove_by_rows(const PruneProblem& problem, const PruneBlock& block, float* errors, unsigned threads) {
    in_parallel((problem.rows + kRows - 1) / kRows, threads, [&](std::size_t job) {
        for (std::size_t row = job * kRows; row < std::min(problem.rows, (job + 1) * kRows); ++row) remove_row(problem, block, row, nullptr, nullptr, errors);
    });
}

// Each row needs the errors of all rows above: kRows at a time first get what the rows above these have left.
void remove_with_row_feedback(const PruneProblem& problem, const PruneBlock& block, float* errors, unsigned threads) {
    const std::size_t stride = round_up(block.end - block.begin);
    std::vector<float> row_errors(problem.rows * stride), carried(kRows * stride);
    for (std::size_t first = 0; first < problem.rows; first += kRows) {
        const std::size_t last = std::min(problem.rows, first + kRows);
        std::fill(carried.begin(), carried.end(), 0.0f);
        in_parallel(last - first, first < 512 ? 1 : threads, [&](std::size_t i) {
            add_weighted(carried.data() + i * stride, problem.row_factor.data() + (first + i) * problem.rows, row_errors.data(), stride, first);
        });
        for (std::size_t row = first; row < last; ++row) {
            float* const own = carried.data() + (row - first) * stride;
            add_weighted(own, problem.row_factor.data() + row * problem.rows + first, row_errors.data() + first * stride, stride, row - first);
            remove_row(problem, block, row, own, row_errors.data() + row * stride, errors);
        }
    }
}

bool has_positive_diagonal(std::span<const float> factor, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i)
        if (!(factor[i * n + i] > 0.0f)) return false;
    return true;
}

bool is_square(std::span<const float> factor, std::size_t n) { return n <= SIZE_MAX / sizeof(float) / std::max<std::size_t>(n, 1) && factor.size() == n * n; }

bool is_well_formed(const PruneProblem& problem, const PruneBlock& block, std::size_t n_errors) {
    const std::size_t rows = problem.rows, columns = problem.columns;
    if (columns != 0 && rows > SIZE_MAX / sizeof(float) / (columns + kVector)) return false;
    if (problem.weights.size() != rows * columns || problem.mask.size() != rows * columns) return false;
    if (block.last > columns || block.first > block.begin || block.begin > block.end || block.end > block.last) return false;
    if (n_errors != rows * (block.last - block.first)) return false;
    if (!is_square(problem.column_factor, columns)) return false;
    return problem.row_factor.empty() || is_square(problem.row_factor, rows);
}

}  // namespace

Status remove_columns(const PruneProblem& problem, const PruneBlock& block, std::span<float> errors, unsigned threads) {
    if (threads == 0 || !is_well_formed(problem, block, errors.size()) || block.end - block.begin > kMaxPruneGroup) return Status::bad_argument;
    for (std::size_t j = block.begin; j < block.end; ++j)
        if (!(problem.column_factor[j * problem.columns + j] > 0.0f)) return Status::bad_argument;
    if (problem.row_factor.empty()) {
        remove_by_rows(problem, block, errors.data(), threads);
        return Status::ok;
    }
    if (!has_positive_diagonal(problem.row_factor, problem.rows)) return Status::bad_argument;
    remove_with_row_feedback(problem, block, errors.data(), threads);
    return Status::ok;
}

Status push_removed(const PruneProblem& problem, const PruneBlock& block, std::span<const float> errors, unsigned threads) {
    if (threads == 0 || !is_well_formed(problem, block, errors.size())) return Status::bad_argument;
    const std::size_t columns = problem.columns, n_errors = block.last - block.first;
    in_parallel((problem.rows + kRows - 1) / kRows, threads, [&](std::size_t job) {
        for (std::size_t begin = block.last; begin < columns; begin += kAhead)
            for (std::size_t row = job * kRows; row < std::min(problem.rows, (job + 1) * kRows); ++row)
                subtract_all(problem.weights.data() + row * columns + begin, errors.data() + row * n_errors,
                             problem.column_factor.data() + block.first * columns + begin, columns, n_errors, std::min(kAhead, columns - begin));
    });
    return Status::ok;
}

}  // namespace tersor
