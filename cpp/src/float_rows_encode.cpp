#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "float_rows.hpp"
#include "tersor/integers.hpp"

namespace tersor {
namespace {

struct RowModel {
    int shape = 3;
    std::int32_t base = 0;
    std::vector<std::int32_t> classes;
};

float value_of(std::uint16_t word, FloatFormat format) {
    if (format.exponent_bits == 8) return std::bit_cast<float>(std::uint32_t{word} << 16);
    if ((word & 0x7C00) == 0x7C00) return INFINITY;
    // F16: shift exponent and mantissa into place, then rescale by 2^(127 - 15); subnormals come out right.
    const float magnitude = std::bit_cast<float>((word & 0x7FFFu) << 13) * 0x1p112f;
    return word & 0x8000 ? -magnitude : magnitude;
}

// Mean square and kurtosis of a row. Sums run over four partial sums in a fixed order, so they do not depend on the compiler's mood.
struct Moments {
    double mean_square, kurtosis;
};
Moments moments_of(std::span<const std::uint16_t> row, FloatFormat format) {
    double square[4] = {}, fourth[4] = {};
    for (std::size_t i = 0; i < row.size(); ++i) {
        const double v = value_of(row[i], format);
        const double v2 = std::abs(v) < 1e30 ? v * v : 0;  // infinity and NaN say nothing about scale
        square[i & 3] += v2;
        fourth[i & 3] += v2 * v2;
    }
    const double n = static_cast<double>(row.size());
    const double s = ((square[0] + square[1]) + (square[2] + square[3])) / n;
    const double f = ((fourth[0] + fourth[1]) + (fourth[2] + fourth[3])) / n;
    return {s, s > 1e-60 ? f / (s * s) : 3.0};
}

// Row scale classes in quarter octaves around a base, and the shape class of the block: light, medium and heavy tails, or few rows.
// The limits were tuned on MiniLM (benchmarks/README.md); they only choose tables and cannot break anything.
RowModel model_rows(std::span<const std::uint16_t> words, const FloatRowsOptions& options) {
    const std::size_t n_rows = rows_of(words.size(), options.row_length);
    std::vector<double> scale(n_rows, NAN);  // log2 of the root mean square
    double scale_sum = 0, kurtosis_sum = 0;
    std::size_t n_used = 0;
    for (std::size_t row = 0; row < n_rows; ++row) {
        const std::size_t begin = row * options.row_length;
        const auto [mean_square, kurtosis] = moments_of(words.subspan(begin, std::min(options.row_length, words.size() - begin)), options.format);
        if (mean_square <= 1e-60) continue;
        scale[row] = 0.5 * std::log2(mean_square);
        scale_sum += scale[row];
        kurtosis_sum += kurtosis;
        ++n_used;
    }
    RowModel model;
    model.classes.assign(n_rows, 0);
    if (n_used == 0) return model;
    model.base = static_cast<std::int32_t>(std::floor(scale_sum / static_cast<double>(n_used)));
    for (std::size_t row = 0; row < n_rows; ++row)
        if (!std::isnan(scale[row])) model.classes[row] = static_cast<std::int32_t>(std::lround(4 * (scale[row] - model.base)));
    const double kurtosis = kurtosis_sum / static_cast<double>(n_used);
    model.shape = n_rows < 32 ? 3 : kurtosis < 3.15 ? 0 : kurtosis < 3.6 ? 1 : 2;
    return model;
}

template <class Format>
Bytes encode(std::span<const std::uint16_t> words, FloatCoder coder, const FloatRowsOptions& options, const TableSet& tables, const AliasTable& class_table) {
    const FloatSplit split = split_of(options.format, coder);
    const RowModel model = model_rows(words, options);
    const std::size_t n_rows = model.classes.size();
    const auto table_of = [&](std::size_t row) -> const AliasTable& { return tables.tables[static_cast<std::size_t>(4 * model.shape + (model.classes[row] & 3))]; };

    Bytes raw;
    raw.reserve(words.size() * static_cast<std::size_t>(split.raw_bits()) / 8 + 8);
    BitWriter bits(raw);
    std::vector<std::uint8_t> symbols(words.size());
    std::vector<StreamEncoder<Format>> streams;
    std::vector<Bytes> escapes(options.n_streams);
    for (std::size_t s = 0; s < options.n_streams; ++s) {
        const std::size_t first_row = cut(n_rows, s, options.n_streams), end_row = cut(n_rows, s + 1, options.n_streams);
        const std::size_t begin = std::min(first_row * options.row_length, words.size()), end = std::min(end_row * options.row_length, words.size());
        for (std::size_t row = first_row; row < end_row; ++row) {
            const AliasTable& table = table_of(row);
            const std::uint16_t addend = split.addend(model.base, model.classes[row]);
            const std::size_t row_end = std::min((row + 1) * options.row_length, words.size());
            for (std::size_t i = row * options.row_length; i < row_end; ++i) {
                const auto u = static_cast<std::uint16_t>(words[i] - addend);
                const std::uint32_t field = split.field(u), symbol = split.symbol(field, table);
                symbols[i] = static_cast<std::uint8_t>(symbol);
                bits.put(split.raw(u), split.raw_bits());
                if (symbol == 0) split.put_escape(field, escapes[s]);
            }
        }
        streams.emplace_back(options.lanes);
        std::size_t row = end_row;
        for (std::size_t i = end; i-- > begin;) {
            if (i < row * options.row_length) --row;
            streams[s].put(i - begin, table_of(row), symbols[i]);
        }
    }
    bits.flush();

    Bytes out;
    out.push_back(static_cast<std::uint8_t>(coder));
    out.push_back(static_cast<std::uint8_t>(model.shape));
    put_varint(out, zigzag(model.base));
    put_varint(out, options.row_length);
    out.push_back(static_cast<std::uint8_t>(options.n_streams));
    out.push_back(static_cast<std::uint8_t>(std::countr_zero(options.lanes)));
    encode_integers(model.classes, class_table, out);
    for (std::size_t s = 0; s < options.n_streams; ++s) {
        put_varint(out, streams[s].n_words());
        put_varint(out, escapes[s].size());
    }
    for (const auto& stream : streams) stream.append_states(out);
    out.insert(out.end(), raw.begin(), raw.end());
    for (const auto& part : escapes) out.insert(out.end(), part.begin(), part.end());
    for (const auto& stream : streams) stream.append_words(out);
    return out;
}

}  // namespace

void count_float_rows(std::span<const std::uint16_t> words, const FloatRowsOptions& options, std::size_t stride, FloatCounts& counts) {
    const RowModel model = model_rows(words, options);
    const FloatSplit balanced = split_of(options.format, FloatCoder::balanced), fast = split_of(options.format, FloatCoder::fast);
    const std::int32_t offset = integers_offset(model.classes);
    for (std::size_t row = 0; row < model.classes.size(); ++row) {
        const int h = model.classes[row] - offset + 32;
        ++counts.row_classes[h > 0 && h < 64 ? static_cast<std::size_t>(h) : 0];
        if (row % stride) continue;
        const std::size_t table = static_cast<std::size_t>(4 * model.shape + (model.classes[row] & 3));
        const std::uint16_t addend = balanced.addend(model.base, model.classes[row]);
        const std::size_t end = std::min((row + 1) * options.row_length, words.size());
        for (std::size_t i = row * options.row_length; i < end; ++i) {
            const auto u = static_cast<std::uint16_t>(words[i] - addend);
            const std::uint32_t x = balanced.field(u), y = fast.field(u);
            ++counts.balanced[table][x < 64 ? x : 0];
            ++counts.fast[table][y < 16 ? y : 0];
        }
    }
}

Bytes encode_float_rows(std::span<const std::uint16_t> words, FloatCoder coder, const FloatRowsOptions& options, const TableSet& tables, const AliasTable& class_table) {
    return coder == FloatCoder::balanced ? encode<A12>(words, coder, options, tables, class_table) : encode<A8>(words, coder, options, tables, class_table);
}

}  // namespace tersor
