#include "tersor/field_groups.hpp"

#include <set>

#include "../src/entropy_estimate.hpp"
#include "entropy_checks.hpp"

using namespace tersor;
using namespace tersor::testing;
using tersor::testing::Bytes;

namespace {

// Records of a scale, a minimum near it and six codes, as quantized blocks are.
Bytes records(std::size_t n) {
    Random random;
    Bytes bytes;
    for (std::size_t i = 0; i < n; ++i) {
        const auto scale = static_cast<std::uint8_t>(200 + (random.next() >> 8 & 31));
        bytes.push_back(scale);
        bytes.push_back(static_cast<std::uint8_t>(scale - 120 + (random.next() >> 8 & 1)));
        for (int k = 0; k < 6; ++k) bytes.push_back(static_cast<std::uint8_t>(16 * (random.next() >> 8 & 3)));
    }
    return bytes;
}

}  // namespace

TEST_CASE("field groups: codes form one group, and a minimum refers to its scale") {
    const FieldGroups learned = learn_field_groups(records(4096), 8, 1);
    REQUIRE(learned.groups.size() == 3);
    CHECK(learned.groups[0].positions == std::vector<std::uint8_t>{0});
    CHECK(learned.groups[1].positions == std::vector<std::uint8_t>{1});
    CHECK(learned.groups[1].reference == 0);
    CHECK(learned.groups[2].positions.size() == 6);
    CHECK(learned.bits < 4096 * (5 + 1 + 6 * 2) * 1.05 + 800);
}

TEST_CASE("field groups: every position is in one group, references come earlier, whatever the records hold") {
    Random random;
    for (const std::size_t stride : {1, 2, 33, 100, 255})
        for (const std::size_t n : {0, 1, 50}) {
            Bytes bytes(n * stride);
            for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(random.next() >> 8 & (i % stride % 5 == 0 ? 255 : 7));
            const FieldGroups learned = learn_field_groups(bytes, stride, 3);
            std::set<int> known;
            CHECK(learned.groups.size() <= kMaxFieldGroups);
            for (const FieldGroup& group : learned.groups) {
                CHECK((group.reference == -1 || known.contains(group.reference)));
                for (const std::uint8_t position : group.positions) CHECK(known.insert(position).second);
            }
            CHECK(known.size() == stride);
        }
}

TEST_CASE("entropy estimates: logarithms of powers of two are exact, others near") {
    for (std::uint32_t k = 0; k < 31; ++k) CHECK(quick_log2(std::uint64_t{1} << k) == k * kLogScale);
    CHECK(quick_log2(3) == doctest::Approx(1.5849625 * kLogScale).epsilon(0.001));
    CHECK(quick_log2(1000003) == doctest::Approx(19.931573 * kLogScale).epsilon(0.001));
    const std::vector<std::uint32_t> even(16, 100), none(16, 0);
    CHECK(entropy_bits(even) == doctest::Approx(6400).epsilon(0.001));
    CHECK(entropy_bits(none) == 0);
}
