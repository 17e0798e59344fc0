#include "tersor/quantize_two_sided.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <vector>

#include "tersor/codes.hpp"

using tersor::kTrellisNext;
using tersor::round_two_sided;
using tersor::Status;
using tersor::TwoSidedProblem;

namespace {

constexpr std::size_t kWidth = 4;  // magnitudes with a cost of their own

struct Example {
    std::size_t rows, columns;
    bool has_trellis = false;
    std::size_t run_rows = 16;
    std::vector<float> weights, column_factor, row_factor, row_steps, column_steps, costs;
    std::vector<std::int32_t> row_classes, column_classes, codes;
    std::vector<std::uint8_t> mask;  // empty: none
    std::uint32_t seed = 1;

    Example(std::size_t n_rows, std::size_t n_columns, bool trellis)
        : rows(n_rows), columns(n_columns), has_trellis(trellis), weights(rows * columns), row_steps(rows), column_steps(columns),
          costs((trellis ? 2 : 1) * 3 * kWidth), row_classes(rows), column_classes(columns), codes(rows * columns) {
        for (float& weight : weights) weight = draw();
        for (float& step : row_steps) step = 0.5f + 0.2f * draw();
        for (float& step : column_steps) step = 0.25f + 0.1f * draw();
        for (std::size_t i = 0; i < costs.size(); ++i) costs[i] = 0.2f * static_cast<float>(i % kWidth) + 0.1f * draw();
        for (std::size_t i = 0; i < rows; ++i) row_classes[i] = static_cast<std::int32_t>(i % 3);
        for (std::size_t j = 0; j < columns; ++j) column_classes[j] = static_cast<std::int32_t>(j % 2);
    }
    float draw() {
        seed = seed * 1664525u + 1013904223u;
        return static_cast<float>(static_cast<std::int32_t>(seed)) / 2147483648.0f;
    }
    // U upper triangular for columns, L lower triangular for rows.
    Example& with_column_factor() {
        column_factor.assign(columns * columns, 0.0f);
        for (std::size_t j = 0; j < columns; ++j)
            for (std::size_t k = j; k < columns; ++k) column_factor[j * columns + k] = j == k ? 1.2f : 0.2f * draw();
        return *this;
    }
    Example& with_row_factor(float off_diagonal) {
        row_factor.assign(rows * rows, 0.0f);
        for (std::size_t i = 0; i < rows; ++i)
            for (std::size_t k = 0; k <= i; ++k) row_factor[i * rows + k] = i == k ? 0.8f : off_diagonal * draw();
        return *this;
    }
    TwoSidedProblem problem() const {
        TwoSidedProblem made;
        made.rows = rows, made.columns = columns, made.weights = weights;
        made.column_factor = column_factor, made.row_factor = row_factor;
        made.row_steps = row_steps, made.column_steps = column_steps;
        made.row_classes = row_classes, made.column_classes = column_classes;
        made.code_costs = {costs, kWidth, 3, 0};
        made.has_trellis = has_trellis, made.run_rows = run_rows, made.mask = mask;
        return made;
    }
    Status run(unsigned threads = 1) { return round_two_sided(problem(), codes, threads); }

