// Entropy tables: frequencies of symbols, their alias form for decoding and its inverse for encoding.
// docs/format.md 5.2 and 5.3. The alias method (Walker 1977; for rANS: Giesen 2014) needs K small rows instead of 2^p slots,
// so that a table fits into vector registers.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "tersor/bytes.hpp"
#include "tersor/lane_table.hpp"
#include "tersor/status.hpp"

namespace tersor {

constexpr std::size_t kSlotPadding = 1;  // vector code loads two slots to use the first

struct AliasTable {
    struct Bucket {
        std::uint16_t threshold;  // slots below it belong to the bucket's own symbol
        std::uint16_t alias;      // the others to this symbol
        std::int32_t adjust;      // added to the slot's position in the bucket to give the offset
    };
    int symbols = 0;       // K, a power of two
    int precision = 0;     // p: frequencies add up to 2^p
    int raw_bits = 0;      // low bits of an integer that are stored beside the symbol
    int bucket_shift = 0;  // log2(2^p / K)
    std::vector<std::uint16_t> frequency;  // [K]
    std::vector<Bucket> bucket;            // [K]
    std::vector<std::uint16_t> first;      // [K] encoder: where the symbol's slots begin in `slot`
    std::vector<std::uint16_t> slot;       // [2^p] encoder: the slot of each (symbol, offset); and kSlotPadding more
    LaneTable lanes{};                     // the same for vector code, of tables of at most 64 symbols

    // frequency: K values below 2^p that add up to 2^p. Returns corrupt otherwise.
    static Status build(std::span<const std::uint16_t> frequency, int precision, AliasTable& table);
};

constexpr std::size_t kMaxTables = 256;  // the entries of a class map are bytes

struct TableSet {
    int symbols = 0;
    int precision = 0;
    std::vector<AliasTable> tables;
    std::vector<std::uint64_t> max_entries;  // [tables][K], of sets of 128 symbols: see max_entry in alias_table.cpp
    int first_class = 0;
    std::vector<std::uint8_t> class_map;
    std::vector<std::uint64_t> entries;  // [tables][K], of sets with a class map: see gather_entry in alias_table.cpp

    // The elements of a TableSet as docs/format.md 5.3 defines them; `frequencies` is the packed bit stream.
    static Status build(int symbols, int precision, ByteSpan raw_bits, ByteSpan frequencies, int first_class, ByteSpan class_map, TableSet& set);

    // Whether symbol 0, the escape, has a frequency in every table. Encoders need it, decoders do not.
    bool has_escapes() const;

    // Number of the table of an element of class `c`; `half` is 0, or 1 for odd trellis states. Needs a class map.
    std::uint8_t number_of_class(int c, int half, bool trellis) const {
        const int length = static_cast<int>(class_map.size()) >> (trellis ? 1 : 0);
        int index = c - first_class;
        index = index < 0 ? 0 : index >= length ? length - 1 : index;
        return class_map[static_cast<std::size_t>(half * length + index)];
    }
};

// The bit stream of docs/format.md 5.3 for n tables of K frequencies each.
Bytes pack_frequencies(std::span<const std::uint16_t> frequencies);

// Frequencies that add up to 2^precision and minimise the code length of `counts` greedily; a symbol with a count keeps at least 1,
// one without gets 0. At least two symbols get a frequency. Needs fewer nonzero counts than 2^precision.
void normalize(std::span<const std::uint64_t> counts, int precision, std::span<std::uint16_t> frequencies);

}  // namespace tersor
