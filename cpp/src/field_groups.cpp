#include "tersor/field_groups.hpp"

#include <algorithm>
#include <array>

#include "entropy_estimate.hpp"

namespace tersor {
namespace {

using Histogram = std::array<std::uint32_t, 256>;

constexpr double kTableBits = 200, kEntryBits = 4;  // about what a codec's table and each of its entries cost

// Bits of a group of these counts, with its table; no more than raw.
double bits_of(const Histogram& counts, double scale) {
    std::uint64_t total = 0;
    int n_used = 0;
    for (const std::uint32_t count : counts) {
        total += count;
        n_used += count > 0;
    }
    return std::min(scale * entropy_bits(counts) + kTableBits + kEntryBits * n_used, 8 * scale * static_cast<double>(total) + 8);
}

Histogram sum_of(const Histogram& a, const Histogram& b) {
    Histogram sum;
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] = a[i] + b[i];
    return sum;
}

// Groups with their histograms and costs, on the way to fewer.
class Learner {
public:
    Learner(ByteSpan records, std::size_t stride, double scale) : scale_(scale), positions_(stride), counts_(stride) {
        for (std::size_t i = 0; i < records.size(); i += stride)
            for (std::size_t position = 0; position < stride; ++position) ++counts_[position][records[i + position]];
        for (std::size_t position = 0; position < stride; ++position) {
            positions_[position].push_back(static_cast<std::uint8_t>(position));
            bits_.push_back(bits_of(counts_[position], scale));
        }
    }

    void join_neighbours() {
        std::vector<double> costs;
        for (std::size_t i = 0; i + 1 < bits_.size(); ++i) costs.push_back(cost_of(i, i + 1));
        while (!costs.empty()) {
            std::size_t best = 0;
            double saved = saved_by(0, 1, costs[0]);
            for (std::size_t i = 1; i < costs.size(); ++i)
                if (const double saves = saved_by(i, i + 1, costs[i]); saves > saved) best = i, saved = saves;
            if (saved <= 0 && bits_.size() <= kMaxFieldGroups) return;
            join(best, best + 1, costs[best]);
            costs.erase(costs.begin() + static_cast<std::ptrdiff_t>(best));
            if (best > 0) costs[best - 1] = cost_of(best - 1, best);
            if (best < costs.size()) costs[best] = cost_of(best, best + 1);
        }
    }

    void join_any() {
        for (;;) {
            double saved = 0, cost = 0;
            std::size_t first = 0, second = 0;
            for (std::size_t a = 0; a < bits_.size(); ++a)
                for (std::size_t b = a + 1; b < bits_.size(); ++b) {
                    const double joined = cost_of(a, b), saves = saved_by(a, b, joined);
                    if (saves > saved) saved = saves, cost = joined, first = a, second = b;
                }
            if (saved <= 0) return;
            join(first, second, cost);
        }
    }

    // The groups, each lone position less an earlier lone one where that saves bits.
    FieldGroups refer(ByteSpan records, std::size_t stride) const {
        FieldGroups result;
        std::vector<std::uint8_t> lone;
        for (std::size_t g = 0; g < positions_.size(); ++g) {
            FieldGroup group{positions_[g], -1};
            double bits = bits_[g];
            if (group.positions.size() == 1) {
                for (const std::uint8_t reference : lone) {
                    Histogram differences{};
                    for (std::size_t i = 0; i < records.size(); i += stride) ++differences[static_cast<std::uint8_t>(records[i + group.positions[0]] - records[i + reference])];
                    if (const double cost = bits_of(differences, scale_); cost < bits) bits = cost, group.reference = reference;
                }
                lone.push_back(group.positions[0]);
            }
            result.groups.push_back(std::move(group));
            result.bits += bits;
        }
        return result;
    }

private:
    double cost_of(std::size_t a, std::size_t b) const { return bits_of(sum_of(counts_[a], counts_[b]), scale_); }
    double saved_by(std::size_t a, std::size_t b, double cost) const { return bits_[a] + bits_[b] - cost; }
    void join(std::size_t a, std::size_t b, double cost) {
        positions_[a].insert(positions_[a].end(), positions_[b].begin(), positions_[b].end());
        counts_[a] = sum_of(counts_[a], counts_[b]);
        bits_[a] = cost;
        const auto at = static_cast<std::ptrdiff_t>(b);
        positions_.erase(positions_.begin() + at);
        counts_.erase(counts_.begin() + at);
        bits_.erase(bits_.begin() + at);
    }

    double scale_;
    std::vector<std::vector<std::uint8_t>> positions_;
    std::vector<Histogram> counts_;
    std::vector<double> bits_;
};

}  // namespace

FieldGroups learn_field_groups(ByteSpan records, std::size_t stride, double scale) {
    Learner learner(records.first(records.size() / stride * stride), stride, scale);
    learner.join_neighbours();
    learner.join_any();
    return learner.refer(records.first(records.size() / stride * stride), stride);
}

}  // namespace tersor
