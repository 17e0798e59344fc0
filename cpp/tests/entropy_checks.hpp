// What the tests of the entropy core share: tables, sources of numbers, and damage under the sanitizers.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "codec_checks.hpp"
#include "tersor/alias_table.hpp"

namespace tersor::testing {

using Frequencies = std::vector<std::uint16_t>;

inline Frequencies normalized(const std::vector<std::uint64_t>& counts, int precision) {
    Frequencies frequencies(counts.size());
    normalize(counts, precision, frequencies);
    return frequencies;
}

// A two-sided geometric distribution around the middle symbol; symbol 0 is a rare escape.
inline Frequencies bell(int symbols, int precision, double decay) {
    std::vector<std::uint64_t> counts(static_cast<std::size_t>(symbols));
    for (int s = 0; s < symbols; ++s) {
        double count = 1e6;
        for (int d = std::abs(s - symbols / 2); d > 0; --d) count *= decay;
        counts[static_cast<std::size_t>(s)] = s == 0 ? 1000 : static_cast<std::uint64_t>(count);
    }
    return normalized(counts, precision);
}

struct SetOptions {
    Bytes raw_bits;  // empty: none for every table
    int first_class = 0;
    Bytes class_map;
};

inline TableSet make_set(int symbols, int precision, const std::vector<Frequencies>& tables, SetOptions options = {}) {
    Frequencies all;
    for (const Frequencies& table : tables) all.insert(all.end(), table.begin(), table.end());
    if (options.raw_bits.empty()) options.raw_bits.assign(tables.size(), 0);
    TableSet set;
    REQUIRE(TableSet::build(symbols, precision, options.raw_bits, pack_frequencies(all), options.first_class, options.class_map, set) == Status::ok);
    return set;
}

// Calls check(payload) for every truncation of `payload`. Each copy has its own memory, so that the sanitizer sees the first byte behind its end.
template <class Check>
void for_each_truncation(const Bytes& payload, Check check) {
    for (std::size_t n = 0; n < payload.size(); ++n) check(Bytes(payload.begin(), payload.begin() + static_cast<std::ptrdiff_t>(n)));
}

template <class Check>
void for_each_flipped_bit(const Bytes& payload, Check check) {
    for (std::size_t bit = 0; bit < 8 * payload.size(); ++bit) {
        Bytes damaged = payload;
        damaged[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
        check(damaged);
    }
}

// One to four bytes changed, `n_trials` times.
template <class Check>
void for_random_damage(const Bytes& payload, int n_trials, Check check) {
    Random random;
    for (int trial = 0; trial < n_trials; ++trial) {
        Bytes damaged = payload;
        for (unsigned k = 0; k <= random.next() % 4; ++k) damaged[random.next() % damaged.size()] ^= static_cast<std::uint8_t>(1 + random.next() % 255);
        check(damaged);
    }
}

template <class Check>
void for_noise(std::size_t max_size, int n_trials, Check check) {
    Random random;
    for (int trial = 0; trial < n_trials; ++trial) {
        Bytes noise(random.next() % max_size);
        for (auto& byte : noise) byte = static_cast<std::uint8_t>(random.next());
        check(noise);
    }
}

}  // namespace tersor::testing
