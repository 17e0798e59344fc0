#include "tersor/quantize.hpp"
#include "tersor/quantize_two_sided.hpp"

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>

#include <optional>

#include "bind.hpp"

namespace nb = nanobind;

namespace tersor::bindings {
namespace {

using Matrix = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Vector = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Cube = nb::ndarray<const float, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Classes = nb::ndarray<const std::int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Mask = nb::ndarray<const bool, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Codes = nb::ndarray<std::int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

std::span<const float> span_of(const Vector& vector) { return {vector.data(), vector.size()}; }

std::span<const float> span_of(const Matrix& matrix) { return {matrix.data(), matrix.size()}; }

std::span<const std::uint8_t> span_of(const std::optional<Mask>& mask) {
    if (!mask) return {};
    return {reinterpret_cast<const std::uint8_t*>(mask->data()), mask->size()};
}

template <class Array>
bool has_shape(const Array& array, const Matrix& weights) {
    return array.shape(0) == weights.shape(0) && array.shape(1) == weights.shape(1);
}

void round_with_feedback_into(const Matrix& weights, const Matrix& factor, const Vector& row_steps,
                              const Vector& column_steps, const Vector& row_dead_zones,
                              const Vector& column_dead_zones, Codes codes, unsigned threads, const std::optional<Mask>& mask) {
    RoundingProblem problem{weights.shape(0),      weights.shape(1),        span_of(weights),
                            span_of(factor),       span_of(row_steps),      span_of(column_steps),
                            span_of(row_dead_zones), span_of(column_dead_zones), span_of(mask)};
    const bool same_shape = has_shape(codes, weights) && (!mask || has_shape(*mask, weights));
    Status status = Status::bad_argument;
    if (same_shape) {
        nb::gil_scoped_release release;
        status = round_with_feedback(problem, {codes.data(), codes.size()}, threads);
    }
    raise_for(status, "round_with_feedback");
}

void round_two_sided_into(const Matrix& weights, const Matrix& column_factor, const Matrix& row_factor, const Vector& row_steps,
                          const Vector& column_steps, const Classes& row_classes, const Classes& column_classes, const Cube& code_costs,
                          std::int32_t first_class, std::size_t run_rows, Codes codes, unsigned threads, const std::optional<Mask>& mask) {
    TwoSidedProblem problem;
    problem.rows = weights.shape(0), problem.columns = weights.shape(1);
    problem.weights = span_of(weights);
    problem.column_factor = span_of(column_factor), problem.row_factor = span_of(row_factor);
    problem.row_steps = span_of(row_steps), problem.column_steps = span_of(column_steps);
    problem.row_classes = {row_classes.data(), row_classes.size()};
    problem.column_classes = {column_classes.data(), column_classes.size()};
    problem.code_costs = {{code_costs.data(), code_costs.size()}, code_costs.shape(2), code_costs.shape(1), first_class};
    problem.has_trellis = code_costs.shape(0) == 2;
    problem.run_rows = run_rows;
    problem.mask = span_of(mask);
    const bool same_shape = has_shape(codes, weights) && (!mask || has_shape(*mask, weights));
    Status status = Status::bad_argument;
    if (same_shape) {
        nb::gil_scoped_release release;
        status = round_two_sided(problem, {codes.data(), codes.size()}, threads);
    }
    raise_for(status, "round_two_sided");
}

}  // namespace

void bind_quantize(nb::module_& module) {
    module.def("round_with_feedback", &round_with_feedback_into, nb::arg("weights"), nb::arg("factor"),
               nb::arg("row_steps"), nb::arg("column_steps"), nb::arg("row_dead_zones"),
               nb::arg("column_dead_zones"), nb::arg("codes").noconvert(), nb::arg("threads"), nb::arg("mask") = nb::none(),
               "Fill codes (int32, like weights) by rounding column after column with error feedback (factor of shape (0, 0): none). Codes are 0 where mask "
               "is False.");
    module.def("round_two_sided", &round_two_sided_into, nb::arg("weights"), nb::arg("column_factor"), nb::arg("row_factor"), nb::arg("row_steps"),
               nb::arg("column_steps"), nb::arg("row_classes"), nb::arg("column_classes"), nb::arg("code_costs"), nb::arg("first_class"), nb::arg("run_rows"),
               nb::arg("codes").noconvert(), nb::arg("threads"), nb::arg("mask") = nb::none(),
               "Fill codes (int32, like weights; 0 where mask is False) with error feedback along rows and columns (factors of shape (0, 0): none). code_costs: (halves, "
               "classes, magnitudes); two halves: trellis codes, whose state restarts every run_rows rows (a multiple of 16, at most 256).");
}

}  // namespace tersor::bindings
