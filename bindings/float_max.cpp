// Level max: the model of a float tensor, and the blocks coded with it.
#include <nanobind/ndarray.h>

#include <bit>
#include <memory>

#include "bind.hpp"
#include "tersor/float_max.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace tersor::bindings {
namespace {

template <class T, int rank>
using Array = nb::ndarray<T, nb::ndim<rank>, nb::c_contig, nb::device::cpu>;
using Words = nb::ndarray<const std::uint16_t, nb::ndim<2>, nb::device::cpu>;  // any strides: upper halves of F32 are every other word

template <class T, class... Rest>
std::span<T> span_of(const nb::ndarray<T, Rest...>& array) {
    return {array.data(), array.size()};
}

void require(bool condition, const char* what) {
    if (!condition) raise_for(Status::bad_argument, what);
}

FloatFormat format_of(int unit) {
    require(unit == 0 || unit == 1, "float unit must be 0 (BF16) or 1 (F16)");
    return unit == 0 ? kBF16 : kF16;
}

WordMatrix matrix_of(const Words& words) {
    require(words.stride(0) >= 0 && words.stride(1) >= 0, "words must not run backwards");
    return {words.data(), words.shape(0), words.shape(1), static_cast<std::size_t>(words.stride(0)), static_cast<std::size_t>(words.stride(1))};
}

MaxSideTables side_of(const TableSet& side, std::size_t row_class, std::size_t row_profile) {
    require(row_class < side.tables.size() && row_profile < side.tables.size() && side.precision == 12, "side tables of level max");
    return {&side.tables[row_class], &side.tables[row_profile]};
}

nb::ndarray<nb::numpy, std::int32_t, nb::ndim<1>> copy_of(const std::vector<std::int32_t>& values) {
    auto* copy = new std::vector<std::int32_t>(values);
    nb::capsule owner(copy, [](void* p) noexcept { delete static_cast<std::vector<std::int32_t>*>(p); });
    return {copy->data(), {copy->size()}, owner};
}

// A tile's columns of every profile, next to each other as a block model wants them.
std::vector<std::int32_t> tile_of(const std::vector<std::int32_t>& values, std::size_t profiles, std::size_t first, std::size_t columns) {
    const std::size_t width = values.size() / profiles;
    std::vector<std::int32_t> tile;
    for (std::size_t p = 0; p < profiles; ++p)
        tile.insert(tile.end(), values.begin() + static_cast<std::ptrdiff_t>(p * width + first), values.begin() + static_cast<std::ptrdiff_t>(p * width + first + columns));
    return tile;
}

FloatBlockModel whole(const FloatModel& model) {
    return {model.shape,       model.base,         model.profiles,    model.column_scale.size() / model.profiles, model.row_class, model.row_profile,
            model.column_scale, model.column_shape};
}

void require_fit(const FloatModel& model, std::size_t rows, std::size_t columns) {
    require(model.row_class.size() == rows && model.column_scale.size() == model.profiles * columns, "the model is of another matrix");
}

}  // namespace

