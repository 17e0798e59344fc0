// How level max finds the scales of rows and columns, their skews, and the two column profiles of an embedding.
#include <algorithm>
#include <bit>
#include <cmath>

#include "float_max.hpp"

namespace tersor {
namespace {

constexpr std::int32_t kRowLimit = 50;
constexpr std::size_t kMinRowsForProfiles = 256, kMinProfileRows = 64;
// Rows whose normalised values correlate more than this share a mean vector (rows of unused tokens do).
constexpr double kCorrelated = 0.3;
// Limits between the skew classes: |mean| over root mean square of a column of normalised rows.
constexpr double kSkewLimits[] = {0.12, 0.3, 0.6, 0.87};

// Infinity and NaN say nothing about scale and count as 0, as do numbers whose fourth powers would not be finite. No branches: this runs for every word.
float value_of(std::uint16_t word, FloatFormat format) {
    const std::uint32_t magnitude = word & 0x7FFFu, sign = static_cast<std::uint32_t>(word >> 15) << 31;
    if (format.exponent_bits == 8) return std::bit_cast<float>(magnitude < 0x5800 ? magnitude << 16 | sign : 0);  // below 2^49
    // Denormal floats would take a hundred cycles each; those of F16 are made from 2^-14 + them.
    const float normal = std::bit_cast<float>((magnitude << 13) + (112u << 23)), denormal = std::bit_cast<float>((magnitude << 13) + (113u << 23)) - 0x1p-14f;
    const float value = magnitude < 0x400 ? denormal : normal;
    return std::bit_cast<float>(magnitude < 0x7C00 ? std::bit_cast<std::uint32_t>(value) | sign : 0);
}

// One row as floats, normalised when asked.
void load_row(const WordMatrix& words, FloatFormat format, std::size_t row, float factor, std::vector<float>& out) {
    const std::uint16_t* p = words.data + row * words.row_stride;
    if (words.column_stride == 1)
        for (std::size_t j = 0; j < words.columns; ++j) out[j] = value_of(p[j], format) * factor;
    else
        for (std::size_t j = 0; j < words.columns; ++j) out[j] = value_of(p[j * words.column_stride], format) * factor;
}

// Sums in 16 partial sums in a fixed order: the result does not depend on how the compiler vectorises.
template <class Term>
double sum_of(std::size_t n, Term term) {
    float part[16] = {};
    std::size_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (std::size_t k = 0; k < 16; ++k) part[k] += term(i + k);
    for (; i < n; ++i) part[i & 15] += term(i);
    double sum = 0;
    for (const float p : part) sum += static_cast<double>(p);
    return sum;
}
double dot(const std::vector<float>& a, const std::vector<float>& b) {
    const float *p = a.data(), *q = b.data();
    return sum_of(a.size(), [=](std::size_t i) { return p[i] * q[i]; });
}
double sum_of_fourth_powers(const std::vector<float>& a) {
    const float* p = a.data();
    return sum_of(a.size(), [=](std::size_t i) { const float s = p[i] * p[i]; return s * s; });
}

std::vector<float> fit_rows(const WordMatrix& words, FloatFormat format, FloatModel& model) {
    std::vector<float> row(words.columns), normaliser(words.rows, 0);
    std::vector<double> scale(words.rows, NAN);
    double scale_sum = 0, kurtosis_sum = 0;
    std::size_t n_used = 0;
    for (std::size_t i = 0; i < words.rows; ++i) {
        load_row(words, format, i, 1, row);
        const double n = static_cast<double>(words.columns);
        const double square = dot(row, row) / n;
        if (square <= 1e-36) continue;
        const double fourth = sum_of_fourth_powers(row) / n;
        scale[i] = 0.5 * std::log2(square);
        normaliser[i] = static_cast<float>(1 / std::sqrt(square));
        scale_sum += scale[i];
        kurtosis_sum += fourth / (square * square);
        ++n_used;
    }
    model.row_class.assign(words.rows, 0);
    model.row_profile.assign(words.rows, 0);
    if (n_used == 0) return normaliser;
    model.base = static_cast<std::int32_t>(std::floor(scale_sum / static_cast<double>(n_used)));
    for (std::size_t i = 0; i < words.rows; ++i)
        if (!std::isnan(scale[i])) model.row_class[i] = std::clamp(static_cast<std::int32_t>(std::lround(4 * (scale[i] - model.base))), -kRowLimit, kRowLimit);
    const double kurtosis = kurtosis_sum / static_cast<double>(n_used);
    model.shape = words.rows < kMinRowsForColumns ? 3 : kurtosis < 3.15 ? 0 : kurtosis < 3.6 ? 1 : 2;
    return normaliser;
}

// Two profiles if enough, but not nearly all, rows follow a common mean vector.
void fit_profiles(const WordMatrix& words, FloatFormat format, const std::vector<float>& normaliser, FloatModel& model) {
    if (words.rows < kMinRowsForProfiles) return;
    const double threshold = kCorrelated * static_cast<double>(words.columns);
    std::vector<float> row(words.columns), previous(words.columns), mean(words.columns, 0);
    std::size_t n_correlated = 0;
    load_row(words, format, 0, normaliser[0], previous);
    for (std::size_t i = 1; i < words.rows; ++i, row.swap(previous)) {
        load_row(words, format, i, normaliser[i], row);
        if (dot(row, previous) <= threshold) continue;
        ++n_correlated;
        for (std::size_t j = 0; j < row.size(); ++j) mean[j] += row[j];
    }
    if (n_correlated < kMinProfileRows) return;
    const double length = std::sqrt(dot(mean, mean) / static_cast<double>(words.columns));
    std::size_t n_following = 0;
    for (std::size_t i = 0; i < words.rows; ++i) {
        load_row(words, format, i, normaliser[i], row);
        model.row_profile[i] = dot(row, mean) > threshold * length;
        n_following += static_cast<std::size_t>(model.row_profile[i]);
    }
    if (n_following >= kMinProfileRows && n_following < words.rows / 10 * 9)
        model.profiles = 2;
    else
        std::fill(model.row_profile.begin(), model.row_profile.end(), 0);
}

void fit_columns(const WordMatrix& words, FloatFormat format, const std::vector<float>& normaliser, FloatModel& model) {
    model.column_scale.assign(model.profiles * words.columns, 0);
    model.column_shape.assign(model.profiles * words.columns, 0);
    if (words.rows < kMinRowsForColumns) return;
    std::vector<float> mean(model.profiles * words.columns, 0), square(mean), row(words.columns);
    std::vector<std::size_t> n_rows(model.profiles, 0);
    for (std::size_t i = 0; i < words.rows; ++i) {
        load_row(words, format, i, normaliser[i], row);
        const auto profile = static_cast<std::size_t>(model.row_profile[i]);
        ++n_rows[profile];
        float* m = &mean[profile * words.columns];
        float* s = &square[profile * words.columns];
        const float* value = row.data();
        for (std::size_t j = 0; j < words.columns; ++j) {
            m[j] += value[j];
            s[j] += value[j] * value[j];
        }
    }
    for (std::size_t q = 0; q < mean.size(); ++q) {
        const double n = static_cast<double>(n_rows[q / words.columns]);
        const double deviation = std::sqrt(static_cast<double>(square[q]) / n);
        if (!(deviation > 1e-12)) continue;
        const double skew = static_cast<double>(mean[q]) / n / deviation;
        const auto skew_class = static_cast<std::int32_t>(std::upper_bound(std::begin(kSkewLimits), std::end(kSkewLimits), std::abs(skew)) - std::begin(kSkewLimits));
        model.column_scale[q] = std::clamp(static_cast<std::int32_t>(std::lround(4 * std::log2(deviation))), -kColumnLimit, kColumnLimit);
        model.column_shape[q] = 2 * skew_class + (skew_class > 0 && skew < 0);
    }
}

}  // namespace

FloatModel fit_float_model(const WordMatrix& words, FloatFormat format) {
    FloatModel model;
    const std::vector<float> normaliser = fit_rows(words, format, model);
    fit_profiles(words, format, normaliser, model);
    fit_columns(words, format, normaliser, model);
    return model;
}

}  // namespace tersor
