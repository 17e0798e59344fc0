// Codes and steps of a grid to weights.
#include "tersor/dequantize.hpp"

#include <nanobind/stl/optional.h>

#include <optional>

#include "arrays.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace tersor::bindings {
namespace {

using Ints = Array<const std::int32_t, 1>;
using IntMatrix = Array<const std::int32_t, 2>;
using Floats = Array<const float, 1>;
using FloatMatrix = Array<const float, 2>;

template <class Any>
auto span_of_any(const std::optional<Any>& array) {
    return array ? span_of(*array) : decltype(span_of(*array)){};
}

// Binds one function for each type of the values.
template <class Value>
void bind_for(nb::module_& module, const char* name, Status (*fill)(const GridBlock&, std::span<Value>), const char* documentation) {
    module.def(
        name,
        [fill](const IntMatrix& codes, const Ints& row_exponents, const Ints& column_exponents, std::size_t trellis_rows, const std::optional<Floats>& codebook,
               std::size_t group_size, const std::optional<FloatMatrix>& scales, const std::optional<IntMatrix>& zero_points, const Array<Value, 2>& values) {
            const GridBlock block{codes.shape(0), codes.shape(1), span_of(codes),  span_of(row_exponents), span_of(column_exponents), trellis_rows,
                                  span_of_any(codebook), group_size, span_of_any(scales), span_of_any(zero_points)};
            Status status = Status::bad_argument;
            if (values.shape(0) == codes.shape(0) && values.shape(1) == codes.shape(1)) {
                nb::gil_scoped_release release;
                status = fill(block, span_of(values));
            }
            raise_for(status, "dequantize");
        },
        "codes"_a, "row_exponents"_a, "column_exponents"_a, "trellis_rows"_a, "codebook"_a.none(), "group_size"_a, "scales"_a.none(), "zero_points"_a.none(),
        "values"_a.noconvert(), documentation);
}

}  // namespace

void bind_dequantize(nb::module_& module) {
    bind_for<float>(module, "dequantize", dequantize, "Fill values (rows, columns), float32, with the weights of a grid, docs/format.md 4.2. Raises ValueError.");
    bind_for<std::uint16_t>(module, "dequantize_bf16", dequantize_bf16, "The same, rounded to the nearest BF16, as uint16.");
}

}  // namespace tersor::bindings