void bind_float_max(nb::module_& module) {
    nb::class_<FloatModel>(module, "FloatModel", "Scales and shapes of a float tensor at level max, docs/format.md 5.5.")
        .def_ro("profiles", &FloatModel::profiles)
        .def_prop_ro("row_class", [](const FloatModel& self) { return copy_of(self.row_class); }, nb::rv_policy::move)
        .def_prop_ro("row_profile", [](const FloatModel& self) { return copy_of(self.row_profile); }, nb::rv_policy::move)
        .def_prop_ro("column_scale", [](const FloatModel& self) { return copy_of(self.column_scale); }, nb::rv_policy::move)
        .def_prop_ro("column_shape", [](const FloatModel& self) { return copy_of(self.column_shape); }, nb::rv_policy::move);
    module.def(
        "fit_float_model",
        [](const Words& words, int unit) {
            const FloatFormat format = format_of(unit);
            const WordMatrix matrix = matrix_of(words);
            nb::gil_scoped_release release;
            return fit_float_model(matrix, format);
        },
        "words"_a.noconvert(), "unit"_a, "The model of a matrix of 16-bit words.");
    module.def(
        "count_float_max",
        [](const Words& words, int unit, const FloatModel& model, std::size_t stride, const Array<std::uint64_t, 2>& counts) {
            require(counts.shape(0) == kMaxTableCount && counts.shape(1) == kMaxSymbols && stride > 0, "count_float_max");
            require_fit(model, words.shape(0), words.shape(1));
            const FloatFormat format = format_of(unit);
            const WordMatrix matrix = matrix_of(words);
            nb::gil_scoped_release release;
            count_float_max(matrix, format, whole(model), stride, span_of(counts));
        },
        "words"_a.noconvert(), "unit"_a, "model"_a, "stride"_a, "counts"_a.noconvert(), "Add every stride-th row to counts (80, 128).");
    module.def(
        "refine_row_classes",
        [](const Words& words, int unit, const Array<const float, 2>& cost, int reach, FloatModel& model) {
            require(cost.shape(0) == kMaxTableCount && cost.shape(1) == kMaxSymbols && reach >= 0 && reach <= 8, "refine_row_classes");
            require_fit(model, words.shape(0), words.shape(1));
            const FloatFormat format = format_of(unit);
            const WordMatrix matrix = matrix_of(words);
            nb::gil_scoped_release release;
            refine_row_classes(matrix, format, span_of(cost), reach, model);
        },
        "words"_a.noconvert(), "unit"_a, "cost"_a, "reach"_a, "model"_a, "Move row classes to where `cost` (80, 128), bits of each symbol, is least.");
    module.def(
        "refine_columns",
        [](const Words& words, int unit, const Array<const float, 2>& cost, std::size_t stride, FloatModel& model) {
            require(cost.shape(0) == kMaxTableCount && cost.shape(1) == kMaxSymbols && stride > 0, "refine_columns");
            require_fit(model, words.shape(0), words.shape(1));
            const FloatFormat format = format_of(unit);
            const WordMatrix matrix = matrix_of(words);
            nb::gil_scoped_release release;
            refine_columns(matrix, format, span_of(cost), stride, model);
        },
        "words"_a.noconvert(), "unit"_a, "cost"_a, "stride"_a, "model"_a, "Move column scales, skews and signs likewise, judged on every stride-th row.");
    module.def(
        "encode_float_max",
        [](const Array<const std::uint16_t, 2>& words, int unit, const FloatModel& model, std::size_t first_row, std::size_t first_column, std::size_t n_streams, std::size_t lanes,
           const TableSet& tables, const TableSet& side, std::size_t class_table, std::size_t profile_table) {
            const std::size_t rows = words.shape(0), columns = words.shape(1), width = model.column_scale.size() / model.profiles;
            require(first_row + rows <= model.row_class.size() && first_column + columns <= width, "the block is outside of the model's matrix");
            require(n_streams >= 1 && n_streams <= 8 && lanes <= 32 && std::has_single_bit(lanes), "streams and lanes");
            require(tables.tables.size() == kMaxTableCount && tables.symbols == static_cast<int>(kMaxSymbols) && tables.precision == 12 && tables.has_escapes(), "tables of level max");
            const FloatFormat format = format_of(unit);
            const MaxSideTables side_tables = side_of(side, class_table, profile_table);
            const std::vector<std::int32_t> scale = tile_of(model.column_scale, model.profiles, first_column, columns), shape = tile_of(model.column_shape, model.profiles, first_column, columns);
            const FloatBlockModel block{model.shape, model.base, model.profiles, columns, std::span(model.row_class).subspan(first_row, rows),
                                        std::span(model.row_profile).subspan(first_row, rows), scale, shape};
            Bytes payload;
            {
                nb::gil_scoped_release release;
                payload = encode_float_max(span_of(words), format, block, n_streams, lanes, tables, side_tables);
            }
            return nb::bytes(payload.data(), payload.size());
        },
        "words"_a, "unit"_a, "model"_a, "first_row"_a, "first_column"_a, "n_streams"_a, "lanes"_a, "tables"_a, "side"_a, "class_table"_a, "profile_table"_a,
        "Payload of a block (rows, columns) that begins at a row and column of the model's matrix.");
    module.def(
        "decode_float_max",
        [](const Array<const std::uint8_t, 1>& payload, int unit, const Array<const std::int32_t, 2>& column_scale, const Array<const std::int32_t, 2>& column_shape,
           const TableSet& tables, const TableSet& side, std::size_t class_table, std::size_t profile_table, const Array<std::uint16_t, 2>& out) {
            const std::size_t profiles = column_scale.shape(0), columns = out.shape(1);
            require((profiles == 1 || profiles == 2) && column_scale.shape(1) == columns && column_shape.shape(0) == profiles && column_shape.shape(1) == columns, "columns of level max");
            for (const std::int32_t b : span_of(column_scale)) require(b >= kMinClass && b <= kMaxClass, "column scale");
            for (const std::int32_t s : span_of(column_shape)) require(s >= 0 && s <= kMaxColumnShape, "column shape");
            const FloatFormat format = format_of(unit);
            const MaxSideTables side_tables = side_of(side, class_table, profile_table);
            Status status;
            {
                nb::gil_scoped_release release;
                status = decode_float_max(span_of(payload), format, out.shape(0), columns, profiles, span_of(column_scale), span_of(column_shape), tables, side_tables, span_of(out));
            }
            raise_for(status, "float rows of level max");
        },
        "payload"_a, "unit"_a, "column_scale"_a, "column_shape"_a, "tables"_a, "side"_a, "class_table"_a, "profile_table"_a, "out"_a.noconvert(),
        "Fill out (rows, columns). Raises CorruptError.");
}

}  // namespace tersor::bindings
