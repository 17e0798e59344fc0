// What the LZW encoder and decoder share: the constants of the format and the width of a code.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

namespace tersor::lzw {

constexpr std::uint32_t n_literals = 256;
constexpr std::uint32_t reset_code = 256;
constexpr std::uint32_t first_phrase = 257;
constexpr std::uint32_t max_code = 65535;

// Largest code that can come after `n_codes` codes since the start or the last reset: each code
// but the first brings one phrase, and the phrase being completed may already be named.
constexpr std::uint32_t largest_code(std::uint64_t n_codes) {
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(reset_code + n_codes, max_code));
}

constexpr unsigned code_width(std::uint32_t largest) { return static_cast<unsigned>(std::bit_width(largest)); }

}  // namespace tersor::lzw
