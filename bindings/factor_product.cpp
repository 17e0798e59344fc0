// The product of two factors.
#include "tersor/factor_product.hpp"

#include "arrays.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace tersor::bindings {

using FloatMatrix = Array<const float, 2>;

void bind_factor_product(nb::module_& module) {
    module.def(
        "multiply_factors",
        [](const FloatMatrix& left, const FloatMatrix& right, const Array<float, 2>& values) {
            require(left.shape(1) == right.shape(0), "rank of the factors");
            require(values.shape(0) == left.shape(0) && values.shape(1) == right.shape(1), "shape of the product");
            const Factors factors{left.shape(0), left.shape(1), right.shape(1), span_of(left), span_of(right)};
            Status status;
            {
                nb::gil_scoped_release release;
                status = multiply_factors(factors, span_of(values));
            }
            raise_for(status, "multiply_factors");
        },
        "left"_a, "right"_a, "values"_a.noconvert(),
        "Fill values (rows, columns) with left (rows, rank) times right (rank, columns), float32: sums in order, docs/format.md 4.6. Raises ValueError.");
}

}  // namespace tersor::bindings
