#include "trellis_search.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "vector_clones.hpp"

namespace tersor {
namespace {

constexpr std::size_t kBranches = 2 * kStates;  // branch = parity * kStates + state that it leaves
constexpr float kUnreachable = 1e30f;
constexpr std::size_t kGroup = kRunMultiple;  // feedback works on whole groups of rows

// The best code of each branch.
struct Branches {
    alignas(64) float costs[kBranches];
    alignas(64) float levels[kBranches];      // of the magnitude, >= 0
    alignas(64) std::int32_t magnitudes[kBranches];
};

// What the survivors chose at one row, by the state they arrive in.
struct Choices {
    std::uint8_t from[kStates];
    std::int32_t codes[kStates];
    float levels[kStates];
    float errors[kStates];
};

// A survivor holds what its errors make of the values of kWindow rows; those of later windows are worked out when it gets there.
constexpr std::size_t kWindow = 64;
using Survivor = float[kWindow];

// Half and parity of the branches.
alignas(64) constexpr float kHalfOf[kBranches] = {0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1};
alignas(64) constexpr std::int32_t kParityOf[kBranches] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};

// Of the two magnitudes of a branch's parity around its state's value, the cheaper one. values, state_costs: by branch.
inline void fill_branches(const float* values, const float* state_costs, const float* costs, const CostTable& table, Branches& out) {
    const std::int32_t last = table.last_magnitude, half_stride = table.half_stride;
    for (std::size_t b = 0; b < kBranches; ++b) {
        const float value = values[b], half = kHalfOf[b];
        const std::int32_t parity = kParityOf[b], row = static_cast<std::int32_t>(half) * half_stride;
        // Of the codes whose levels are at most the value, the largest of this parity; the conversion drops -1/2 too.
        const std::int32_t low = 2 * static_cast<std::int32_t>(((value + half) * 0.5f - static_cast<float>(parity)) * 0.5f) + parity, high = low + 2;
        const float low_level = 2.0f * static_cast<float>(low) - half * static_cast<float>(low > 0), high_level = 2.0f * static_cast<float>(high) - half;
        const float low_cost = (value - low_level) * (value - low_level) + costs[row + (low < last ? low : last)];
        const float high_cost = (value - high_level) * (value - high_level) + costs[row + (high < last ? high : last)];
        const std::int32_t magnitude = low + 2 * static_cast<std::int32_t>(high_cost < low_cost);
        out.costs[b] = (high_cost < low_cost ? high_cost : low_cost) + state_costs[b];
        out.magnitudes[b] = magnitude;
        out.levels[b] = 2.0f * static_cast<float>(magnitude) - half * static_cast<float>(magnitude > 0);
    }
}

// The same where the code must be 0: of even parity, so the other branches lead nowhere.
inline void fill_zero_branches(const float* values, const float* state_costs, const float* costs, const CostTable& table, Branches& out) {
    for (std::size_t b = 0; b < kBranches; ++b) {
        const std::int32_t row = static_cast<std::int32_t>(kHalfOf[b]) * table.half_stride;
        out.costs[b] = kParityOf[b] == 0 ? values[b] * values[b] + costs[row] + state_costs[b] : kUnreachable;
        out.magnitudes[b] = 0;
        out.levels[b] = 0.0f;
    }
}

// For every state the cheaper of the two branches that lead to it; costs are kept small by subtracting the least.
inline void choose_arrivals(const Branches& branches, float* state_costs, std::uint8_t* from) {
    float least = kUnreachable;
    for (std::size_t n = 0; n < kStates; ++n) {
        const std::size_t first = kArrivals[n][0].parity * kStates + kArrivals[n][0].state, second = kArrivals[n][1].parity * kStates + kArrivals[n][1].state;
        const bool is_second = branches.costs[second] < branches.costs[first];
        from[n] = static_cast<std::uint8_t>(is_second ? second : first);
        state_costs[n] = is_second ? branches.costs[second] : branches.costs[first];
        least = std::min(least, state_costs[n]);
    }
    for (std::size_t n = 0; n < kStates; ++n) state_costs[n] -= least;
}

// after = before - error * feedback, for the values behind the one at `place` of `count`.
inline void feed_forward(const float* before, const float* feedback, float error, std::size_t place, std::size_t count, float* after) {
    for (std::size_t group = (place + 1) / kGroup * kGroup; group < count; group += kGroup)
        for (std::size_t y = group; y < group + kGroup; ++y) after[y] = before[y] - error * feedback[y];
}

// The values of the window that begins at row `begin`, by what each survivor chose at all rows above. Survivors share their ancestors but
// for the last rows, so most of the feedback is the same for all.
inline void open_window(const CoupledRun& run, const Choices* choices, std::size_t begin, Survivor* survivors) {
    alignas(64) Survivor shared;
    std::memcpy(shared, run.values + begin, sizeof shared);
    std::size_t ancestors[kStates], row = begin;
    for (std::size_t n = 0; n < kStates; ++n) ancestors[n] = n;
    if (run.feedback != nullptr) {
        for (; row > 0 && !std::all_of(ancestors, ancestors + kStates, [&](std::size_t state) { return state == ancestors[0]; }); --row)
            for (std::size_t& state : ancestors) state = choices[row - 1].from[state] % kStates;
        std::size_t state = ancestors[0];
        for (std::size_t x = row; x-- > 0; state = choices[x].from[state] % kStates)
            for (std::size_t y = 0; y < kWindow; ++y) shared[y] -= choices[x].errors[state] * run.feedback[x][begin + y];
    }
    for (std::size_t n = 0; n < kStates; ++n) {
        std::memcpy(survivors[n], shared, sizeof shared);
        std::size_t state = n;
        for (std::size_t x = begin; x-- > row; state = choices[x].from[state] % kStates)
            for (std::size_t y = 0; y < kWindow; ++y) survivors[n][y] -= choices[x].errors[state] * run.feedback[x][begin + y];
    }
}

void trace_back(const Choices* choices, const float* state_costs, CoupledRun& run) {
    std::size_t state = static_cast<std::size_t>(std::min_element(state_costs, state_costs + kStates) - state_costs);
    for (std::size_t x = run.n_rows; x-- > 0;) {
        run.codes[x] = choices[x].codes[state];
        run.levels[x] = choices[x].levels[state];
        run.errors[x] = choices[x].errors[state];
        state = choices[x].from[state] % kStates;
    }
}

}  // namespace

