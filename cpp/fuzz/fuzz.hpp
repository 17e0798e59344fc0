// What the fuzz targets share. A target is one file with `fuzz` (any bytes: must not crash, hang or write outside) and
// `seeds` (inputs that decode well, made by the encoder, where libFuzzer starts).
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <vector>

#include "tersor/alias_table.hpp"
#include "tersor/bytes.hpp"
#include "tersor/status.hpp"

namespace tersor::fuzz {

void fuzz(ByteSpan input);
std::vector<Bytes> seeds();

inline void require(bool condition, const char* what) {
    if (condition) return;
    std::fprintf(stderr, "broken guarantee: %s\n", what);
    std::abort();
}

// A copy in memory of its own, so that the sanitizer sees the first byte that is read behind the end.
inline Bytes own(ByteSpan bytes) {
    Bytes copy(bytes.begin(), bytes.end());
    copy.shrink_to_fit();
    return copy;
}

struct Random {
    std::uint32_t state = 1;
    std::uint32_t next() {
        state = state * 1664525u + 1013904223u;
        return state >> 8;
    }
    // Bell-shaped around 0, about as wide as `width`.
    std::int32_t bell(std::uint32_t width) { return static_cast<std::int32_t>((next() % width + next() % width) / 2) - static_cast<std::int32_t>(width / 2); }
};

// Symbol s has a weight of decay^|s - middle|; symbol 0 is a rare escape.
inline std::vector<std::uint16_t> bell_frequencies(int symbols, int precision, int middle, double decay) {
    std::vector<std::uint64_t> counts(static_cast<std::size_t>(symbols));
    for (int s = 0; s < symbols; ++s) {
        double count = 1e6;
        for (int d = std::abs(s - middle); d > 0; --d) count *= decay;
        counts[static_cast<std::size_t>(s)] = s == 0 ? 1000 : static_cast<std::uint64_t>(count);
    }
    std::vector<std::uint16_t> frequencies(counts.size());
    normalize(counts, precision, frequencies);
    return frequencies;
}

// A set of one table for each element of raw_bits, each wider than the one before.
inline TableSet make_set(int symbols, int precision, int middle, const Bytes& raw_bits, int first_class = 0, const Bytes& class_map = {}) {
    std::vector<std::uint16_t> all;
    for (std::size_t t = 0; t < raw_bits.size(); ++t) {
        const auto table = bell_frequencies(symbols, precision, middle, 0.5 + 0.4 * static_cast<double>(t) / static_cast<double>(raw_bits.size()));
        all.insert(all.end(), table.begin(), table.end());
    }
    TableSet set;
    require(TableSet::build(symbols, precision, raw_bits, pack_frequencies(all), first_class, class_map, set) == Status::ok, "tables of the fuzz target");
    return set;
}

}  // namespace tersor::fuzz
