// Choosing the codes of a run of rows of one column. Used by quantize_two_sided.cpp alone.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "tersor/codes.hpp"
#include "tersor/quantize_two_sided.hpp"

namespace tersor {

inline constexpr std::size_t kStates = 8;
inline constexpr std::size_t kLanes = 16;  // independent runs searched together
inline constexpr float kMaxLevel = 8388608.0f;  // 2^23: floats beyond hold no fraction, so rounding means nothing

// A way into a state: from which state, by a code of which parity.
struct Arrival {
    std::uint8_t state, parity;
};

constexpr std::array<std::array<Arrival, 2>, kStates> arrivals_of_states() {
    std::array<std::array<Arrival, 2>, kStates> arrivals{};
    std::array<std::size_t, kStates> found{};
    for (std::uint8_t state = 0; state < kStates; ++state)
        for (std::uint8_t parity = 0; parity < 2; ++parity) {
            const std::size_t next = kTrellisNext[state][parity];
            arrivals[next][found[next]++] = {state, parity};
        }
    return arrivals;
}
inline constexpr auto kArrivals = arrivals_of_states();

// Costs as the searches read them: costs[half * half_stride + row * width + magnitude], a magnitude of width - 1 standing for all larger.
struct CostTable {
    const float* costs;
    std::int32_t half_stride, last_magnitude;
};

// A run of one column whose rows feed errors forward to each other.
struct CoupledRun {
    std::size_t n_rows = 0;                            // 1 .. kMaxRunRows
    alignas(64) float values[kMaxRunRows];             // t without the feedback of this run's own rows
    alignas(64) float steps[kMaxRunRows];
    alignas(64) float inverse_steps[kMaxRunRows];
    alignas(64) std::int32_t cost_rows[kMaxRunRows];   // offset of the costs of each row's class in half 0
    const float (*feedback)[kMaxRunRows] = nullptr;    // [x][y] = L(y, x) for y > x, else 0; nullptr: no feedback
    const float* inverse_diagonal = nullptr;           // 1 / L(x, x); nullptr without feedback
    const bool* is_zero = nullptr;                     // rows whose code must be 0; nullptr: none
    // Results.
    std::int32_t codes[kMaxRunRows];
    float levels[kMaxRunRows];                         // level of each code
    float errors[kMaxRunRows];                         // e; unspecified without feedback
};

// kLanes runs of one column without feedback along rows; [x][lane] is row x of run `lane`.
struct LaneRuns {
    std::size_t n_rows = 0;  // 1 .. kMaxRunRows
    alignas(64) float values[kMaxRunRows][kLanes];
    alignas(64) float inverse_steps[kMaxRunRows][kLanes];
    alignas(64) std::int32_t cost_rows[kMaxRunRows][kLanes];
    const bool (*is_zero)[kLanes] = nullptr;           // places whose code must be 0; nullptr: none
    // Results.
    alignas(64) std::int32_t codes[kMaxRunRows][kLanes];
    alignas(64) float levels[kMaxRunRows][kLanes];
};

// Each fills its results; false if a magnitude reaches kMaxLevel or is NaN (results are then unspecified).
bool search_trellis(CoupledRun& run, const CostTable& table);
bool search_trellis(LaneRuns& runs, const CostTable& table);
bool search_scalar(CoupledRun& run, const CostTable& table);

}  // namespace tersor
