#include "tersor/dequantize.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "codes_walk.hpp"
#include "vector_clones.hpp"

namespace tersor {
namespace {

// 2^(n / 4) rounded to float32.
constexpr float kRoots[4] = {1.0f, 1.18920707702636718750f, 1.41421353816986083984f, 1.68179285526275634766f};

// The steps of a row are those of its columns times a power of two, which is exact: only four rows of column steps are needed.
class RowSteps {
public:
    explicit RowSteps(std::span<const std::int32_t> column_exponents) : exponents_(column_exponents) {
        const auto [low, high] = std::minmax_element(exponents_.begin(), exponents_.end());
        middle_ = (*low + *high) / 2;  // the steps of columns then stay far from the ends of float32, whatever the rows add
    }
    struct Row {
        const float* column_steps;
        float factor;
    };
    Row row(std::int32_t row_exponent) {
        const std::int32_t exponent = row_exponent + middle_;
        std::vector<float>& steps = by_quarter_[exponent & 3];
        if (steps.empty())
            for (const std::int32_t e : exponents_) steps.push_back(grid_step((exponent & 3) + e - middle_));
        return {steps.data(), std::ldexp(1.0f, exponent >> 2)};
    }

private:
    std::span<const std::int32_t> exponents_;
    std::int32_t middle_;
    std::vector<float> by_quarter_[4];
};

// The levels of a row of trellis codes; the states of its columns move on. They are as wide as the codes, so that the loop vectorises.
// Wide: holds twice a code.
template <class Wide>
inline void fill_trellis_levels(const std::int32_t* codes, std::size_t n, std::uint32_t* states, float* levels) {
    for (std::size_t j = 0; j < n; ++j) {
        const std::int32_t k = codes[j], sign = (k > 0) - (k < 0), odd = -static_cast<std::int32_t>(states[j] & 1);
        levels[j] = static_cast<float>(2 * Wide{k} - (sign & odd));
        states[j] = next_trellis_state<std::uint32_t>(states[j], static_cast<std::uint32_t>(k & 1));
    }
}

TERSOR_VECTOR_CLONES
void fill_small_trellis_levels(const std::int32_t* codes, std::size_t n, std::uint32_t* states, float* levels) { fill_trellis_levels<std::int32_t>(codes, n, states, levels); }

class TrellisLevels {
public:
    TrellisLevels(std::size_t columns, std::size_t restart_rows) : states_(columns), restart_rows_(restart_rows) {}

