#include "tersor/kept.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

using namespace tersor;

namespace {

std::vector<std::uint8_t> mask_of(std::size_t n, std::uint32_t one_in) {
    std::vector<std::uint8_t> mask(n);
    std::uint32_t state = 3;
    for (std::uint8_t& flag : mask) flag = ((state = state * 1664525u + 1013904223u) >> 16) % one_in == 0 ? 1 : 0;
    return mask;
}

}  // namespace

TEST_CASE("kept elements come back to their places and all others are zero") {
    for (const std::size_t size : {1u, 2u, 4u, 8u})
        for (const std::size_t n : {0u, 1u, 63u, 64u, 65u, 1000u})
            for (const std::uint32_t one_in : {1u, 2u, 50u, 1u << 30}) {
                const std::vector<std::uint8_t> mask = mask_of(n, one_in);
                std::vector<std::uint8_t> values, expected;
                for (std::size_t i = 0; i < n; ++i)
                    for (std::size_t b = 0; b < size; ++b) {
                        const auto byte = static_cast<std::uint8_t>(7 * i + b + 1);
                        if (mask[i] != 0) values.push_back(byte);
                        expected.push_back(mask[i] != 0 ? byte : 0);
                    }
                std::vector<std::uint8_t> out(n * size, 0xAA);
                CHECK(expand_kept(mask, values, size, out) == Status::ok);
                CHECK(out == expected);
            }
}

TEST_CASE("too few or too many values, and sizes that no element has, are refused") {
    const std::vector<std::uint8_t> mask{1, 0, 1};
    std::vector<std::uint8_t> out(6);
    CHECK(expand_kept(mask, std::vector<std::uint8_t>(4), 2, out) == Status::ok);
    CHECK(expand_kept(mask, std::vector<std::uint8_t>(3), 2, out) == Status::bad_argument);
    CHECK(expand_kept(mask, std::vector<std::uint8_t>(6), 2, out) == Status::bad_argument);
    CHECK(expand_kept(mask, std::vector<std::uint8_t>(6), 3, out) == Status::bad_argument);
    CHECK(expand_kept(mask, std::vector<std::uint8_t>(2), 1, out) == Status::bad_argument);
}
