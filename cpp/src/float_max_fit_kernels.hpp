// The loops over words with which level max finds scales. Plain C++, compiled for several instruction sets: sums are formed in 16 parts in a fixed
// order, so that the results are the same. As in float_rows_kernels.hpp, files of an instruction set include nothing else that defines functions.
#pragma once
#include <cstddef>
#include <cstdint>

namespace tersor {

struct MaxFitKernels {
    // The words of a row, `stride` words apart, as floats times a factor. What says nothing about scale counts as 0.
    void (*load)(const std::uint16_t* words, std::size_t stride, std::size_t n, float factor, float* out);
    double (*dot)(const float* a, const float* b, std::size_t n);
    double (*fourth_powers)(const float* a, std::size_t n);
    // Adds each value, and its square, to the sums of its column.
    void (*add_moments)(const float* values, std::size_t n, float* sums, float* squares);
    void (*add)(const float* values, std::size_t n, float* sums);
};

#if defined(__x86_64__)
// For words with 8 (BF16) or 5 (F16) exponent bits.
MaxFitKernels max_fit_avx512(int exponent_bits);
MaxFitKernels max_fit_avx2(int exponent_bits);
#endif

// ---- what each instruction set compiles for itself

// Infinity and NaN say nothing about scale and count as 0, as do numbers whose fourth powers would not be finite. No branches: this runs for every word.
template <int exponent_bits>
static inline float fit_value(std::uint16_t word) {
    const std::uint32_t magnitude = word & 0x7FFFu, sign = static_cast<std::uint32_t>(word >> 15) << 31;
    if constexpr (exponent_bits == 8) return __builtin_bit_cast(float, magnitude < 0x5800 ? magnitude << 16 | sign : 0);  // below 2^49
    // Denormal floats would take a hundred cycles each; those of F16 are made from 2^-14 + them.
    const float normal = __builtin_bit_cast(float, (magnitude << 13) + (112u << 23)), denormal = __builtin_bit_cast(float, (magnitude << 13) + (113u << 23)) - 0x1p-14f;
    const float value = magnitude < 0x400 ? denormal : normal;
    return __builtin_bit_cast(float, magnitude < 0x7C00 ? __builtin_bit_cast(std::uint32_t, value) | sign : 0);
}

template <int exponent_bits>
static void fit_load(const std::uint16_t* words, std::size_t stride, std::size_t n, float factor, float* __restrict out) {
    if (stride == 1)
        for (std::size_t j = 0; j < n; ++j) out[j] = fit_value<exponent_bits>(words[j]) * factor;
    else
        for (std::size_t j = 0; j < n; ++j) out[j] = fit_value<exponent_bits>(words[j * stride]) * factor;
}

// A lambda's code would not be compiled for this file's instruction set by every compiler: terms are chosen by a number.
template <int power>
static inline float fit_term(float a, float b) {
    if constexpr (power == 2) return a * b;
    const float square = a * a;
    return square * square;
}

template <int power>
static double fit_sum(const float* a, const float* b, std::size_t n) {
    float part[16] = {};
    std::size_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (std::size_t k = 0; k < 16; ++k) part[k] += fit_term<power>(a[i + k], b[i + k]);
    for (; i < n; ++i) part[i & 15] += fit_term<power>(a[i], b[i]);
    double sum = 0;
    for (const float p : part) sum += static_cast<double>(p);
    return sum;
}

static double fit_dot(const float* a, const float* b, std::size_t n) { return fit_sum<2>(a, b, n); }
static double fit_fourth_powers(const float* a, std::size_t n) { return fit_sum<4>(a, a, n); }

static void fit_add_moments(const float* values, std::size_t n, float* __restrict sums, float* __restrict squares) {
    for (std::size_t j = 0; j < n; ++j) {
        sums[j] += values[j];
        squares[j] += values[j] * values[j];
    }
}
static void fit_add(const float* values, std::size_t n, float* __restrict sums) {
    for (std::size_t j = 0; j < n; ++j) sums[j] += values[j];
}

static inline MaxFitKernels fit_kernels(int exponent_bits) {
    return {exponent_bits == 8 ? fit_load<8> : fit_load<5>, fit_dot, fit_fourth_powers, fit_add_moments, fit_add};
}

}  // namespace tersor