    void fill(std::size_t row, std::span<const std::int32_t> codes, float* levels) {
        if (row % restart_rows_ == 0) std::fill(states_.begin(), states_.end(), 0u);
        std::int32_t reach = 0;
        for (const std::int32_t code : codes) reach |= code ^ code >> 31;
        const auto fill_levels = reach >> 29 == 0 ? fill_small_trellis_levels : fill_trellis_levels<std::int64_t>;
        fill_levels(codes.data(), codes.size(), states_.data(), levels);
    }

private:
    std::vector<std::uint32_t> states_;
    std::size_t restart_rows_;
};

// The level of each code of a row; false if a code is outside the codebook.
bool fill_levels(const GridBlock& block, std::size_t row, TrellisLevels& trellis, float* levels) {
    const auto codes = block.codes.subspan(row * block.columns, block.columns);
    if (block.trellis_rows > 0) {
        trellis.fill(row, codes, levels);
    } else if (block.codebook.empty()) {
        for (std::size_t j = 0; j < codes.size(); ++j) levels[j] = static_cast<float>(codes[j]);
    } else {
        for (std::size_t j = 0; j < codes.size(); ++j) {
            const auto code = static_cast<std::uint32_t>(codes[j]);
            if (code >= block.codebook.size()) return false;
            levels[j] = block.codebook[code];
        }
    }
    return true;
}

// (level - zero point) * scale, with one rounding after each operation.
void scale_groups(const GridBlock& block, std::size_t row, float* values) {
    const std::size_t groups = block.columns / block.group_size;
    for (std::size_t g = 0; g < groups; ++g, values += block.group_size) {
        const float zero_point = static_cast<float>(block.zero_points[row * groups + g]), scale = block.scales[row * groups + g];
        for (std::size_t j = 0; j < block.group_size; ++j) values[j] = (values[j] - zero_point) * scale;
    }
}

void multiply_steps(const RowSteps::Row& steps, std::size_t columns, float* values) {
    for (std::size_t j = 0; j < columns; ++j) values[j] *= steps.column_steps[j] * steps.factor;
}

void round_to_bf16(const float* values, std::size_t n, std::uint16_t* rounded) {
    for (std::size_t j = 0; j < n; ++j) {
        const auto bits = std::bit_cast<std::uint32_t>(values[j]);
        rounded[j] = static_cast<std::uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);  // to nearest even; there are no NaNs
    }
}

bool fits(const GridBlock& block, std::size_t n_values) {
    const std::size_t n = block.rows * block.columns;
    if (n_values != n || block.codes.size() != n || block.row_exponents.size() != block.rows || block.column_exponents.size() != block.columns) return false;
    if (block.trellis_rows > 0 && !block.codebook.empty()) return false;
    if (block.group_size > 0) {
        const std::size_t groups = block.rows * (block.columns / block.group_size);
        if (block.columns % block.group_size != 0 || block.scales.size() != groups || block.zero_points.size() != groups) return false;
    }
    if (n == 0) return true;
    const auto [row_low, row_high] = std::minmax_element(block.row_exponents.begin(), block.row_exponents.end());
    const auto [column_low, column_high] = std::minmax_element(block.column_exponents.begin(), block.column_exponents.end());
    if (std::min(*row_low, *column_low) < INT16_MIN || std::max(*row_high, *column_high) > INT16_MAX) return false;
    return *row_low + *column_low >= -kMaxStepExponent && *row_high + *column_high <= kMaxStepExponent;
}

// row_done(row, values): called when the values of a row are in its place.
template <class Place, class Done>
Status dequantize_rows(const GridBlock& block, Place place, Done row_done) {
    if (block.rows == 0 || block.columns == 0) return Status::ok;
    RowSteps steps(block.column_exponents);
    TrellisLevels trellis(block.trellis_rows > 0 ? block.columns : 0, block.trellis_rows);
    for (std::size_t row = 0; row < block.rows; ++row) {
        float* const values = place(row);
        if (!fill_levels(block, row, trellis, values)) return Status::bad_argument;
        if (block.group_size > 0) scale_groups(block, row, values);
        multiply_steps(steps.row(block.row_exponents[row]), block.columns, values);
        row_done(row, values);
    }
    return Status::ok;
}

}  // namespace

void trellis_levels(std::span<const std::int32_t> codes, std::size_t rows, std::size_t columns, std::size_t trellis_rows, std::span<float> levels) {
    TrellisLevels trellis(columns, trellis_rows);
    for (std::size_t row = 0; row < rows; ++row) trellis.fill(row, codes.subspan(row * columns, columns), levels.data() + row * columns);
}

float grid_step(int exponent) { return std::ldexp(kRoots[exponent & 3], exponent >> 2); }

Status dequantize(const GridBlock& block, std::span<float> values) {
    if (!fits(block, values.size())) return Status::bad_argument;
    return dequantize_rows(block, [&](std::size_t row) { return values.data() + row * block.columns; }, [](std::size_t, const float*) {});
}

Status dequantize_bf16(const GridBlock& block, std::span<std::uint16_t> values) {
    if (!fits(block, values.size())) return Status::bad_argument;
    std::vector<float> row_values(block.columns);
    return dequantize_rows(
        block, [&](std::size_t) { return row_values.data(); }, [&](std::size_t row, const float* done) { round_to_bf16(done, block.columns, values.data() + row * block.columns); });
}

}  // namespace tersor
