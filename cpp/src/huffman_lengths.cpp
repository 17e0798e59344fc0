#include "huffman_lengths.hpp"

#include <algorithm>
#include <vector>

namespace tersor::huffman {

namespace {

struct Item {
    std::uint64_t weight;
    bool is_leaf;
};
using Items = std::vector<Item>;

std::vector<std::uint8_t> symbols_by_count(const Counts& counts) {
    std::vector<std::uint8_t> symbols;
    for (int symbol = 0; symbol < n_symbols; ++symbol)
        if (counts[symbol] > 0) symbols.push_back(static_cast<std::uint8_t>(symbol));
    std::stable_sort(symbols.begin(), symbols.end(), [&](auto a, auto b) { return counts[a] < counts[b]; });
    return symbols;
}

Items packages_of_pairs(const Items& items) {
    Items packages;
    for (std::size_t k = 0; k + 1 < items.size(); k += 2)
        packages.push_back({items[k].weight + items[k + 1].weight, false});
    return packages;
}

// levels[0] is of the longest codes; every level merges the leaves with the pairs of the level before.
std::array<Items, max_length> build_levels(const Items& leaves) {
    const auto lighter = [](const Item& a, const Item& b) { return a.weight < b.weight; };
    std::array<Items, max_length> levels;
    levels[0] = leaves;
    for (std::size_t level = 1; level < levels.size(); ++level) {
        const Items packages = packages_of_pairs(levels[level - 1]);
        levels[level].resize(leaves.size() + packages.size());
        std::merge(leaves.begin(), leaves.end(), packages.begin(), packages.end(), levels[level].begin(), lighter);
    }
    return levels;
}

}  // namespace

Lengths optimal_lengths(const Counts& counts) {
    const std::vector<std::uint8_t> symbols = symbols_by_count(counts);
    Items leaves;
    for (const std::uint8_t symbol : symbols) leaves.push_back({counts[symbol], true});
    const auto levels = build_levels(leaves);

    Lengths lengths{};
    std::size_t n_taken = 2 * symbols.size() - 2;
    for (std::size_t level = levels.size(); level-- > 0;) {
        std::size_t n_leaves = 0;
        for (std::size_t k = 0; k < n_taken; ++k) n_leaves += levels[level][k].is_leaf;
        for (std::size_t k = 0; k < n_leaves; ++k) ++lengths[symbols[k]];
        n_taken = 2 * (n_taken - n_leaves);
    }
    return lengths;
}

}  // namespace tersor::huffman
