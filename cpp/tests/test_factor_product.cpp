#include "tersor/factor_product.hpp"

#include <doctest/doctest.h>

#include <vector>

#include "entropy_checks.hpp"

using namespace tersor;
using namespace tersor::testing;

namespace {

std::vector<float> random_floats(std::size_t n, Random& random) {
    std::vector<float> values(n);
    for (float& value : values) value = static_cast<float>(random.next() % 2001) / 1000.0f - 1.0f;
    return values;
}

}  // namespace

TEST_CASE("a product is the sums in order, whatever its sizes are") {
    Random random;
    for (const std::size_t rows : {0, 1, 3, 4, 9})
        for (const std::size_t rank : {0, 1, 5})
            for (const std::size_t columns : {0, 1, 31, 32, 33, 70}) {
                const auto left = random_floats(rows * rank, random), right = random_floats(rank * columns, random);
                std::vector<float> values(rows * columns, -7.0f);
                REQUIRE(multiply_factors({rows, rank, columns, left, right}, values) == Status::ok);
                for (std::size_t i = 0; i < rows; ++i)
                    for (std::size_t j = 0; j < columns; ++j) {
                        float sum = 0;
                        for (std::size_t k = 0; k < rank; ++k) {
                            const volatile float product = left[i * rank + k] * right[k * columns + j];  // rounded by itself
                            sum = sum + product;
                        }
                        CHECK(values[i * columns + j] == sum);
                    }
            }
}

TEST_CASE("sizes that do not fit each other are refused") {
    const std::vector<float> six(6), five(5);
    std::vector<float> values(4);
    CHECK(multiply_factors({2, 3, 2, five, six}, values) == Status::bad_argument);
    CHECK(multiply_factors({2, 3, 2, six, five}, values) == Status::bad_argument);
    CHECK(multiply_factors({2, 3, 2, six, six}, std::span(values).first(3)) == Status::bad_argument);
}
