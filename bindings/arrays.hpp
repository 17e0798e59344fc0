// Arrays as the bindings take them, and the checks that several bindings make.
// Outputs are bound with noconvert(): nanobind would otherwise fill a converted copy and drop it.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <bit>
#include <cstdint>
#include <span>

#include "bind.hpp"
#include "tersor/alias_table.hpp"
#include "tersor/bytes.hpp"
#include "tersor/float_rows.hpp"

namespace tersor::bindings {

template <class T, int rank>
using Array = nanobind::ndarray<T, nanobind::ndim<rank>, nanobind::c_contig, nanobind::device::cpu>;
using ByteArray = Array<const std::uint8_t, 1>;

template <class T, class... Rest>
std::span<T> span_of(const nanobind::ndarray<T, Rest...>& array) {
    return {array.data(), array.size()};
}
inline ByteSpan span_of(const nanobind::bytes& bytes) { return {static_cast<const std::uint8_t*>(bytes.data()), bytes.size()}; }
inline nanobind::bytes to_bytes(ByteSpan bytes) { return nanobind::bytes(bytes.data(), bytes.size()); }

// Raises ValueError naming `what` unless the condition holds.
inline void require(bool condition, const char* what) {
    if (!condition) raise_for(Status::bad_argument, what);
}

inline FloatFormat format_of(int unit) {
    require(unit == 0 || unit == 1, "float unit must be 0 (BF16) or 1 (F16)");
    return unit == 0 ? kBF16 : kF16;
}

inline const AliasTable& table_at(const TableSet& set, std::size_t number) {
    require(number < set.tables.size(), "table number");
    return set.tables[number];
}

// An encoder divides by the frequency of every symbol it meets, and may meet the escape anywhere.
inline void require_side_tables(const TableSet& side) { require(side.precision == 12 && side.has_escapes(), "side tables for encoding"); }
inline void require_float_tables(const TableSet& tables, bool balanced) {
    require(tables.tables.size() == kFloatTables && tables.symbols == (balanced ? 64 : 16) && tables.precision == (balanced ? 12 : 8), "float tables");
    require(tables.has_escapes(), "float tables for encoding");
}
inline void require_streams(std::size_t n_streams, std::size_t lanes) {
    require(n_streams >= 1 && n_streams <= 8 && lanes <= 32 && std::has_single_bit(lanes), "streams and lanes of float rows");
}

}  // namespace tersor::bindings
