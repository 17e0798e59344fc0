// Level max: the model of a float tensor, and the blocks coded with it.
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "arrays.hpp"
#include "tersor/float_blocks.hpp"
#include "tersor/float_max.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace tersor::bindings {
namespace {

using Words = nb::ndarray<const std::uint16_t, nb::ndim<2>, nb::device::cpu>;  // any strides: upper halves of F32 are every other word

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

// The tables of a set of kind float12max, for an encoder.
void require_max_tables(const TableSet& tables) {
    require(tables.tables.size() == kMaxTableCount && tables.symbols == static_cast<int>(kMaxSymbols) && tables.precision == 12 && tables.has_escapes(), "tables of level max");
}

// The part of a model that a block uses.
class BlockModel {
public:
    BlockModel(const FloatModel& model, std::size_t first_row, std::size_t rows, std::size_t first_column, std::size_t columns) {
        const std::size_t width = model.column_scale.size() / model.profiles;
        require(first_row <= model.row_class.size() && rows <= model.row_class.size() - first_row && first_column <= width && columns <= width - first_column,
                "the block is outside of the model's matrix");
        scale_ = tile_of(model.column_scale, model.profiles, first_column, columns);
        shape_ = tile_of(model.column_shape, model.profiles, first_column, columns);
        view_ = std::make_unique<FloatBlockModel>(FloatBlockModel{model.shape, model.base, model.profiles, columns, std::span(model.row_class).subspan(first_row, rows),
                                                                  std::span(model.row_profile).subspan(first_row, rows), scale_, shape_});
    }
    const FloatBlockModel& view() const { return *view_; }

private:
    std::vector<std::int32_t> scale_, shape_;
    std::unique_ptr<FloatBlockModel> view_;
};

// A Python callable, or None, as code that runs without the GIL may call it. The caller keeps the callable alive.
Pause pause_of(const nb::object& pause) {
    if (pause.is_none()) return {};
    const nb::handle callable = pause;
    return [callable] {
        nb::gil_scoped_acquire acquire;
        callable();
    };
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
        [](const Words& words, int unit, const nb::object& pause) {
            const FloatFormat format = format_of(unit);
            const WordMatrix matrix = matrix_of(words);
            const Pause call = pause_of(pause);
            nb::gil_scoped_release release;
            return fit_float_model(matrix, format, call);
        },
        "words"_a.noconvert(), "unit"_a, "pause"_a = nb::none(), "The model of a matrix of 16-bit words. pause: called after every few MB that were read.");
    module.def(
        "count_float_max",
        [](const Words& words, int unit, const FloatModel& model, std::size_t stride, const Array<std::uint64_t, 2>& counts, const nb::object& pause) {
            require(counts.shape(0) == kMaxTableCount && counts.shape(1) == kMaxSymbols && stride > 0, "count_float_max");
            require_fit(model, words.shape(0), words.shape(1));
            const FloatFormat format = format_of(unit);
            const WordMatrix matrix = matrix_of(words);
            const Pause call = pause_of(pause);
            nb::gil_scoped_release release;
            count_float_max(matrix, format, whole(model), stride, span_of(counts), call);
        },
        "words"_a.noconvert(), "unit"_a, "model"_a, "stride"_a, "counts"_a.noconvert(), "pause"_a = nb::none(), "Add every stride-th row to counts (80, 128).");
    module.def(
        "refine_row_classes",
        [](const Words& words, int unit, const Array<const float, 2>& cost, int reach, FloatModel& model, const nb::object& pause) {
            require(cost.shape(0) == kMaxTableCount && cost.shape(1) == kMaxSymbols && reach >= 0 && reach <= 8, "refine_row_classes");
            require_fit(model, words.shape(0), words.shape(1));
            const FloatFormat format = format_of(unit);
            const WordMatrix matrix = matrix_of(words);
            const Pause call = pause_of(pause);
            nb::gil_scoped_release release;
            refine_row_classes(matrix, format, span_of(cost), reach, model, call);
        },
        "words"_a.noconvert(), "unit"_a, "cost"_a, "reach"_a, "model"_a, "pause"_a = nb::none(), "Move row classes to where `cost` (80, 128), bits of each symbol, is least.");
    nb::class_<MaxCodeTables>(module, "MaxCodeTables", "The tables of level max as its encoder wants them.")
        .def(
            "__init__",
            [](MaxCodeTables* self, const TableSet& tables) {
                require_max_tables(tables);
                new (self) MaxCodeTables(tables);
            },
            "tables"_a);
    module.def(
        "encode_float_max",
        [](const Array<const std::uint16_t, 2>& words, int unit, const FloatModel& model, std::size_t first_row, std::size_t first_column, std::size_t n_streams, std::size_t lanes,
           const TableSet& tables, const TableSet& side, std::size_t class_table, std::size_t profile_table) {
            require_streams(n_streams, lanes);
            require_max_tables(tables);
            const FloatFormat format = format_of(unit);
            const MaxSideTables side_tables = side_of(side, class_table, profile_table);
            const BlockModel block(model, first_row, words.shape(0), first_column, words.shape(1));
            Bytes payload;
            {
                nb::gil_scoped_release release;
                payload = encode_float_max(span_of(words), format, block.view(), n_streams, lanes, tables, side_tables);
            }
            return to_bytes(payload);
        },
        "words"_a, "unit"_a, "model"_a, "first_row"_a, "first_column"_a, "n_streams"_a, "lanes"_a, "tables"_a, "side"_a, "class_table"_a, "profile_table"_a,
        "Payload of a block (rows, columns) that begins at a row and column of the model's matrix.");
    module.def(
        "encode_float_max_block",
        [](const ByteArray& data, std::size_t rows, std::size_t columns, int unit, const FloatModel& model, std::size_t first_row, std::size_t first_column, std::size_t n_streams,
           std::size_t lanes, const MaxCodeTables& codes, const TableSet& side, std::size_t class_table, std::size_t profile_table, int raw_codec, bool narrow_rows) {
            require_streams(n_streams, lanes);
            require(unit >= 0 && unit <= 2 && raw_codec >= 0 && raw_codec < 256, "encode_float_max_block");
            const FloatUnit float_unit = static_cast<FloatUnit>(unit);
            require(columns > 0 && rows == data.size() / size_of(float_unit) / columns && rows * columns * size_of(float_unit) == data.size(), "bytes of a block");
            const FloatFormat format = float_unit == FloatUnit::f16 ? kF16 : kBF16;
            const MaxSideTables side_tables = side_of(side, class_table, profile_table);
            const BlockModel model_part(model, first_row, rows, first_column, columns);
            thread_local std::vector<std::uint8_t> room;
            EncodedFloatBlock encoded{};
            {
                nb::gil_scoped_release release;
                room.resize(std::max(room.size(), float_block_room(data.size(), rows)));
                const WordEncoder encode_words = [&](std::span<const std::uint16_t> words, std::size_t front, std::span<std::uint8_t> out) {
                    return encode_float_max(words, format, model_part.view(), n_streams, lanes, codes, side_tables, front, out);
                };
                encoded = encode_float_block({span_of(data), rows, columns, float_unit}, encode_words, {static_cast<std::uint8_t>(raw_codec), narrow_rows}, room);
            }
            return std::pair{to_bytes(encoded.payload), encoded.crc};
        },
        "data"_a, "rows"_a, "columns"_a, "unit"_a, "model"_a, "first_row"_a, "first_column"_a, "n_streams"_a, "lanes"_a, "codes"_a, "side"_a, "class_table"_a, "profile_table"_a,
        "raw_codec"_a, "narrow_rows"_a, "Payload of a whole block and the CRC-32C of its bytes. An empty payload: try other forms.");
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
                status = decode_float_max({span_of(payload), format, out.shape(0), columns, profiles, span_of(column_scale), span_of(column_shape), &tables, side_tables, span_of(out)});
            }
            raise_for(status, "float rows of level max");
        },
        "payload"_a, "unit"_a, "column_scale"_a, "column_shape"_a, "tables"_a, "side"_a, "class_table"_a, "profile_table"_a, "out"_a.noconvert(),
        "Fill out (rows, columns). Raises CorruptError.");
}

}  // namespace tersor::bindings
