#include "tersor/quantize.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

#include "tersor/parallel.hpp"
#include "vector_clones.hpp"

// The loops below vectorise over the rows of a tile.
namespace tersor {
namespace {

constexpr std::size_t kTileRows = 32;      // rows worked on together; a tile of 8192 columns is 1 MB
constexpr std::size_t kBlockColumns = 32;  // columns whose errors are collected before the later columns see them

using Row = float[kTileRows];

struct Tile {
    std::vector<float> values;   // columns x kTileRows: the weights, updated by the feedback
    std::vector<float> errors;   // kBlockColumns x kTileRows: rounding errors of the block over the factor's diagonal
    std::vector<float> inverse_row_steps, row_steps, row_dead_zones;  // kTileRows each, padded with harmless values
    std::int32_t allowed[kTileRows];  // of a column: the bits that its codes may have, all or none
};

// Rounds one column of a tile: codes out, values replaced by the error of rounding. Returns how many magnitudes were
// not <= kMaxMagnitude (too large, or NaN). allowed: -1, or 0 for a code that must be 0.
TERSOR_VECTOR_CLONES
int round_column(float* values, const float* inverse_row_steps, const float* row_steps, const float* row_dead_zones,
                 float column_step, float column_dead_zone, const std::int32_t* allowed, std::int32_t* codes) {
    const float inverse_column_step = 1.0f / column_step;
    int n_bad = 0;
    for (std::size_t i = 0; i < kTileRows; ++i) {
        const float scaled = values[i] * inverse_row_steps[i] * inverse_column_step;
        const float magnitude = scaled < 0.0f ? -scaled : scaled;
        const bool is_good = magnitude <= kMaxMagnitude;
        n_bad += is_good ? 0 : 1;
        const float dead_zone = std::min(row_dead_zones[i] * column_dead_zone, kMaxDeadZone);
        const auto code = static_cast<std::int32_t>((is_good ? magnitude : kMaxMagnitude) + 0.5f - dead_zone);
        codes[i] = (scaled < 0.0f ? -code : code) & allowed[i];
        values[i] -= static_cast<float>(codes[i]) * (row_steps[i] * column_step);
    }
    return n_bad;
}

// values[k] -= sum over the block's columns j of factor(j, k) * errors[j], for k in [first, last).
TERSOR_VECTOR_CLONES
void push_errors(float* values, const float* errors, const float* factor, std::size_t stride, std::size_t n_errors,
                 std::size_t first, std::size_t last) {
    for (std::size_t k = first; k < last; ++k) {
        Row sum;
        std::memcpy(sum, values + k * kTileRows, sizeof sum);
        for (std::size_t j = 0; j < n_errors; ++j) {
            const float weight = factor[j * stride + k];
            const float* error = errors + j * kTileRows;
            for (std::size_t i = 0; i < kTileRows; ++i) sum[i] -= weight * error[i];
        }
        std::memcpy(values + k * kTileRows, sum, sizeof sum);
    }
}

void load_tile(const RoundingProblem& problem, std::size_t first_row, std::size_t n_rows, Tile& tile) {
    for (std::size_t i = 0; i < kTileRows; ++i) {
        const bool is_row = i < n_rows;
        tile.row_steps[i] = is_row ? problem.row_steps[first_row + i] : 1.0f;
        tile.inverse_row_steps[i] = 1.0f / tile.row_steps[i];
        tile.row_dead_zones[i] = is_row ? problem.row_dead_zones[first_row + i] : 0.0f;
    }
    std::fill(tile.values.begin(), tile.values.end(), 0.0f);
    for (std::size_t i = 0; i < n_rows; ++i) {
        const float* row = problem.weights.data() + (first_row + i) * problem.columns;
        for (std::size_t j = 0; j < problem.columns; ++j) tile.values[j * kTileRows + i] = row[j];
    }
}

void load_mask(const RoundingProblem& problem, std::size_t first_row, std::size_t n_rows, std::size_t column, Tile& tile) {
    const std::uint8_t* const mask = problem.mask.data() + first_row * problem.columns + column;
    for (std::size_t i = 0; i < n_rows; ++i) tile.allowed[i] = mask[i * problem.columns] != 0 ? -1 : 0;
}

// Returns the number of bad magnitudes, as round_column.
int round_tile(const RoundingProblem& problem, std::size_t first_row, Tile& tile, std::int32_t* codes) {
    const std::size_t columns = problem.columns;
    const std::size_t n_rows = std::min(kTileRows, problem.rows - first_row);
    load_tile(problem, first_row, n_rows, tile);
    std::fill(tile.allowed, tile.allowed + kTileRows, -1);
    const bool has_feedback = !problem.factor.empty();
    int n_bad = 0;
    for (std::size_t begin = 0; begin < columns; begin += kBlockColumns) {
        const std::size_t end = std::min(columns, begin + kBlockColumns);
        for (std::size_t j = begin; j < end; ++j) {
            float* values = tile.values.data() + j * kTileRows;
            std::int32_t column_codes[kTileRows];
            if (!problem.mask.empty()) load_mask(problem, first_row, n_rows, j, tile);
            n_bad += round_column(values, tile.inverse_row_steps.data(), tile.row_steps.data(),
                                  tile.row_dead_zones.data(), problem.column_steps[j], problem.column_dead_zones[j],
                                  tile.allowed, column_codes);
            for (std::size_t i = 0; i < n_rows; ++i) codes[(first_row + i) * columns + j] = column_codes[i];
            if (!has_feedback) continue;
            const float* factor_row = problem.factor.data() + j * columns;
            float* errors = tile.errors.data() + (j - begin) * kTileRows;
            const float inverse_diagonal = 1.0f / factor_row[j];
            for (std::size_t i = 0; i < kTileRows; ++i) errors[i] = values[i] * inverse_diagonal;
            push_errors(tile.values.data(), errors, factor_row, columns, 1, j + 1, end);
        }
        if (has_feedback) {
            push_errors(tile.values.data(), tile.errors.data(), problem.factor.data() + begin * columns, columns,
                        end - begin, end, columns);
        }
    }
    return n_bad;
}

bool all_positive(std::span<const float> values) {
    return std::all_of(values.begin(), values.end(), [](float value) { return value > 0.0f; });
}

bool is_well_formed(const RoundingProblem& problem, std::size_t n_codes) {
    const std::size_t rows = problem.rows, columns = problem.columns;
    if (columns != 0 && rows > SIZE_MAX / sizeof(float) / columns) return false;
    if (columns != 0 && columns > SIZE_MAX / sizeof(float) / columns) return false;
    if (problem.weights.size() != rows * columns || n_codes != rows * columns) return false;
    if (!problem.mask.empty() && problem.mask.size() != rows * columns) return false;
    if (problem.row_steps.size() != rows || problem.row_dead_zones.size() != rows) return false;
    if (problem.column_steps.size() != columns || problem.column_dead_zones.size() != columns) return false;
    if (!all_positive(problem.row_steps) || !all_positive(problem.column_steps)) return false;
    if (problem.factor.empty()) return true;
    if (problem.factor.size() != columns * columns) return false;
    for (std::size_t j = 0; j < columns; ++j) {
        if (!(problem.factor[j * columns + j] > 0.0f)) return false;
    }
    return true;
}

}  // namespace

Status round_with_feedback(const RoundingProblem& problem, std::span<std::int32_t> codes, unsigned threads) {
    if (threads == 0 || !is_well_formed(problem, codes.size())) return Status::bad_argument;
    if (problem.rows == 0 || problem.columns == 0) return Status::ok;
    const std::size_t n_tiles = (problem.rows + kTileRows - 1) / kTileRows;
    std::atomic<std::size_t> next_tile{0};
    std::atomic<bool> is_bad{false};
    const std::size_t n_workers = std::min<std::size_t>(threads, n_tiles);
    in_parallel(n_workers, n_workers, [&](std::size_t) {
        Tile tile{std::vector<float>(problem.columns * kTileRows), std::vector<float>(kBlockColumns * kTileRows),
                  std::vector<float>(kTileRows), std::vector<float>(kTileRows), std::vector<float>(kTileRows), {}};
        for (std::size_t t = next_tile++; t < n_tiles; t = next_tile++) {
            if (round_tile(problem, t * kTileRows, tile, codes.data()) != 0) is_bad = true;
        }
    });
    return is_bad ? Status::bad_argument : Status::ok;
}

}  // namespace tersor
