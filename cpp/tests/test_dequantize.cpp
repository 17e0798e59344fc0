#include "tersor/dequantize.hpp"

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "entropy_checks.hpp"
#include "tersor/codes.hpp"

using namespace tersor;
using namespace tersor::testing;

namespace {

using Ints = std::vector<std::int32_t>;
using Floats = std::vector<float>;

// A block that owns what it is made of.
struct Owned {
    std::size_t rows, columns;
    Ints codes, row_exponents, column_exponents, zero_points;
    Floats codebook, scales;
    std::size_t trellis_rows = 0, group_size = 0;

    Owned(std::size_t n_rows, std::size_t n_columns, std::uint32_t reach) : rows(n_rows), columns(n_columns), codes(rows * columns), row_exponents(rows), column_exponents(columns) {
        Random random;
        for (auto& code : codes) code = static_cast<std::int32_t>(random.next() % (2 * reach + 1)) - static_cast<std::int32_t>(reach);
        for (auto& e : row_exponents) e = static_cast<std::int32_t>(random.next() % 101) - 50;
        for (auto& e : column_exponents) e = static_cast<std::int32_t>(random.next() % 101) - 50;
    }
    GridBlock block() const { return {rows, columns, codes, row_exponents, column_exponents, trellis_rows, codebook, group_size, scales, zero_points}; }
};

Status values_of(const Owned& owned, Floats& values) {
    values.assign(owned.rows * owned.columns, -1);
    return dequantize(owned.block(), values);
}

}  // namespace

TEST_CASE("dequantize: a value is its level times its step") {
    for (const std::size_t trellis_rows : {0, 3}) {
        Owned owned(7, 33, 20);
        owned.trellis_rows = trellis_rows;
        Floats values, levels(owned.codes.begin(), owned.codes.end());
        if (trellis_rows > 0) trellis_levels(owned.codes, 7, 33, trellis_rows, levels);
        REQUIRE(values_of(owned, values) == Status::ok);
        for (std::size_t i = 0; i < values.size(); ++i) CHECK(values[i] == levels[i] * grid_step(owned.row_exponents[i / 33] + owned.column_exponents[i % 33]));
    }
}

TEST_CASE("dequantize: BF16 is the nearest of the float32 values") {
    const Owned owned(5, 40, 1000);
    Floats values;
    std::vector<std::uint16_t> rounded(200);
    REQUIRE(values_of(owned, values) == Status::ok);
    REQUIRE(dequantize_bf16(owned.block(), rounded) == Status::ok);
    for (std::size_t i = 0; i < values.size(); ++i) {
        const float near = std::bit_cast<float>(static_cast<std::uint32_t>(rounded[i]) << 16);
        CHECK(std::abs(near - values[i]) <= std::abs(values[i]) / 256);
    }
}

TEST_CASE("dequantize: groups subtract their zero point, then scale") {
    Owned owned(2, 6, 9);
    owned.group_size = 3;
    owned.zero_points = {1, -2, 0, std::numeric_limits<std::int32_t>::max()};
    owned.scales = {0.5f, 3.0f, 1e38f, 1e-38f};
    Floats values;
    REQUIRE(values_of(owned, values) == Status::ok);
    for (std::size_t i = 0; i < 12; ++i) {
        const float level = static_cast<float>(owned.codes[i]), zero_point = static_cast<float>(owned.zero_points[i / 3]);
        CHECK(values[i] == (level - zero_point) * owned.scales[i / 3] * grid_step(owned.row_exponents[i / 6] + owned.column_exponents[i % 6]));
    }
}

TEST_CASE("dequantize: what does not fit is refused") {
    Owned good(4, 6, 3);
    Floats values;
    REQUIRE(values_of(good, values) == Status::ok);
    CHECK(dequantize(good.block(), std::span(values).first(23)) == Status::bad_argument);
    const auto refused = [&](auto change) {
        Owned owned = good;
        change(owned);
        CHECK(values_of(owned, values) == Status::bad_argument);
    };
    refused([](Owned& o) { o.codes.pop_back(); });
    refused([](Owned& o) { o.row_exponents.pop_back(); });
    refused([](Owned& o) { o.column_exponents.push_back(0); });
    refused([](Owned& o) { o.group_size = 4; });
    refused([](Owned& o) { o.group_size = 3; });  // without scales
    refused([](Owned& o) { o.codebook = {1}; });  // codes beyond it
    refused([](Owned& o) { o.row_exponents[1] = 600; });
    refused([](Owned& o) { o.row_exponents[1] = std::numeric_limits<std::int32_t>::max(); });
    refused([](Owned& o) { o.column_exponents[1] = std::numeric_limits<std::int32_t>::min(); });
    refused([](Owned& o) {
        o.codebook = Floats(100);
        o.trellis_rows = 2;
    });
}

TEST_CASE("dequantize: blocks without elements have no values") {
    for (const auto& [rows, columns] : {std::pair<std::size_t, std::size_t>{0, 5}, {5, 0}, {0, 0}}) {
        Owned owned(rows, columns, 3);
        Floats values;
        CHECK(values_of(owned, values) == Status::ok);
        owned.trellis_rows = 2;
        CHECK(values_of(owned, values) == Status::ok);
    }
}
