// Optimal code lengths under a limit.
#pragma once

#include <array>
#include <cstdint>

#include "huffman_code.hpp"

namespace tersor::huffman {

using Counts = std::array<std::uint64_t, n_symbols>;

// Lengths of an optimal prefix code with no length above `max_length`; 0 where the count is 0.
// Requires at least two non-zero counts, so the code is complete.
// Source: package-merge, Larmore and Hirschberg 1990, in the form that keeps only "leaf or package" per item.
Lengths optimal_lengths(const Counts& counts);

}  // namespace tersor::huffman
