// How level max finds the scales of rows and columns, their skews, and the two column profiles of an embedding.
#include <algorithm>
#include <cmath>

#include "float_max.hpp"
#include "float_max_fit_kernels.hpp"
#include "tersor/isa.hpp"

namespace tersor {
namespace {

constexpr std::int32_t kRowLimit = 50;
constexpr std::size_t kMinRowsForProfiles = 256, kMinProfileRows = 64;
constexpr std::size_t kFourthEvery = 4;  // the shape of a tensor needs the fourth moments of some rows only
constexpr std::size_t kProbeEvery = 8;   // rows that are looked at before all are, when profiles are sought
// Rows whose normalised values correlate more than this share a mean vector (rows of unused tokens do).
constexpr double kCorrelated = 0.3;
// Limits between the skew classes: |mean| over root mean square of a column of normalised rows.
constexpr double kSkewLimits[] = {0.12, 0.3, 0.6, 0.87};

MaxFitKernels kernels_of(FloatFormat format) {
    switch (isa()) {
#if defined(__x86_64__)
        case Isa::avx512: return max_fit_avx512(format.exponent_bits);
        case Isa::avx2: return max_fit_avx2(format.exponent_bits);
#endif
        default: return fit_kernels(format.exponent_bits);
    }
}

// The rows of a matrix as floats, one at a time, with pauses.
class RowLoader {
public:
    RowLoader(const WordMatrix& words, FloatFormat format, const Pause& pause) : kernels(kernels_of(format)), words_(words), pauses_(words, pause) {}
    void load(std::size_t row, float factor, std::vector<float>& out) const {
        kernels.load(words_.data + row * words_.row_stride, words_.column_stride, words_.columns, factor, out.data());
        pauses_.after(row);
    }
    double dot(const std::vector<float>& a, const std::vector<float>& b) const { return kernels.dot(a.data(), b.data(), a.size()); }
    const MaxFitKernels kernels;

private:
    const WordMatrix& words_;
    mutable Pauses pauses_;
};

std::vector<float> fit_rows(const WordMatrix& words, const RowLoader& rows, FloatModel& model) {
    std::vector<float> row(words.columns), normaliser(words.rows, 0);
    std::vector<double> scale(words.rows, NAN);
    double scale_sum = 0, kurtosis_sum = 0;
    std::size_t n_used = 0, n_shaped = 0;
    for (std::size_t i = 0; i < words.rows; ++i) {
        rows.load(i, 1, row);
        const double n = static_cast<double>(words.columns);
        const double square = rows.dot(row, row) / n;
        if (square <= 1e-36) continue;
        scale[i] = 0.5 * std::log2(square);
        normaliser[i] = static_cast<float>(1 / std::sqrt(square));
        scale_sum += scale[i];
        ++n_used;
        if (i % kFourthEvery != 0) continue;
        kurtosis_sum += rows.kernels.fourth_powers(row.data(), row.size()) / n / (square * square);
        ++n_shaped;
    }
    model.row_class.assign(words.rows, 0);
    model.row_profile.assign(words.rows, 0);
    if (n_used == 0) return normaliser;
    model.base = static_cast<std::int32_t>(std::floor(scale_sum / static_cast<double>(n_used)));
    for (std::size_t i = 0; i < words.rows; ++i)
        if (!std::isnan(scale[i])) model.row_class[i] = std::clamp(static_cast<std::int32_t>(std::lround(4 * (scale[i] - model.base))), -kRowLimit, kRowLimit);
    const double kurtosis = n_shaped > 0 ? kurtosis_sum / static_cast<double>(n_shaped) : 3;
    model.shape = words.rows < kMinRowsForColumns ? 3 : kurtosis < 3.15 ? 0 : kurtosis < 3.6 ? 1 : 2;
    return normaliser;
}

// Adds up the rows that follow the row before them; returns their number. step: only every so many-th row is looked at.
std::size_t mean_of_followers(const WordMatrix& words, const RowLoader& rows, const std::vector<float>& normaliser, std::size_t step, std::vector<float>& mean) {
    const double threshold = kCorrelated * static_cast<double>(words.columns);
    std::vector<float> row(words.columns), previous(words.columns);
    std::size_t n_followers = 0;
    if (step == 1) rows.load(0, normaliser[0], previous);
    for (std::size_t i = 1; i < words.rows; i += step, row.swap(previous)) {
        if (step > 1) rows.load(i - 1, normaliser[i - 1], previous);
        rows.load(i, normaliser[i], row);
        if (rows.dot(row, previous) <= threshold) continue;
        ++n_followers;
        rows.kernels.add(row.data(), row.size(), mean.data());
    }
    return n_followers;
}

// Two profiles if enough, but not nearly all, rows follow a common mean vector.
void fit_profiles(const WordMatrix& words, const RowLoader& rows, const std::vector<float>& normaliser, FloatModel& model) {
    if (words.rows < kMinRowsForProfiles) return;
    std::vector<float> mean(words.columns, 0), row(words.columns);
    if (mean_of_followers(words, rows, normaliser, kProbeEvery, mean) < kMinProfileRows / (2 * kProbeEvery)) return;
    std::fill(mean.begin(), mean.end(), 0.0f);
    if (mean_of_followers(words, rows, normaliser, 1, mean) < kMinProfileRows) return;
    const double threshold = kCorrelated * static_cast<double>(words.columns);
    const double length = std::sqrt(rows.dot(mean, mean) / static_cast<double>(words.columns));
    std::size_t n_following = 0;
    for (std::size_t i = 0; i < words.rows; ++i) {
        rows.load(i, normaliser[i], row);
        model.row_profile[i] = rows.dot(row, mean) > threshold * length;
        n_following += static_cast<std::size_t>(model.row_profile[i]);
    }
    if (n_following >= kMinProfileRows && n_following < words.rows / 10 * 9)
        model.profiles = 2;
    else
        std::fill(model.row_profile.begin(), model.row_profile.end(), 0);
}

void fit_columns(const WordMatrix& words, const RowLoader& rows, const std::vector<float>& normaliser, FloatModel& model) {
    model.column_scale.assign(model.profiles * words.columns, 0);
    model.column_shape.assign(model.profiles * words.columns, 0);
    if (words.rows < kMinRowsForColumns) return;
    std::vector<float> mean(model.profiles * words.columns, 0), square(mean), row(words.columns);
    std::vector<std::size_t> n_rows(model.profiles, 0);
    for (std::size_t i = 0; i < words.rows; ++i) {
        rows.load(i, normaliser[i], row);
        const auto profile = static_cast<std::size_t>(model.row_profile[i]);
        ++n_rows[profile];
        rows.kernels.add_moments(row.data(), row.size(), &mean[profile * words.columns], &square[profile * words.columns]);
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

FloatModel fit_float_model(const WordMatrix& words, FloatFormat format, const Pause& pause) {
    FloatModel model;
    const RowLoader rows(words, format, pause);
    const std::vector<float> normaliser = fit_rows(words, rows, model);
    fit_profiles(words, rows, normaliser, model);
    fit_columns(words, rows, normaliser, model);
    return model;
}

}  // namespace tersor
