#include "huffman_code.hpp"

namespace tersor::huffman {

namespace {

std::uint16_t reverse_bits(unsigned code, unsigned length) {
    unsigned reversed = 0;
    for (unsigned k = 0; k < length; ++k) reversed = reversed << 1 | (code >> k & 1);
    return static_cast<std::uint16_t>(reversed);
}

}  // namespace

Codes canonical_codes(const Lengths& lengths) {
    Codes codes{};
    unsigned next = 0;
    for (unsigned length = 1; length <= max_length; ++length) {
        next <<= 1;
        for (int symbol = 0; symbol < n_symbols; ++symbol)
            if (lengths[symbol] == length) codes[symbol] = reverse_bits(next++, length);
    }
    return codes;
}

}  // namespace tersor::huffman
