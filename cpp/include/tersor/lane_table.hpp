// An alias table as vector registers want it: parallel arrays of bytes or 16-bit words, one entry for each bucket or symbol.
#pragma once
#include <cstdint>

namespace tersor {

constexpr int kLaneSymbols = 64;  // larger tables have no lane form

struct alignas(64) LaneTable {
    // By bucket, A12 with 64 symbols (buckets of 64 slots).
    std::uint16_t threshold_alias[kLaneSymbols];  // threshold << 6 | alias
    std::uint16_t adjust[kLaneSymbols];           // mod 2^16
    std::uint16_t frequency[kLaneSymbols];        // by symbol
    // The same as bytes; a full bucket is its own alias, so that its threshold may be kept as 255.
    std::uint8_t threshold[kLaneSymbols], alias[kLaneSymbols];
    std::uint8_t adjust_low[kLaneSymbols], adjust_high[kLaneSymbols];
    std::uint8_t frequency_low[kLaneSymbols], frequency_high[kLaneSymbols];
    // Encoder, by symbol: 65536 / frequency rounded down (A8); reciprocal a little too small, so that quotients are exact or 1 too small (A12).
    std::uint16_t reciprocal16[kLaneSymbols];
    std::uint8_t reciprocal_low[kLaneSymbols], reciprocal_high[kLaneSymbols];  // its bytes
    std::uint8_t coded[kLaneSymbols];  // 255 where a field is a symbol of its own, 0 where it is an escape
    float reciprocal[kLaneSymbols];
    std::uint32_t frequency_first[kLaneSymbols];  // frequency << 12 | where the symbol's slots begin
    std::uint8_t slot[256];                       // AliasTable::slot (A8)
    std::uint8_t first[16];                       // where the symbol's slots begin (A8)
    // Where `coded` is 255 in one run, as in nearly all tables: the run; else n_coded is 0.
    std::uint8_t first_coded, n_coded;
};

}  // namespace tersor