    Example& with_mask() {
        mask.resize(weights.size());
        for (std::uint8_t& flag : mask) flag = draw() < 0.2f ? 0 : 1;
        return *this;
    }
    bool is_kept(std::size_t i, std::size_t j) const { return mask.empty() || mask[i * columns + j] != 0; }
    double step(std::size_t i, std::size_t j) const { return double(row_steps[i]) * column_steps[j]; }
    double cost(std::size_t i, std::size_t j, int half, int code) const {
        const int place = std::clamp(row_classes[i] + column_classes[j], 0, 2);
        return costs[(static_cast<std::size_t>(half) * 3 + static_cast<std::size_t>(place)) * kWidth + std::min<std::size_t>(std::size_t(std::abs(code)), kWidth - 1)];
    }
    double level(int half, int code) const { return has_trellis ? 2 * code - half * ((code > 0) - (code < 0)) : code; }
};

// What the codes of column j cost, its values being those given, by the definition in the header; of the first column run only.
double column_cost(const Example& example, std::size_t j, const std::vector<int>& codes) {
    std::vector<double> values, errors;
    for (std::size_t i = 0; i < example.rows; ++i) values.push_back(example.weights[i * example.columns + j]);
    double total = 0;
    int state = 0;
    for (std::size_t i = 0; i < example.rows; ++i) {
        double value = values[i];
        for (std::size_t k = 0; k < i && !example.row_factor.empty(); ++k) value -= example.row_factor[i * example.rows + k] * errors[k];
        const double rounded = example.level(state & 1, codes[i]) * example.step(i, j), distance = (value - rounded) / example.step(i, j);
        errors.push_back(example.row_factor.empty() ? 0.0 : (value - rounded) / example.row_factor[i * example.rows + i]);
        total += distance * distance + example.cost(i, j, state & 1, codes[i]);
        if (codes[i] != 0 && !example.is_kept(i, j)) return 1e30;
        if (example.has_trellis) state = kTrellisNext[state][codes[i] & 1];
    }
    return total;
}

// The least cost of any codes in -reach .. reach, by trying all.
double least_cost(const Example& example, int reach) {
    std::vector<int> codes(example.rows, -reach);
    double least = 1e30;
    for (;;) {
        least = std::min(least, column_cost(example, 0, codes));
        std::size_t i = 0;
        while (i < codes.size() && codes[i] == reach) codes[i++] = -reach;
        if (i == codes.size()) return least;
        ++codes[i];
    }
}

std::vector<int> column_of(const Example& example, std::size_t j) {
    std::vector<int> codes;
    for (std::size_t i = 0; i < example.rows; ++i) codes.push_back(example.codes[i * example.columns + j]);
    return codes;
}

// All codes by the definition, in double: only near-ties may differ.
std::vector<std::int32_t> scalar_by_definition(const Example& example) {
    std::vector<double> values(example.weights.begin(), example.weights.end());
    std::vector<std::int32_t> codes(values.size());
    const std::size_t n = example.columns;
    for (std::size_t j = 0; j < n; ++j) {
        std::vector<double> errors(example.rows);
        for (std::size_t i = 0; i < example.rows; ++i) {
            double value = values[i * n + j];
            for (std::size_t k = 0; k < i; ++k) value -= example.row_factor[i * example.rows + k] * errors[k];
            const double u = value / example.step(i, j);
            int best = 0;
            double best_cost = 1e30;
            for (int code = static_cast<int>(std::floor(u)) - 1; code <= static_cast<int>(std::ceil(u)) + 1; ++code) {
                const double cost = (u - code) * (u - code) + example.cost(i, j, 0, code);
                if (cost < best_cost) best = code, best_cost = cost;
            }
            if (!example.is_kept(i, j)) best = 0;
            codes[i * n + j] = best;
            errors[i] = (value - best * example.step(i, j)) / example.row_factor[i * example.rows + i];
            const double error = (values[i * n + j] - best * example.step(i, j)) / example.column_factor[j * n + j];
            for (std::size_t k = j + 1; k < n; ++k) values[i * n + k] -= error * example.column_factor[j * n + k];
        }
    }
    return codes;
}

// The search over one run of one column by its definition, in double: every state's survivor carries all its errors.
std::vector<int> search_by_definition(const Example& example) {
    struct Survivor {
        double cost = 1e30;
        std::vector<int> codes;
        std::vector<double> errors;
    };
    std::vector<Survivor> survivors(8);
    survivors[0].cost = 0;
    for (std::size_t i = 0; i < example.rows; ++i) {
        std::vector<Survivor> next(8);
        for (int state = 0; state < 8; ++state) {
            const Survivor& from = survivors[static_cast<std::size_t>(state)];
            if (from.cost >= 1e29) continue;
            double value = example.weights[i];
            for (std::size_t k = 0; k < i; ++k) value -= example.row_factor[i * example.rows + k] * from.errors[k];
            const double u = value / example.step(i, 0);
            const int nearest = static_cast<int>(std::lround(u / 2));
            for (int code = nearest - 3; code <= nearest + 3; ++code) {
                const double distance = u - example.level(state & 1, code), cost = from.cost + distance * distance + example.cost(i, 0, state & 1, code);
                Survivor& to = next[kTrellisNext[state][code & 1]];
                if (cost >= to.cost) continue;
                to = {cost, from.codes, from.errors};
                to.codes.push_back(code);
                to.errors.push_back(distance * example.step(i, 0) / example.row_factor[i * example.rows + i]);
            }
        }
        survivors = next;
    }
    return std::min_element(survivors.begin(), survivors.end(), [](const Survivor& a, const Survivor& b) { return a.cost < b.cost; })->codes;
}

}  // namespace

