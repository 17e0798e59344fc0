#include "tersor/prune.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

using namespace tersor;

namespace {

struct Example {
    std::size_t rows, columns;
    std::vector<float> weights, column_factor, row_factor;
    std::vector<std::uint8_t> mask;

    Example(std::size_t n_rows, std::size_t n_columns, bool has_row_factor)
        : rows(n_rows), columns(n_columns), weights(n_rows * n_columns), column_factor(n_columns * n_columns),
          row_factor(has_row_factor ? n_rows * n_rows : 0), mask(n_rows * n_columns) {
        std::uint32_t state = 7;
        const auto draw = [&state] {
            state = state * 1664525u + 1013904223u;
            return static_cast<float>(static_cast<std::int32_t>(state)) / 2147483648.0f;
        };
        for (float& weight : weights) weight = draw();
        for (std::uint8_t& flag : mask) flag = draw() < 0.0f ? 0 : 1;
        for (std::size_t j = 0; j < columns; ++j)
            for (std::size_t k = j; k < columns; ++k) column_factor[j * columns + k] = j == k ? 1.0f + 0.5f * std::fabs(draw()) : 0.1f * draw();
        if (!has_row_factor) return;
        for (std::size_t i = 0; i < rows; ++i)
            for (std::size_t k = 0; k <= i; ++k) row_factor[i * rows + k] = i == k ? 1.0f + 0.5f * std::fabs(draw()) : 0.1f * draw();
    }

    PruneProblem problem() { return {rows, columns, weights, mask, column_factor, row_factor}; }

    // All blocks and groups.
    Status run(std::size_t block_columns, std::size_t group_columns, unsigned threads = 1) {
        for (std::size_t first = 0; first < columns; first += block_columns) {
            const std::size_t last = std::min(columns, first + block_columns);
            std::vector<float> errors(rows * (last - first));
            for (std::size_t begin = first; begin < last; begin += group_columns) {
                const Status status = remove_columns(problem(), {first, last, begin, std::min(last, begin + group_columns)}, errors, threads);
                if (status != Status::ok) return status;
            }
            const Status status = push_removed(problem(), {first, last, first, last}, errors, threads);
            if (status != Status::ok) return status;
        }
        return Status::ok;
    }

    // The definition, an element at a time.
    std::vector<double> expected() const {
        std::vector<double> w(weights.begin(), weights.end()), pending(rows);
        for (std::size_t j = 0; j < columns; ++j) {
            for (std::size_t i = 0; i < rows; ++i) pending[i] = w[i * columns + j];
            for (std::size_t i = 0; i < rows; ++i) {
                const double value = mask[i * columns + j] != 0 ? pending[i] : 0.0;
                if (!row_factor.empty()) {
                    const double error = (pending[i] - value) / row_factor[i * rows + i];
                    for (std::size_t k = i + 1; k < rows; ++k) pending[k] -= error * row_factor[k * rows + i];
                }
                const double error = (w[i * columns + j] - value) / column_factor[j * columns + j];
                for (std::size_t k = j + 1; k < columns; ++k) w[i * columns + k] -= error * column_factor[j * columns + k];
                w[i * columns + j] = value;
            }
        }
        return w;
    }
};

void check_close(const std::vector<float>& got, const std::vector<double>& expected) {
    double worst = 0.0;
    for (std::size_t i = 0; i < got.size(); ++i) worst = std::max(worst, std::fabs(got[i] - expected[i]));
    CHECK(worst < 2e-4);
}

}  // namespace

TEST_CASE("pruning follows its definition, with and without feedback along rows") {
    for (const bool has_row_factor : {false, true})
        for (const std::size_t rows : {1, 31, 70})
            for (const std::size_t columns : {1, 17, 150}) {
                Example example(rows, columns, has_row_factor);
                const std::vector<double> expected = example.expected();
                CHECK(example.run(64, 13) == Status::ok);
                check_close(example.weights, expected);
                for (std::size_t i = 0; i < rows * columns; ++i)
                    if (example.mask[i] == 0) CHECK(example.weights[i] == 0.0f);
            }
}

TEST_CASE("pruning gives the same weights for any number of threads") {
    for (const bool has_row_factor : {false, true}) {
        Example one(600, 90, has_row_factor), many(600, 90, has_row_factor);
        CHECK(one.run(48, 16, 1) == Status::ok);
        CHECK(many.run(48, 16, 3) == Status::ok);
        CHECK(one.weights == many.weights);
    }
}

TEST_CASE("pruning nothing changes nothing") {
    Example example(20, 40, true);
    example.mask.assign(example.mask.size(), 1);
    const std::vector<float> before = example.weights;
    CHECK(example.run(32, 8) == Status::ok);
    CHECK(example.weights == before);
}

TEST_CASE("pruning refuses spans, blocks and factors that do not fit") {
    Example example(4, 200, true);
    std::vector<float> errors(4 * 200);
    const auto status = [&](const PruneProblem& problem, const PruneBlock& block, unsigned threads = 1) {
        return remove_columns(problem, block, std::span(errors).first(4 * (block.last > block.first ? block.last - block.first : 0)), threads);
    };
    CHECK(status(example.problem(), {0, 8, 0, 8}) == Status::ok);
    CHECK(status(example.problem(), {0, 8, 0, 8}, 0) == Status::bad_argument);
    CHECK(status(example.problem(), {0, 200, 0, 129}) == Status::bad_argument);
    CHECK(status(example.problem(), {0, 8, 0, 9}) == Status::bad_argument);
    CHECK(status(example.problem(), {0, 8, 5, 4}) == Status::bad_argument);
    CHECK(status(example.problem(), {4, 8, 2, 6}) == Status::bad_argument);
    CHECK(status(example.problem(), {100, 201, 100, 110}) == Status::bad_argument);
    PruneProblem problem = example.problem();
    problem.mask = problem.mask.first(5);
    CHECK(status(problem, {0, 8, 0, 8}) == Status::bad_argument);
    problem = example.problem();
    problem.row_factor = problem.row_factor.first(9);
    CHECK(status(problem, {0, 8, 0, 8}) == Status::bad_argument);
    example.column_factor[3 * 200 + 3] = 0.0f;
    CHECK(status(example.problem(), {0, 8, 0, 8}) == Status::bad_argument);
    CHECK(push_removed(example.problem(), {0, 8, 0, 8}, std::span(errors).first(3), 1) == Status::bad_argument);
}
