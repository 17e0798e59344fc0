// How level max counts symbols, and moves the classes of rows to where the tables of the round before make them cheapest.
#include <cmath>
#include <cstring>

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

}  // namespace

void count_float_max(const WordMatrix& words, FloatFormat format, const FloatBlockModel& model, std::size_t stride, std::span<std::uint64_t> counts, const Pause& pause) {
    const MaxSplit split{format};
    const ColumnTables columns(split, model.shape, model.profiles, model.columns, model.column_scale, model.column_shape);
    Rows rows(words);
    std::vector<std::uint16_t> entries(words.columns);
    Pauses pauses(words, pause);
    // Two banks against the wait for the counter just written; 32 bits, so that those of a shape class stay in the nearest cache.
    std::vector<std::uint32_t> first(counts.size()), second(counts.size());
    for (std::size_t i = 0; i < words.rows; i += stride) {
        split.entries(rows[i], columns.row(split, model.base, model.row_class[i], model.row_profile[i]), entries);
        std::size_t j = 0;
        for (; j + 4 <= entries.size(); j += 4) {
            std::uint64_t four;
            std::memcpy(&four, &entries[j], sizeof four);
            ++first[four & 0xFFFF];
            ++second[four >> 16 & 0xFFFF];
            ++first[four >> 32 & 0xFFFF];
            ++second[four >> 48];
        }
        for (; j < entries.size(); ++j) ++first[entries[j]];
        pauses.after(i);
    }
    for (std::size_t k = 0; k < counts.size(); ++k) counts[k] += (std::uint64_t{first[k]} + second[k]) * stride;
}

void refine_row_classes(const WordMatrix& words, FloatFormat format, std::span<const float> cost, int reach, FloatModel& model, const Pause& pause) {
    const MaxSplit split{format};
    const ColumnTables columns = tables_of(split, model, words.columns);
    Pauses pauses(words, pause);
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
        pauses.after(i);
    }
}

}  // namespace tersor