TEST_CASE("scalar codes equal the definition across runs and blocks of columns") {
    Example example(70, 40, false);
    example.with_column_factor().with_row_factor(0.2f);
    REQUIRE(example.run() == Status::ok);
    CHECK(example.codes == scalar_by_definition(example));
}

TEST_CASE("masked scalar codes are zero and their errors are fed back") {
    Example example(70, 40, false);
    example.with_column_factor().with_row_factor(0.2f).with_mask();
    REQUIRE(example.run() == Status::ok);
    CHECK(example.codes == scalar_by_definition(example));
    example.mask.pop_back();
    CHECK(example.run() == Status::bad_argument);
}

TEST_CASE("with a mask the trellis finds the least cost of all codes that are zero where they must be") {
    for (std::uint32_t seed = 1; seed < 12; ++seed) {
        Example example(5, 1, true);
        example.seed = seed * 977;
        for (float& weight : example.weights) weight = 0.6f * example.draw();
        example.with_mask();
        REQUIRE(example.run() == Status::ok);
        CHECK(column_cost(example, 0, column_of(example, 0)) == doctest::Approx(least_cost(example, 4)).epsilon(1e-5));
    }
}

TEST_CASE("masked runs give the same codes side by side, alone and on any number of threads") {
    Example many(16 * 40, 24, true);
    many.with_column_factor().with_mask();
    REQUIRE(many.run() == Status::ok);
    Example one(16, 24, true);
    one.row_steps.assign(many.row_steps.begin(), many.row_steps.begin() + 16);
    one.column_steps = many.column_steps, one.costs = many.costs, one.column_factor = many.column_factor;
    one.weights.assign(many.weights.begin(), many.weights.begin() + 16 * 24);
    one.mask.assign(many.mask.begin(), many.mask.begin() + 16 * 24);
    REQUIRE(one.run() == Status::ok);
    CHECK(std::equal(one.codes.begin(), one.codes.end(), many.codes.begin()));
    const std::vector<std::int32_t> codes = many.codes;
    REQUIRE(many.run(5) == Status::ok);
    CHECK(many.codes == codes);
    for (std::size_t i = 0; i < codes.size(); ++i) CHECK((many.mask[i] != 0 || codes[i] == 0));
}

TEST_CASE("without feedback the trellis finds the least cost of all codes") {
    for (std::uint32_t seed = 1; seed < 12; ++seed) {
        Example example(5, 1, true);
        example.seed = seed * 977;
        for (float& weight : example.weights) weight = 0.6f * example.draw();
        REQUIRE(example.run() == Status::ok);
        CHECK(column_cost(example, 0, column_of(example, 0)) == doctest::Approx(least_cost(example, 4)).epsilon(1e-5));
    }
}

TEST_CASE("with feedback the trellis comes near the least cost of all codes") {
    double found = 0, least = 0;
    for (std::uint32_t seed = 1; seed < 12; ++seed) {
        Example example(5, 1, true);
        example.seed = seed * 977;
        for (float& weight : example.weights) weight = 0.6f * example.draw();
        example.with_row_factor(0.3f);
        REQUIRE(example.run() == Status::ok);
        found += column_cost(example, 0, column_of(example, 0));
        least += least_cost(example, 4);
    }
    CHECK(found <= 1.05 * least);
}

TEST_CASE("with feedback every survivor carries its own errors through a long run") {
    Example example(200, 1, true);
    example.run_rows = 256;
    example.with_row_factor(0.15f);
    REQUIRE(example.run() == Status::ok);
    CHECK(column_of(example, 0) == search_by_definition(example));
}

TEST_CASE("runs searched side by side and one after the other give the same codes") {
    Example lanes(16 * 9 + 5, 37, true), coupled(16 * 9 + 5, 37, true);
    lanes.with_column_factor();
    coupled.with_column_factor().with_row_factor(0.0f);
    REQUIRE(lanes.run() == Status::ok);
    REQUIRE(coupled.run() == Status::ok);
    CHECK(lanes.codes == coupled.codes);
}

