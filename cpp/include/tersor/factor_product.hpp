// The product of two factors, the same bits on every machine: docs/format.md 4.6.
#pragma once
#include <cstddef>
#include <span>

#include "tersor/status.hpp"

namespace tersor {

struct Factors {
    std::size_t rows, rank, columns;
    std::span<const float> left;   // [rows * rank]
    std::span<const float> right;  // [rank * columns]
};

// Fills values[rows * columns] with left * right. Each element starts at 0 and takes its `rank` products in order, one rounding after each
// multiplication and one after each addition. bad_argument: sizes that do not fit each other.
Status multiply_factors(const Factors& factors, std::span<float> values);

}  // namespace tersor
