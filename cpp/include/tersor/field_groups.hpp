// Which byte positions of records are coded alike (form 4 of docs/format.md 4.1), learned from their histograms.
#pragma once
#include <cstdint>
#include <vector>

#include "tersor/bytes.hpp"

namespace tersor {

constexpr std::size_t kMaxFieldGroups = 32;

// positions: of a record. reference: the position whose byte is subtracted from those of the group, -1 if none.
struct FieldGroup {
    std::vector<std::uint8_t> positions;
    int reference = -1;
};

struct FieldGroups {
    std::vector<FieldGroup> groups;
    double bits = 0;  // that the records are expected to take
};

// records: whole ones of `stride` (1 .. 255) bytes. scale: how many times as much data they stand for.
// Neighbours join first, then any two groups, the pair that saves most before others. Then lone positions, such as those of a scale and a
// minimum, may refer to one another.
FieldGroups learn_field_groups(ByteSpan records, std::size_t stride, double scale);

}  // namespace tersor