TEST_CASE("a matrix of few rows has the codes of the same rows of a tall one") {
    Example tall(16 * 9 + 5, 37, true), few(48, 37, true);
    tall.with_column_factor();
    std::copy_n(tall.weights.begin(), few.weights.size(), few.weights.begin());
    std::copy_n(tall.row_steps.begin(), few.rows, few.row_steps.begin());
    few.column_steps = tall.column_steps, few.costs = tall.costs, few.column_factor = tall.column_factor;
    REQUIRE(tall.run() == Status::ok);
    REQUIRE(few.run() == Status::ok);
    CHECK(std::equal(few.codes.begin(), few.codes.end(), tall.codes.begin()));
}

TEST_CASE("every run begins in state 0") {
    Example whole(48, 3, true), part(16, 3, true);
    REQUIRE(whole.run() == Status::ok);
    const std::size_t first = 32 * 3;
    std::copy(whole.weights.begin() + first, whole.weights.end(), part.weights.begin());
    std::copy(whole.row_steps.begin() + 32, whole.row_steps.end(), part.row_steps.begin());
    std::copy(whole.row_classes.begin() + 32, whole.row_classes.end(), part.row_classes.begin());
    part.column_steps = whole.column_steps, part.costs = whole.costs;
    REQUIRE(part.run() == Status::ok);
    CHECK(std::equal(part.codes.begin(), part.codes.end(), whole.codes.begin() + first));
}

TEST_CASE("any number of threads gives the same codes") {
    for (const bool trellis : {false, true})
        for (const bool has_rows : {false, true}) {
            Example one(200, 70, trellis);
            one.with_column_factor();
            if (has_rows) one.with_row_factor(0.2f);
            Example many = one;
            REQUIRE(one.run(1) == Status::ok);
            REQUIRE(many.run(5) == Status::ok);
            CHECK(one.codes == many.codes);
        }
}

TEST_CASE("codes of any size are found, not clipped") {
    for (const bool trellis : {false, true}) {
        Example example(3, 1, trellis);
        example.weights = {-90000.0f, 5000.0f, 0.0f};
        std::fill(example.costs.begin(), example.costs.end(), 0.0f);
        REQUIRE(example.run() == Status::ok);
        for (std::size_t i = 0; i < 2; ++i) {
            const double spacing = trellis ? 2.0 : 1.0;
            CHECK(std::abs(example.codes[i] * spacing - example.weights[i] / example.step(i, 0)) <= 1.6);
        }
        CHECK(example.codes[2] == 0);
    }
}

TEST_CASE("arguments that do not fit are refused") {
    for (const bool trellis : {false, true}) {
        const auto refused = [&](auto change) {
            Example example(20, 3, trellis);
            example.with_column_factor().with_row_factor(0.1f);
            change(example);
            return example.run() == Status::bad_argument;
        };
        CHECK_FALSE(refused([](Example&) {}));
        CHECK(refused([](Example& e) { e.run_rows = 0; }));
        CHECK(refused([](Example& e) { e.run_rows = 24; }));
        CHECK(refused([](Example& e) { e.run_rows = 512; }));
        CHECK(refused([](Example& e) { e.row_steps[3] = 0.0f; }));
        CHECK(refused([](Example& e) { e.column_steps[1] = 1e-20f; }));
        CHECK(refused([](Example& e) { e.weights[7] = std::nanf(""); }));
        CHECK(refused([](Example& e) { e.row_factor[21] = -1.0f; }));
        CHECK(refused([](Example& e) { e.row_factor.pop_back(); }));
        CHECK(refused([](Example& e) { e.column_factor[4] = 0.0f; }));
        CHECK(refused([](Example& e) { e.costs.pop_back(); }));
        CHECK(refused([](Example& e) { e.row_classes.pop_back(); }));
        CHECK(refused([](Example& e) { e.codes.pop_back(); }));
        Example example(20, 3, trellis);
        CHECK(example.run(0) == Status::bad_argument);
    }
}

TEST_CASE("a matrix without elements is fine") {
    for (const bool trellis : {false, true}) {
        Example empty(0, 4, trellis), narrow(4, 0, trellis);
        CHECK(empty.run() == Status::ok);
        CHECK(narrow.run() == Status::ok);
    }
}
