#include "float_probe.hpp"

#include <algorithm>
#include <array>

#include "entropy_estimate.hpp"

namespace tersor {
namespace {

constexpr std::size_t kSample = 4096, kRun = 64;  // of bytes in a plane, in runs
constexpr double kTableBits = 200, kEntryBits = 4;  // about what a code's table costs, and each of its entries

std::uint64_t load_u64(const std::uint8_t* p) {
    std::uint64_t value;
    std::memcpy(&value, p, sizeof value);
    return value;
}

}  // namespace

bool all_equal(ByteSpan data, std::size_t size) {
    return data.size() >= size && std::equal(data.begin() + static_cast<std::ptrdiff_t>(size), data.end(), data.begin());
}

bool has_repeats(ByteSpan data, std::size_t row_bytes) {
    constexpr std::size_t kProbes = 1024, kSlots = 4096;
    if (row_bytes < 8 || data.size() < 64 * sizeof(std::uint64_t)) return false;
    const std::size_t rows = data.size() / row_bytes, row_step = std::max<std::size_t>(rows / kProbes, 1);
    const std::size_t per_row = std::clamp<std::size_t>(kProbes / rows, 1, row_bytes / 8), column_step = row_bytes / per_row & ~std::size_t{7};
    std::array<std::uint64_t, kSlots> seen{};
    std::size_t n_probes = 0, n_repeats = 0;
    for (std::size_t row = 0; row < rows; row += row_step)
        for (std::size_t k = 0; k < per_row; ++k, ++n_probes) {
            const std::uint64_t value = load_u64(data.data() + row * row_bytes + k * column_step);
            std::uint64_t& slot = seen[value * 0x9E3779B97F4A7C15u >> 52];
            n_repeats += slot == value;
            slot = value;
        }
    return n_repeats > 2 && n_repeats > n_probes / 64;
}

double plane_bits(ByteSpan data, std::size_t offset, std::size_t stride) {
    const std::size_t n = data.size() / stride;
    if (n == 0) return 0;
    const std::size_t run_step = n <= kSample ? kRun : n / (kSample / kRun);
    std::array<std::uint32_t, 256> counts{};
    std::uint32_t total = 0;
    for (std::size_t begin = 0; begin < n && total < kSample; begin += run_step)
        for (std::size_t i = begin; i < std::min(begin + kRun, n); ++i, ++total) ++counts[data[offset + i * stride]];
    const auto n_used = static_cast<double>(std::count_if(counts.begin(), counts.end(), [](std::uint32_t count) { return count > 0; }));
    const double each = (entropy_bits(counts) + n_used / (2 * 0.693)) / total;  // Miller and Madow's correction
    const double all = static_cast<double>(n);
    return std::min(all * each + kTableBits + kEntryBits * n_used, 8 * all);
}

}  // namespace tersor
