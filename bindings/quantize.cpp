#include "tersor/quantize.hpp"

#include <nanobind/ndarray.h>

#include "bind.hpp"

namespace nb = nanobind;

namespace tersor::bindings {
namespace {

using Matrix = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Vector = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Codes = nb::ndarray<std::int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

std::span<const float> span_of(const Vector& vector) { return {vector.data(), vector.size()}; }

std::span<const float> span_of(const Matrix& matrix) { return {matrix.data(), matrix.size()}; }

void round_with_feedback_into(const Matrix& weights, const Matrix& factor, const Vector& row_steps,
                              const Vector& column_steps, const Vector& row_dead_zones,
                              const Vector& column_dead_zones, Codes codes, unsigned threads) {
    RoundingProblem problem{weights.shape(0),      weights.shape(1),        span_of(weights),
                            span_of(factor),       span_of(row_steps),      span_of(column_steps),
                            span_of(row_dead_zones), span_of(column_dead_zones)};
    const bool same_shape = codes.shape(0) == weights.shape(0) && codes.shape(1) == weights.shape(1);
    Status status = Status::bad_argument;
    if (same_shape) {
        nb::gil_scoped_release release;
        status = round_with_feedback(problem, {codes.data(), codes.size()}, threads);
    }
    raise_for(status, "round_with_feedback");
}

}  // namespace

void bind_quantize(nb::module_& module) {
    module.def("round_with_feedback", &round_with_feedback_into, nb::arg("weights"), nb::arg("factor"),
               nb::arg("row_steps"), nb::arg("column_steps"), nb::arg("row_dead_zones"),
               nb::arg("column_dead_zones"), nb::arg("codes").noconvert(), nb::arg("threads"),
               "Fill codes (int32, like weights) by rounding column after column with error feedback (factor of shape (0, 0): none).");
}

}  // namespace tersor::bindings
