// Short vectors of small integers (exponents, classes): docs/format.md 5.4.
#pragma once
#include <cstdint>
#include <span>

#include "tersor/alias_table.hpp"
#include "tersor/bytes.hpp"
#include "tersor/status.hpp"

namespace tersor {

// How an integer h (after its raw bits were split off) is seen by a table: symbol h + K/2, or the escape 0.
inline std::uint32_t symbol_of(std::int64_t h, const AliasTable& table) {
    const std::int64_t symbol = h + table.symbols / 2;
    return symbol > 0 && symbol < table.symbols && table.frequency[static_cast<std::size_t>(symbol)] ? static_cast<std::uint32_t>(symbol) : 0;
}

// Appends `integers(n)` to `out`. The offset is the median, so that one table serves vectors of any level.
// table: of format A12, with a frequency for the escape.
void encode_integers(std::span<const std::int32_t> values, const AliasTable& table, Bytes& out);

// Reads `integers(values.size())` from `in`. Every value and the offset must lie in [low, high].
Status decode_integers(ByteReader& in, const AliasTable& table, std::int32_t low, std::int32_t high, std::span<std::int32_t> values);

// The offset that encode_integers takes out; counting symbols for a table needs the same.
std::int32_t integers_offset(std::span<const std::int32_t> values);

}  // namespace tersor
