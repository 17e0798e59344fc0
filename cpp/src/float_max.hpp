// What the encoder and the decoder of level max share: how a word becomes symbol, raw bits and escape, and the table and addend of each element.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "float_max_kernels.hpp"
#include "tersor/float_max.hpp"

namespace tersor {

constexpr std::int32_t kColumnLimit = 24;  // of the column scales that an encoder uses
constexpr std::size_t kMinRowsForColumns = 32;

// As MaxSplit::entries, with the instruction set in use.
void entries_of_row(int exponent_bits, const std::uint16_t* words, const MaxRow& row, std::size_t n, std::uint16_t* out);

struct MaxSplit {
    FloatFormat format;

    constexpr int raw_bits() const { return format.mantissa_bits - 2; }
    constexpr std::uint32_t field_mask() const { return (1u << (format.exponent_bits + 2)) - 1; }
    constexpr std::uint16_t addend(std::int64_t octaves) const {
        return static_cast<std::uint16_t>(static_cast<std::uint64_t>(format.bias + octaves - 12) << format.mantissa_bits);
    }
    constexpr std::uint32_t field(std::uint16_t u) const { return u >> raw_bits() & field_mask(); }
    constexpr std::uint32_t raw(std::uint16_t u) const { return u & ((1u << raw_bits()) - 1); }
    // Symbol 0 is the escape; a symbol needs x in 4 .. 63.
    static constexpr std::uint32_t symbol(std::uint16_t u, std::uint32_t x) { return x >= 4 && x < 64 ? static_cast<std::uint32_t>(u >> 15) << 6 | x : 0; }
    // For each word of a row where its symbol stands among the symbols of all tables.
    void entries(const std::uint16_t* words, const MaxRow& row, std::span<std::uint16_t> out) const { entries_of_row(format.exponent_bits, words, row, out.size(), out.data()); }
    constexpr std::uint16_t join(std::uint32_t sign, std::uint32_t x, std::uint32_t raw) const {
        return static_cast<std::uint16_t>(sign << 15 | x << raw_bits() | raw);
    }
    void put_escape(std::uint16_t u, Bytes& out) const {
        const std::uint32_t x = field(u), d = (0u - (x >> 2)) & ((1u << format.exponent_bits) - 1);
        out.push_back(static_cast<std::uint8_t>((d < 31 ? d : 31) << 3 | static_cast<std::uint32_t>(u >> 15) << 2 | (x & 3)));
        if (d >= 31) out.push_back(static_cast<std::uint8_t>(d));
    }
    // False if `in` ends or holds what no encoder writes.
    bool get_escape(ByteReader& in, std::uint32_t& sign, std::uint32_t& x) const {
        const std::uint32_t first = in.u8();
        std::uint32_t d = first >> 3;
        if (d == 31) {
            d = in.u8();
            if (d < 31) return false;
        }
        sign = first >> 2 & 1;
        x = ((0u - d) << 2 | (first & 3)) & field_mask();
        return !in.failed() && d >> format.exponent_bits == 0;
    }
};

// Pauses of walks over the rows of a matrix, from the first on.
class Pauses {
public:
    Pauses(const WordMatrix& words, const Pause& pause) : pause_(pause), rows_(kPauseBytes / (sizeof(std::uint16_t) * words.columns * words.column_stride) + 1) {}
    void after(std::size_t row) {
        if (!pause_) return;
        if (row < next_ - std::min(next_, rows_)) next_ = rows_;  // another walk
        if (row < next_) return;
        pause_();
        next_ = row + rows_;
    }

private:
    const Pause& pause_;
    std::size_t rows_, next_ = rows_;
};

// Where the tables of all columns begin among the entries of all tables, and their addends, for the four quarters of an octave that a row's class can have, and each profile.
class ColumnTables {
public:
    ColumnTables(MaxSplit split, int shape, std::size_t profiles, std::size_t columns, std::span<const std::int32_t> scale, std::span<const std::int32_t> column_shape)
        : profiles_(profiles), columns_(columns), first_entry_(4 * profiles * columns), addend_(4 * profiles * columns) {
        for (std::size_t quarter = 0; quarter < 4; ++quarter)
            for (std::size_t j = 0; j < profiles * columns; ++j) {
                const std::int32_t c = static_cast<std::int32_t>(quarter) + scale[j];
                const std::size_t skew = static_cast<std::size_t>(column_shape[j]) >> 1;
                const std::size_t place = quarter * profiles * columns + j;
                first_entry_[place] = static_cast<std::uint16_t>(((static_cast<std::size_t>(shape) * kSkews + skew) * 4 + static_cast<std::size_t>(c & 3)) * kMaxSymbols);
                addend_[place] = static_cast<std::uint16_t>(((static_cast<unsigned>(column_shape[j]) & 1u) << 15) +
                                                            (static_cast<unsigned>(c >> 2) << split.format.mantissa_bits));
            }
    }
    const std::uint16_t* first_entries(std::int32_t row_class, std::int32_t profile) const { return &first_entry_[place(row_class, profile)]; }
    const std::uint16_t* addends(std::int32_t row_class, std::int32_t profile) const { return &addend_[place(row_class, profile)]; }
    MaxRow row(MaxSplit split, std::int64_t base, std::int32_t row_class, std::int32_t profile) const {
        return {first_entries(row_class, profile), addends(row_class, profile), split.addend(base + (row_class >> 2))};
    }

private:
    std::size_t place(std::int32_t row_class, std::int32_t profile) const {
        return (static_cast<std::size_t>(row_class & 3) * profiles_ + static_cast<std::size_t>(profile)) * columns_;
    }
    std::size_t profiles_, columns_;
    std::vector<std::uint16_t> first_entry_, addend_;
};

}  // namespace tersor
