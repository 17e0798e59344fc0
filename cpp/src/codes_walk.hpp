// What coding and decoding of codes share: how the rows are cut into streams, the columns' states, and each column's table.
#pragma once
#include <algorithm>
#include <vector>

#include "tersor/codes.hpp"
#include "tersor/rans.hpp"

namespace tersor {

// kTrellisNext as logic on the bits a b c of a state, from the highest: loops over columns then vectorise.
template <class Unsigned>
constexpr Unsigned next_trellis_state(Unsigned state, Unsigned parity) {
    const auto a = static_cast<Unsigned>(state >> 2 & 1), b = static_cast<Unsigned>(state >> 1 & 1), c = static_cast<Unsigned>(state & 1);
    return static_cast<Unsigned>(c << 2 | (parity ^ a ^ (c & (a ^ b))) << 1 | (b ^ (c & (a ^ 1))));
}
static_assert([] {
    for (unsigned state = 0; state < 8; ++state)
        for (unsigned parity = 0; parity < 2; ++parity)
            if (next_trellis_state(state, parity) != kTrellisNext[state][parity]) return false;
    return true;
}());

// The states of all columns while rows go by. Plain codes stay in state 0.
class Trellis {
public:
    Trellis(std::size_t columns, std::size_t restart_rows) : states_(restart_rows ? columns : 0, 0), restart_rows_(restart_rows) {}
    void begin_row(std::size_t row) {
        if (restart_rows_ && row % restart_rows_ == 0) std::fill(states_.begin(), states_.end(), std::uint8_t{0});
    }
    int half(std::size_t column) const { return restart_rows_ ? states_[column] & 1 : 0; }
    void step(std::size_t column, std::int32_t code) {
        if (restart_rows_) states_[column] = kTrellisNext[states_[column]][code & 1];
    }

    std::uint8_t* states() { return states_.data(); }

private:
    std::vector<std::uint8_t> states_;
    std::size_t restart_rows_;
};

// First row of a stream: streams take whole runs of trellis rows.
inline std::size_t first_row(const CodeShape& shape, std::size_t stream, std::size_t n_streams) {
    const std::size_t unit = std::max<std::size_t>(shape.trellis_rows, 1);
    const std::size_t n_units = shape.rows / unit + (shape.rows % unit != 0);
    const std::size_t first_unit = cut(n_units, stream, n_streams);
    return first_unit < n_units ? first_unit * unit : shape.rows;
}

// The table number of each column, times `factor`, for every class that a row of the shape has.
template <class Number>
class ColumnTables {
public:
    // The classes of rows are int16, so that there are at most 2^16 of them.
    ColumnTables(const CodeShape& shape, const TableSet& tables, int factor) : columns_(shape.columns) {
        if (shape.row_class.empty()) return;
        const auto [least, greatest] = std::minmax_element(shape.row_class.begin(), shape.row_class.end());
        least_ = *least;
        place_.assign(static_cast<std::size_t>(*greatest - least_) + 1, kNowhere);
        std::size_t n_classes = 0;
        for (const std::int32_t row_class : shape.row_class)
            if (std::uint32_t& place = place_[static_cast<std::size_t>(row_class - least_)]; place == kNowhere) place = static_cast<std::uint32_t>(n_classes++);
        const bool trellis = shape.trellis_rows > 0;
        for (int half = 0; half < (trellis ? 2 : 1); ++half) {
            numbers_[half].resize(n_classes * columns_);
            for (std::size_t c = 0; c < place_.size(); ++c)
                if (place_[c] != kNowhere) fill(shape.column_class, tables, least_ + static_cast<std::int32_t>(c), half, trellis, factor, numbers_[half].data() + place_[c] * columns_);
        }
    }
    // The numbers of the columns of a row of this class, for even (half 0) and, with a trellis, odd states (half 1).
    const Number* of(std::int32_t row_class, int half) const { return numbers_[half].data() + place_[static_cast<std::size_t>(row_class - least_)] * columns_; }

private:
    static constexpr std::uint32_t kNowhere = ~std::uint32_t{0};

    static void fill(std::span<const std::int32_t> column_class, const TableSet& tables, std::int32_t row_class, int half, bool trellis, int factor, Number* numbers) {
        for (const std::int32_t c : column_class) *numbers++ = static_cast<Number>(tables.number_of_class(row_class + c, half, trellis) * factor);
    }

    std::size_t columns_;
    std::int32_t least_ = 0;
    std::vector<std::uint32_t> place_;  // by class: its number among those that occur
    std::vector<Number> numbers_[2];    // [class that occurs][column]
};

}  // namespace tersor
