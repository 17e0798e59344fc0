// What an encoder of float rows needs to know of a block: the class of each row and the shape class.
#pragma once
#include <vector>

#include "float_rows_kernels.hpp"
#include "tersor/float_rows.hpp"

namespace tersor {

struct RowModel {
    int shape = 3;
    std::int32_t base = 0;
    std::vector<std::int32_t> classes;
};

// The encoder's vector code for the instruction set in use; all members null for the portable code.
FloatEncodeKernels encode_kernels(FloatCoder coder, FloatFormat format);

// The same on every machine: sums run in a fixed order, classes come from comparisons.
// stride: a power of two; only every stride-th row is looked at, and `classes` are theirs.
RowModel model_rows(std::span<const std::uint16_t> words, const FloatRowsOptions& options, std::size_t stride = 1);

}  // namespace tersor
