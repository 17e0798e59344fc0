#include "tersor/quantize.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

using tersor::round_with_feedback;
using tersor::RoundingProblem;
using tersor::Status;

namespace {

struct Example {
    std::size_t rows, columns;
    std::vector<float> weights, factor, row_steps, column_steps, row_dead_zones, column_dead_zones;
    std::vector<std::int32_t> codes;
    std::vector<std::uint8_t> mask;  // empty: none

    Example(std::size_t n_rows, std::size_t n_columns)
        : rows(n_rows), columns(n_columns), weights(n_rows * n_columns), factor(n_columns * n_columns),
          row_steps(n_rows, 0.5f), column_steps(n_columns, 0.25f), row_dead_zones(n_rows),
          column_dead_zones(n_columns), codes(n_rows * n_columns) {
        std::uint32_t state = 1;
        const auto draw = [&state] {
            state = state * 1664525u + 1013904223u;
            return static_cast<float>(static_cast<std::int32_t>(state)) / 2147483648.0f;
        };
        for (float& weight : weights) weight = draw();
        for (std::size_t j = 0; j < columns; ++j) {
            for (std::size_t k = j; k < columns; ++k) factor[j * columns + k] = j == k ? 1.0f : 0.3f * draw();
        }
    }

    RoundingProblem problem() const {
        return {rows, columns, weights, factor, row_steps, column_steps, row_dead_zones, column_dead_zones, mask};
    }
    Status run(unsigned threads = 1) { return round_with_feedback(problem(), codes, threads); }
};

// The definition, one row at a time, without tiles or blocks; double, so that only near-ties may differ.
std::vector<double> by_definition(const Example& example, std::size_t row) {
    std::vector<double> values(example.weights.begin() + row * example.columns,
                               example.weights.begin() + (row + 1) * example.columns);
    std::vector<double> codes;
    for (std::size_t j = 0; j < example.columns; ++j) {
        const double step = double(example.row_steps[row]) * example.column_steps[j];
        const bool is_kept = example.mask.empty() || example.mask[row * example.columns + j] != 0;
        codes.push_back(is_kept ? std::round(values[j] / step) : 0.0);
        const double error = (values[j] - codes[j] * step) / example.factor[j * example.columns + j];
        for (std::size_t k = j + 1; k < example.columns; ++k) {
            values[k] -= error * example.factor[j * example.columns + k];
        }
    }
    return codes;
}

void check_definition(const Example& example) {
    for (std::size_t i = 0; i < example.rows; ++i) {
        const auto expected = by_definition(example, i);
        for (std::size_t j = 0; j < example.columns; ++j) {
            CHECK(example.codes[i * example.columns + j] == static_cast<std::int32_t>(expected[j]));
        }
    }
}

}  // namespace

TEST_CASE("codes equal the definition across tiles and blocks") {
    Example example(70, 83);
    REQUIRE(example.run() == Status::ok);
    check_definition(example);
}

TEST_CASE("masked codes are zero and their error is fed back") {
    Example example(70, 83);
    example.mask.resize(70 * 83);
    for (std::size_t i = 0; i < example.mask.size(); ++i) example.mask[i] = i % 3 == 0 ? 0 : 1;
    REQUIRE(example.run() == Status::ok);
    check_definition(example);
    example.mask.pop_back();
    CHECK(example.run() == Status::bad_argument);
}

TEST_CASE("any number of threads gives the same codes") {
    Example one(200, 40), many(200, 40);
    REQUIRE(one.run(1) == Status::ok);
    REQUIRE(many.run(7) == Status::ok);
    CHECK(one.codes == many.codes);
}

TEST_CASE("without a factor each weight rounds to nearest") {
    Example example(5, 9);
    example.factor.clear();
    REQUIRE(example.run() == Status::ok);
    for (std::size_t i = 0; i < example.codes.size(); ++i) {
        CHECK(std::abs(example.weights[i] - example.codes[i] * 0.125f) <= 0.0625f);
    }
}

TEST_CASE("the dead zone moves magnitudes toward zero and is capped") {
    Example example(1, 4);
    example.factor.clear();
    example.weights = {0.125f * 0.8f, -0.125f * 0.8f, 0.125f * 0.9f, 0.125f * 2.7f};
    example.row_dead_zones = {100.0f};
    example.column_dead_zones = {100.0f, 100.0f, 100.0f, 0.0f};
    REQUIRE(example.run() == Status::ok);
    CHECK(example.codes == std::vector<std::int32_t>{0, 0, 1, 3});
}

TEST_CASE("arguments that do not fit are refused") {
    Example example(3, 4);
    CHECK(example.run(0) == Status::bad_argument);
    example.column_steps[2] = 0.0f;
    CHECK(example.run() == Status::bad_argument);
    example.column_steps[2] = 1e-20f;
    CHECK(example.run() == Status::bad_argument);
    example.column_steps[2] = 0.25f;
    example.weights[5] = std::nanf("");
    CHECK(example.run() == Status::bad_argument);
    example.weights[5] = 0.0f;
    example.factor[5] = -1.0f;
    CHECK(example.run() == Status::bad_argument);
    example.factor.pop_back();
    CHECK(example.run() == Status::bad_argument);
}

TEST_CASE("an empty matrix is fine") {
    Example example(0, 4);
    CHECK(example.run() == Status::ok);
    Example narrow(4, 0);
    CHECK(narrow.run() == Status::ok);
}