TERSOR_VECTOR_CLONES
bool search_trellis(CoupledRun& run, const CostTable& table) {
    alignas(64) Survivor buffers[2][kStates];
    Choices choices[kMaxRunRows];
    alignas(64) float state_costs[kStates];
    std::fill(state_costs, state_costs + kStates, kUnreachable);
    state_costs[0] = 0.0f;
    bool is_good = true;
    Branches branches;
    for (std::size_t x = 0; x < run.n_rows; ++x) {
        const std::size_t place = x % kWindow, count = std::min(kWindow, run.n_rows - (x - place));
        Survivor* const before = buffers[x % 2];
        Survivor* const after = buffers[(x + 1) % 2];
        if (place == 0) {
            open_window(run, choices, x, before);
            if (run.feedback == nullptr) std::memcpy(after, before, sizeof buffers[0]);
        }
        alignas(64) float values[kBranches], costs[kBranches];
        for (std::size_t b = 0; b < kBranches; ++b) {
            const float magnitude = std::fabs(before[b % kStates][place] * run.inverse_steps[x]);
            is_good &= magnitude < kMaxLevel;
            values[b] = magnitude < kMaxLevel ? magnitude : kMaxLevel;
            costs[b] = state_costs[b % kStates];
        }
        fill_branches(values, costs, table.costs + run.cost_rows[x], table, branches);
        if (run.is_zero != nullptr && run.is_zero[x]) fill_zero_branches(values, costs, table.costs + run.cost_rows[x], table, branches);
        Choices& chosen = choices[x];
        choose_arrivals(branches, state_costs, chosen.from);
        for (std::size_t n = 0; n < kStates; ++n) {
            const std::size_t branch = chosen.from[n], parent = branch % kStates;
            const float value = before[parent][place];
            const float level = value < 0.0f ? -branches.levels[branch] : branches.levels[branch];
            chosen.codes[n] = value < 0.0f ? -branches.magnitudes[branch] : branches.magnitudes[branch];
            chosen.levels[n] = level;
            if (run.feedback == nullptr) continue;
            chosen.errors[n] = (value - level * run.steps[x]) * run.inverse_diagonal[x];
            feed_forward(before[parent], run.feedback[x] + (x - place), chosen.errors[n], place, count, after[n]);
        }
    }
    trace_back(choices, state_costs, run);
    return is_good;
}

TERSOR_VECTOR_CLONES
bool search_scalar(CoupledRun& run, const CostTable& table) {
    alignas(64) float pending[kMaxRunRows];
    std::memcpy(pending, run.values, sizeof pending);
    for (std::size_t x = 0; x < run.n_rows; ++x) {
        const float value = std::fabs(pending[x] * run.inverse_steps[x]);
        if (!(value < kMaxLevel)) return false;
        const float* const costs = table.costs + run.cost_rows[x];
        const auto low = static_cast<std::int32_t>(value);
        std::int32_t best = 0;
        float best_cost = value * value + costs[0];
        for (const std::int32_t magnitude : {low, low + 1}) {
            const float distance = value - static_cast<float>(magnitude), cost = distance * distance + costs[std::min(magnitude, table.last_magnitude)];
            if (cost < best_cost) best = magnitude, best_cost = cost;
        }
        if (run.is_zero != nullptr && run.is_zero[x]) best = 0;
        run.codes[x] = pending[x] < 0.0f ? -best : best;
        run.levels[x] = static_cast<float>(run.codes[x]);
        if (run.feedback == nullptr) continue;
        run.errors[x] = (pending[x] - run.levels[x] * run.steps[x]) * run.inverse_diagonal[x];
        feed_forward(pending, run.feedback[x], run.errors[x], x, run.n_rows, pending);
    }
    return true;
}

}  // namespace tersor
