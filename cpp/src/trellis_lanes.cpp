#include <algorithm>
#include <cmath>

#include "trellis_search.hpp"
#include "vector_clones.hpp"

namespace tersor {
namespace {

constexpr std::size_t kQuantizers = 4;  // half * 2 + parity
constexpr float kUnreachable = 1e30f;

using LaneFloats = float[kLanes];
using LaneInts = std::int32_t[kLanes];

// All survivors see the same value, so the best code depends only on half and parity, not on the state.
struct Decisions {
    alignas(64) LaneInts magnitudes[kQuantizers];
    alignas(64) LaneInts second;  // bit n: state n is reached by its second arrival
};

// Of the two magnitudes of this half and parity around each lane's value, the cheaper one.
inline void fill_quantizer(std::int32_t half, std::int32_t parity, const LaneFloats values, const LaneInts cost_rows, const CostTable& table, LaneFloats costs,
                           LaneInts magnitudes) {
    const float* const half_costs = table.costs + half * table.half_stride;
    const std::int32_t last = table.last_magnitude;
    const auto float_half = static_cast<float>(half), float_parity = static_cast<float>(parity);
    for (std::size_t l = 0; l < kLanes; ++l) {
        // Of the codes whose levels are at most the value, the largest of this parity; the conversion drops -1/2 too.
        const float value = values[l];
        const std::int32_t low = 2 * static_cast<std::int32_t>(((value + float_half) * 0.5f - float_parity) * 0.5f) + parity, high = low + 2;
        const float low_distance = value - (2.0f * static_cast<float>(low) - float_half * static_cast<float>(low > 0));
        const float high_distance = value - (2.0f * static_cast<float>(high) - float_half);
        const float low_cost = low_distance * low_distance + half_costs[cost_rows[l] + (low < last ? low : last)];
        const float high_cost = high_distance * high_distance + half_costs[cost_rows[l] + (high < last ? high : last)];
        costs[l] = high_cost < low_cost ? high_cost : low_cost;
        magnitudes[l] = low + 2 * static_cast<std::int32_t>(high_cost < low_cost);
    }
}

// Where the code must be 0, the quantizers of even parity have no other and those of odd parity none.
inline void force_zeros(std::int32_t half, const bool* is_zero, const LaneFloats values, const LaneInts cost_rows, const CostTable& table, LaneFloats even_costs,
                        LaneInts even_magnitudes, LaneFloats odd_costs) {
    const float* const half_costs = table.costs + half * table.half_stride;
    for (std::size_t l = 0; l < kLanes; ++l) {
        if (!is_zero[l]) continue;
        even_costs[l] = values[l] * values[l] + half_costs[cost_rows[l]];
        even_magnitudes[l] = 0;
        odd_costs[l] = kUnreachable;
    }
}

// Add, compare, select: the cheaper arrival of every state, and the costs after it less the least.
inline void advance(const LaneFloats* costs, LaneFloats* state_costs, LaneInts second) {
    alignas(64) LaneFloats next[kStates];
    alignas(64) LaneFloats least;
    std::fill(least, least + kLanes, kUnreachable);
    std::fill(second, second + kLanes, 0);
    for (std::size_t n = 0; n < kStates; ++n) {
        const Arrival a = kArrivals[n][0], b = kArrivals[n][1];
        const float *cost_a = costs[(a.state & 1) * 2 + a.parity], *cost_b = costs[(b.state & 1) * 2 + b.parity];
        for (std::size_t l = 0; l < kLanes; ++l) {
            const float first = state_costs[a.state][l] + cost_a[l], other = state_costs[b.state][l] + cost_b[l];
            const float cheaper = other < first ? other : first;
            next[n][l] = cheaper;
            second[l] |= static_cast<std::int32_t>(other < first) << n;
            least[l] = cheaper < least[l] ? cheaper : least[l];
        }
    }
    for (std::size_t n = 0; n < kStates; ++n)
        for (std::size_t l = 0; l < kLanes; ++l) state_costs[n][l] = next[n][l] - least[l];
}

void trace_back(const Decisions* decisions, const LaneFloats* state_costs, std::size_t lane, LaneRuns& runs) {
    std::size_t state = 0;
    for (std::size_t n = 1; n < kStates; ++n)
        if (state_costs[n][lane] < state_costs[state][lane]) state = n;
    for (std::size_t x = runs.n_rows; x-- > 0;) {
        const Arrival arrival = kArrivals[state][decisions[x].second[lane] >> state & 1];
        state = arrival.state;
        const std::size_t half = state & 1;
        const std::int32_t magnitude = decisions[x].magnitudes[half * 2 + arrival.parity][lane];
        const float level = 2.0f * static_cast<float>(magnitude) - (magnitude > 0 ? static_cast<float>(half) : 0.0f);
        const bool is_negative = runs.values[x][lane] < 0.0f;
        runs.codes[x][lane] = is_negative ? -magnitude : magnitude;
        runs.levels[x][lane] = is_negative ? -level : level;
    }
}

}  // namespace

TERSOR_VECTOR_CLONES
bool search_trellis(LaneRuns& runs, const CostTable& table) {
    Decisions decisions[kMaxRunRows];
    alignas(64) LaneFloats state_costs[kStates];
    std::fill(&state_costs[0][0], &state_costs[0][0] + kStates * kLanes, kUnreachable);
    std::fill(state_costs[0], state_costs[0] + kLanes, 0.0f);
    alignas(64) LaneFloats costs[kQuantizers];
    std::int32_t n_bad = 0;
    for (std::size_t x = 0; x < runs.n_rows; ++x) {
        alignas(64) LaneFloats values;
        for (std::size_t l = 0; l < kLanes; ++l) {
            const float magnitude = std::fabs(runs.values[x][l] * runs.inverse_steps[x][l]);
            n_bad += static_cast<std::int32_t>(!(magnitude < kMaxLevel));
            values[l] = magnitude < kMaxLevel ? magnitude : kMaxLevel;
        }
        for (std::int32_t half = 0; half < 2; ++half)
            for (std::int32_t parity = 0; parity < 2; ++parity) {
                const std::int32_t q = half * 2 + parity;
                fill_quantizer(half, parity, values, runs.cost_rows[x], table, costs[q], decisions[x].magnitudes[q]);
            }
        for (std::int32_t half = 0; runs.is_zero != nullptr && half < 2; ++half)
            force_zeros(half, runs.is_zero[x], values, runs.cost_rows[x], table, costs[half * 2], decisions[x].magnitudes[half * 2], costs[half * 2 + 1]);
        advance(costs, state_costs, decisions[x].second);
    }
    for (std::size_t lane = 0; lane < kLanes; ++lane) trace_back(decisions, state_costs, lane, runs);
    return n_bad == 0;
}

}  // namespace tersor
