// How level max counts symbols, and moves the classes of rows and columns to where the tables of the round before make them cheapest.
#include <cmath>

#include "float_max.hpp"

namespace tersor {
namespace {

ColumnTables tables_of(MaxSplit split, const FloatModel& model, std::size_t columns) {
    return {split, model.shape, model.profiles, columns, model.column_scale, model.column_shape};
}

// Rows of a matrix as contiguous words.
class Rows {
public:
    explicit Rows(const WordMatrix& words) : words_(words), copy_(words.column_stride == 1 ? 0 : words.columns) {}
    const std::uint16_t* operator[](std::size_t i) {
        const std::uint16_t* row = words_.data + i * words_.row_stride;
        if (copy_.empty()) return row;
        for (std::size_t j = 0; j < copy_.size(); ++j) copy_[j] = row[j * words_.column_stride];
        return copy_.data();
    }

private:
    const WordMatrix& words_;
    std::vector<std::uint16_t> copy_;
};

// Bits of a row of class `c`. Four partial sums in a fixed order: the same on every machine.
float row_bits(const std::uint16_t* words, MaxSplit split, const ColumnTables& columns, std::int64_t base, std::int32_t c, std::int32_t profile, std::span<const float> cost,
               std::vector<std::uint16_t>& entries) {
    split.entries(words, columns.row(split, base, c, profile), entries);
    float bits[4] = {};
    const std::size_t n = entries.size();
    std::size_t j = 0;
    for (; j + 4 <= n; j += 4)
        for (std::size_t k = 0; k < 4; ++k) bits[k] += cost[entries[j + k]];
    for (; j < n; ++j) bits[j & 3] += cost[entries[j]];
    return (bits[0] + bits[1]) + (bits[2] + bits[3]);
}

// The moves of a column that are tried: its scale by a quarter octave, its skew by a class, its sign.
constexpr std::size_t kMoves = 6;
void move_column(std::size_t move, std::int32_t& scale, std::int32_t& shape) {
    switch (move) {
        case 1: scale = std::max(scale - 1, -kColumnLimit); break;
        case 2: scale = std::min(scale + 1, kColumnLimit); break;
        case 3: shape = shape < 4 ? 0 : shape - 2; break;  // without a skew there is no sign
        case 4: shape = std::min(shape + 2, kMaxColumnShape - 1 + (shape & 1)); break;
        case 5: shape = shape < 2 ? 3 : shape ^ 1; break;
        default: break;
    }
}

}  // namespace

void count_float_max(const WordMatrix& words, FloatFormat format, const FloatBlockModel& model, std::size_t stride, std::span<std::uint64_t> counts) {
    const MaxSplit split{format};
    const ColumnTables columns(split, model.shape, model.profiles, model.columns, model.column_scale, model.column_shape);
    Rows rows(words);
    std::vector<std::uint16_t> entries(words.columns);
    for (std::size_t i = 0; i < words.rows; i += stride) {
        split.entries(rows[i], columns.row(split, model.base, model.row_class[i], model.row_profile[i]), entries);
        for (const std::uint16_t entry : entries) counts[entry] += stride;
    }
}

void refine_row_classes(const WordMatrix& words, FloatFormat format, std::span<const float> cost, int reach, FloatModel& model) {
    const MaxSplit split{format};
    const ColumnTables columns = tables_of(split, model, words.columns);
    Rows rows(words);
    std::vector<std::uint16_t> entries(words.columns);
    for (std::size_t i = 0; i < words.rows; ++i) {
        const std::uint16_t* row = rows[i];
        const std::int32_t start = model.row_class[i];
        const auto bits_of = [&](std::int32_t c) { return row_bits(row, split, columns, model.base, c, model.row_profile[i], cost, entries); };
        float best = bits_of(start);
        for (const int step : {1, -1}) {  // downhill one way, and if that does not lead down, the other
            for (int k = 1; k <= reach; ++k) {
                const float bits = bits_of(start + step * k);
                if (bits >= best) break;
                best = bits;
                model.row_class[i] = start + step * k;
            }
            if (model.row_class[i] != start) break;
        }
    }
}

void refine_columns(const WordMatrix& words, FloatFormat format, std::span<const float> cost, std::size_t stride, FloatModel& model) {
    if (words.rows < kMinRowsForColumns) return;
    constexpr float kWorthwhile = 4;  // bits that a change must save: the head has to say it
    const MaxSplit split{format};
    const std::size_t n = model.column_scale.size();
    std::vector<FloatModel> moved(kMoves, {model.shape, model.base, model.profiles, {}, {}, model.column_scale, model.column_shape});
    std::vector<ColumnTables> columns;
    for (std::size_t move = 0; move < kMoves; ++move) {
        for (std::size_t q = 0; q < n; ++q) move_column(move, moved[move].column_scale[q], moved[move].column_shape[q]);
        columns.push_back(tables_of(split, moved[move], words.columns));
    }
    Rows rows(words);
    std::vector<std::uint16_t> entries(words.columns);
    std::vector<std::vector<float>> bits(kMoves, std::vector<float>(n, 0));
    for (std::size_t i = 0; i < words.rows; i += stride) {
        const std::uint16_t* row = rows[i];
        for (std::size_t move = 0; move < kMoves; ++move) {
            split.entries(row, columns[move].row(split, model.base, model.row_class[i], model.row_profile[i]), entries);
            float* sum = &bits[move][static_cast<std::size_t>(model.row_profile[i]) * words.columns];
            for (std::size_t j = 0; j < entries.size(); ++j) sum[j] += cost[entries[j]];
        }
    }
    for (std::size_t q = 0; q < n; ++q) {
        const auto saved = [&](std::size_t move) { return (bits[0][q] - bits[move][q]) * static_cast<float>(stride); };
        const std::size_t scale_move = saved(1) > saved(2) ? 1 : 2, bent = saved(3) > saved(4) ? 3 : 4, shape_move = saved(5) > saved(bent) ? 5 : bent;
        if (saved(scale_move) > kWorthwhile) model.column_scale[q] = moved[scale_move].column_scale[q];
        if (saved(shape_move) > kWorthwhile) model.column_shape[q] = moved[shape_move].column_shape[q];
    }
}

}  // namespace tersor
