// Groups of byte positions of records.
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include "arrays.hpp"
#include "tersor/field_groups.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace tersor::bindings {

void bind_field_groups(nb::module_& module) {
    module.def(
        "learn_field_groups",
        [](const Array<const std::uint8_t, 2>& records, double scale) {
            require(records.shape(1) >= 1 && records.shape(1) <= 255 && records.shape(0) < (std::size_t{1} << 24) && scale > 0, "learn_field_groups");
            FieldGroups learned;
            {
                nb::gil_scoped_release release;
                learned = learn_field_groups(span_of(records), records.shape(1), scale);
            }
            std::pair<std::vector<std::pair<std::vector<int>, int>>, double> found{{}, learned.bits};
            for (const FieldGroup& group : learned.groups) {
                found.first.emplace_back(std::vector<int>(group.positions.begin(), group.positions.end()), group.reference);
            }
            return found;
        },
        "records"_a, "scale"_a, "Groups (positions, reference or -1) of the byte positions of records (n, stride), and the bits that `scale` times as many are expected to take.");
}

}  // namespace tersor::bindings
