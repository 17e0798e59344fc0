#include "tersor/prune.hpp"

#include "arrays.hpp"

namespace nb = nanobind;

namespace tersor::bindings {
namespace {

using Matrix = Array<const float, 2>;
using Weights = Array<float, 2>;
using Mask = Array<const bool, 2>;

struct Call {
    PruneProblem problem;
    PruneBlock block;
};

Call call_of(const Weights& weights, const Mask& mask, const Matrix& column_factor, const Matrix& row_factor, std::size_t first, std::size_t last,
             std::size_t begin, std::size_t end, std::size_t n_error_rows, std::size_t n_error_columns) {
    require(mask.shape(0) == weights.shape(0) && mask.shape(1) == weights.shape(1), "mask of another shape than the weights");
    require(first <= last && n_error_rows == weights.shape(0) && n_error_columns == last - first, "errors: rows x columns of the block");
    const PruneProblem problem{weights.shape(0),      weights.shape(1),
                               span_of(weights),      {reinterpret_cast<const std::uint8_t*>(mask.data()), mask.size()},
                               span_of(column_factor), span_of(row_factor)};
    return {problem, {first, last, begin, end}};
}

void remove_columns_of(const Weights& weights, const Mask& mask, const Matrix& column_factor, const Matrix& row_factor, std::size_t first, std::size_t last,
                       std::size_t begin, std::size_t end, Array<float, 2> errors, unsigned threads) {
    const Call call = call_of(weights, mask, column_factor, row_factor, first, last, begin, end, errors.shape(0), errors.shape(1));
    Status status;
    {
        nb::gil_scoped_release release;
        status = remove_columns(call.problem, call.block, span_of(errors), threads);
    }
    raise_for(status, "remove_columns");
}

void push_removed_of(const Weights& weights, const Mask& mask, const Matrix& column_factor, std::size_t first, std::size_t last,
                     const Array<const float, 2>& errors, unsigned threads) {
    const Call call = call_of(weights, mask, column_factor, column_factor, first, last, first, last, errors.shape(0), errors.shape(1));
    PruneProblem problem = call.problem;
    problem.row_factor = {};
    Status status;
    {
        nb::gil_scoped_release release;
        status = push_removed(problem, call.block, span_of(errors), threads);
    }
    raise_for(status, "push_removed");
}

}  // namespace

void bind_prune(nb::module_& module) {
    module.def("remove_columns", &remove_columns_of, nb::arg("weights").noconvert(), nb::arg("mask"), nb::arg("column_factor"), nb::arg("row_factor"),
               nb::arg("first"), nb::arg("last"), nb::arg("begin"), nb::arg("end"), nb::arg("errors").noconvert(), nb::arg("threads"),
               "Remove the masked (False) weights of columns begin .. end - 1 in place, and let their errors move the columns behind up to last - 1 and the "
               "rows below (row_factor of shape (0, 0): not these). errors (rows, last - first): filled for push_removed. At most 128 columns at a time.");
    module.def("push_removed", &push_removed_of, nb::arg("weights").noconvert(), nb::arg("mask"), nb::arg("column_factor"), nb::arg("first"),
               nb::arg("last"), nb::arg("errors"), nb::arg("threads"), "Let the errors of columns first .. last - 1 move all columns from last on, in place.");
}

}  // namespace tersor::bindings
