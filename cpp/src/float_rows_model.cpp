#include "float_rows_model.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "float_rows.hpp"
#include "tersor/isa.hpp"

namespace tersor {
namespace {

constexpr float kLargestSquare = 1e30f;  // what is not below says nothing about scale: infinities, NaNs
constexpr std::size_t kFourthEvery = 8;  // the shape of a block needs the fourth moment of some rows only

float value_of(std::uint16_t word, FloatFormat format) {
    if (format.exponent_bits == 8) return std::bit_cast<float>(std::uint32_t{word} << 16);
    if ((word & 0x7C00) == 0x7C00) return INFINITY;
    // F16: shift exponent and mantissa into place, then rescale by 2^(127 - 15); subnormals come out right.
    const float magnitude = std::bit_cast<float>((word & 0x7FFFu) << 13) * 0x1p112f;
    return word & 0x8000 ? -magnitude : magnitude;
}

// Sums of a row by lane (element i in lane i mod 32), so that vector code can form them in the same order.
struct LaneSums {
    float square[kGroup] = {}, fourth[kGroup] = {};
};

LaneSums lane_sums(std::span<const std::uint16_t> row, FloatFormat format, const FloatEncodeKernels& kernels, bool with_fourth) {
    LaneSums sums;
    std::size_t i = 0;
    if (kernels.sums) {
        kernels.sums(row.data(), row.size() / kGroup, sums.square, with_fourth ? sums.fourth : nullptr);
        i = row.size() / kGroup * kGroup;
    }
    for (; i < row.size(); ++i) {
        const float v = value_of(row[i], format), square = v * v;
        const float counted = square < kLargestSquare ? square : 0;
        sums.square[i % kGroup] += counted;
        if (with_fourth) sums.fourth[i % kGroup] += counted * counted;
    }
    return sums;
}

// Eight sums side by side: the additions of a single one would wait for each other.
double total(const float (&lanes)[kGroup], const FloatEncodeKernels& kernels) {
    if (kernels.total) return kernels.total(lanes);
    double part[8] = {};
    for (std::size_t i = 0; i < kGroup; i += 8)
        for (std::size_t k = 0; k < 8; ++k) part[k] += static_cast<double>(lanes[i + k]);
    return ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
}

// The mean square of a row whose squares leave the range of float: of the tiniest or the greatest numbers.
double mean_square_in_double(std::span<const std::uint16_t> row, FloatFormat format) {
    double sum = 0;
    for (const std::uint16_t word : row) {
        const double v = value_of(word, format);
        if (std::abs(v) < 1e38) sum += v * v;
    }
    return sum / static_cast<double>(row.size());
}

// A row that will be looked at soon; processors expect the next one in memory, not one further on.
void prefetch(std::span<const std::uint16_t> words, std::size_t begin, std::size_t n) {
    constexpr std::size_t kLine = 64 / sizeof(std::uint16_t);
    for (std::size_t i = begin; i < std::min(begin + n, words.size()); i += kLine) __builtin_prefetch(&words[i]);
}

// 4 * log2 of the root mean square, rounded. By comparison: log2 of the C library differs between machines in its last bit.
std::int32_t quarter_octaves(double mean_square) {
    const auto bits = std::bit_cast<std::uint64_t>(mean_square);  // positive and normal
    const auto exponent = static_cast<std::int32_t>(bits >> 52) - 1023;
    const double m = std::bit_cast<double>((bits & ((std::uint64_t{1} << 52) - 1)) | std::uint64_t{1023} << 52);  // in [1, 2)
    return 2 * exponent + (m >= 0x1.306fe0a31b715p+0) + (m >= 0x1.ae89f995ad3adp+0);  // 2^(1/4), 2^(3/4)
}

}  // namespace

FloatEncodeKernels encode_kernels([[maybe_unused]] FloatCoder coder, [[maybe_unused]] FloatFormat format) {
    switch (isa()) {
#if defined(__x86_64__)
        case Isa::avx512: return float_encode_avx512(coder == FloatCoder::fast, format.exponent_bits);
        case Isa::avx2: return float_encode_avx2(coder == FloatCoder::fast, format.exponent_bits);
#endif
        default: return {};
    }
}

// Row scale classes in quarter octaves around a base, and the shape class of the block: light, medium and heavy tails, or few rows.
// The limits were tuned on MiniLM (benchmarks/README.md); they only choose tables and cannot break anything.
RowModel model_rows(std::span<const std::uint16_t> words, const FloatRowsOptions& options, std::size_t stride) {
    const std::size_t n_all = rows_of(words.size(), options.row_length), n_rows = (n_all + stride - 1) / stride;
    const FloatEncodeKernels kernels = encode_kernels(FloatCoder::fast, options.format);
    RowModel model;
    model.classes.assign(n_rows, 0);
    std::vector<bool> used(n_rows);
    std::int64_t scale_sum = 0, n_used = 0, n_shaped = 0;
    double kurtosis_sum = 0;
    for (std::size_t row = 0; row < n_rows; ++row) {
        const std::size_t begin = row * stride * options.row_length;
        const auto part = words.subspan(begin, std::min(options.row_length, words.size() - begin));
        if (stride > 1) prefetch(words, begin + stride * options.row_length, options.row_length);
        const double share = 1 / static_cast<double>(part.size());
        const bool shaped = row * stride % kFourthEvery == 0;
        const LaneSums sums = lane_sums(part, options.format, kernels, shaped);
        double mean_square = total(sums.square, kernels) * share;
        const bool in_range = mean_square > 1e-14 && mean_square < 1e14;
        if (!in_range) mean_square = mean_square_in_double(part, options.format);
        if (mean_square <= 1e-80) continue;  // zeros
        if (shaped) {
            const double kurtosis = in_range ? total(sums.fourth, kernels) * share / (mean_square * mean_square) : 3;
            kurtosis_sum += kurtosis < 1000 ? kurtosis : 3;
            ++n_shaped;
        }
        used[row] = true;
        model.classes[row] = quarter_octaves(mean_square);
        scale_sum += model.classes[row];
        ++n_used;
    }
    if (n_used == 0) return model;
    model.base = static_cast<std::int32_t>(std::floor(static_cast<double>(scale_sum) / static_cast<double>(4 * n_used)));
    for (std::size_t row = 0; row < n_rows; ++row) model.classes[row] = used[row] ? model.classes[row] - 4 * model.base : 0;
    const double kurtosis = n_shaped ? kurtosis_sum / static_cast<double>(n_shaped) : 3;
    model.shape = n_all < 32 ? 3 : kurtosis < 3.15 ? 0 : kurtosis < 3.6 ? 1 : 2;
    return model;
}

}  // namespace tersor
