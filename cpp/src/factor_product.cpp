#include "tersor/factor_product.hpp"

#include <algorithm>
#include <vector>

#include "vector_clones.hpp"

namespace tersor {
namespace {

constexpr std::size_t kTileRows = 4, kTileColumns = 32;  // the sums of a tile stay in registers of 512 bits

// Sums of n_rows rows of `left` (a row every `rank`) with a tile of `right`, packed [rank][kTileColumns].
template <std::size_t n_rows>
inline void sum_tile(const float* left, const float* tile, std::size_t rank, float (&sums)[kTileRows][kTileColumns]) {
    for (std::size_t i = 0; i < n_rows; ++i) std::fill_n(sums[i], kTileColumns, 0.0f);
    for (std::size_t k = 0; k < rank; ++k)
        for (std::size_t i = 0; i < n_rows; ++i)
            for (std::size_t j = 0; j < kTileColumns; ++j) sums[i][j] += left[i * rank + k] * tile[k * kTileColumns + j];
}

TERSOR_VECTOR_CLONES
void sum_rows(const float* left, const float* tile, std::size_t rank, float (&sums)[kTileRows][kTileColumns]) { sum_tile<kTileRows>(left, tile, rank, sums); }

TERSOR_VECTOR_CLONES
void sum_row(const float* left, const float* tile, std::size_t rank, float (&sums)[kTileRows][kTileColumns]) { sum_tile<1>(left, tile, rank, sums); }

// Columns first .. first + width - 1 of `right`, side by side, zeros behind them.
void pack_tile(const Factors& factors, std::size_t first, std::size_t width, std::vector<float>& tile) {
    for (std::size_t k = 0; k < factors.rank; ++k) {
        float* const packed = &tile[k * kTileColumns];
        std::fill_n(std::copy_n(&factors.right[k * factors.columns + first], width, packed), kTileColumns - width, 0.0f);
    }
}

}  // namespace

Status multiply_factors(const Factors& factors, std::span<float> values) {
    const auto [rows, rank, columns, left, right] = factors;
    if (left.size() != rows * rank || right.size() != rank * columns || values.size() != rows * columns) return Status::bad_argument;
    if (rank == 0) std::fill(values.begin(), values.end(), 0.0f);
    if (rank == 0) return Status::ok;
    // Packed: the lines of a tile, a row of `right` apart, would fall into few sets of the cache.
    std::vector<float> tile(rank * kTileColumns);
    float sums[kTileRows][kTileColumns];
    for (std::size_t column = 0; column < columns; column += kTileColumns) {
        const std::size_t width = std::min(kTileColumns, columns - column);
        pack_tile(factors, column, width, tile);
        for (std::size_t row = 0; row < rows;) {
            const std::size_t n_rows = rows - row < kTileRows ? 1 : kTileRows;
            (n_rows == 1 ? sum_row : sum_rows)(&left[row * rank], tile.data(), rank, sums);
            for (std::size_t i = 0; i < n_rows; ++i) std::copy_n(sums[i], width, &values[(row + i) * columns + column]);
            row += n_rows;
        }
    }
    return Status::ok;
}

}  // namespace tersor
