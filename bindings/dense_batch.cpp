// Blocks of dense tensors: one, or many in one call.
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <optional>

#include "arrays.hpp"
#include "bind.hpp"
#include "tersor/dense_batch.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace tersor::bindings {
namespace {

using Matrix = nb::ndarray<std::uint8_t, nb::ndim<2>, nb::device::cpu>;
using Columns = std::optional<Array<const std::int32_t, 2>>;

// Keeps what its blocks come from and go to until it goes itself.
struct Batch {
    DenseBatch blocks;
    std::vector<nb::object> tensors;
    std::vector<ByteArray> payloads;
    std::vector<Array<std::uint8_t, 1>> outs;
};

DenseTables tables_of(const TableSet* balanced, const TableSet* fast, const TableSet* max, const TableSet* side, const std::vector<int>& codecs, std::size_t class_table,
                      std::size_t profile_table, std::size_t zeros_table) {
    DenseTables tables{balanced, fast, max, side, class_table, profile_table, zeros_table, {}};
    for (const int codec : codecs) {
        require(codec >= 0 && codec <= static_cast<int>(ByteCodec::rans), "byte codec");
        tables.codecs.push_back(static_cast<ByteCodec>(codec));
    }
    return tables;
}

DenseColumns columns_of(const Columns& scale, const Columns& shape) {
    if (!scale || !shape) return {};
    const auto scales = span_of(*scale), shapes = span_of(*shape);
    return {scale->shape(0), {scales.begin(), scales.end()}, {shapes.begin(), shapes.end()}};
}

DenseTensor tensor_of(const DenseTables& tables, std::size_t rows, std::size_t columns, std::size_t element_bytes, std::size_t block_rows, std::size_t block_columns,
                      const Array<const std::int64_t, 1>& offsets, const Array<const std::uint32_t, 1>& checksums, const Columns& column_scale, const Columns& column_shape) {
    const auto ends = span_of(offsets);
    const auto sums = span_of(checksums);
    require(std::all_of(ends.begin(), ends.end(), [](std::int64_t end) { return end >= 0; }), "offsets of blocks");
    DenseTensor tensor{&tables, columns_of(column_scale, column_shape), rows, columns, element_bytes, block_rows, block_columns, {ends.begin(), ends.end()}, {sums.begin(), sums.end()}};
    raise_for(tensor.check(), "dense tensor");
    return tensor;
}

// out: the block's rows, each contiguous.
bool decode_one(const DenseTensor& tensor, std::size_t number, const ByteArray& payload, const Matrix& out) {
    require(number < tensor.n_blocks(), "block number");
    require(out.shape(0) == tensor.rows_of(number) && out.shape(1) == tensor.columns_of(number) * tensor.element_bytes, "out is not of the block's shape");
    const auto row_bytes = static_cast<std::int64_t>(out.shape(1)), row_stride = out.shape(0) == 1 ? row_bytes : out.stride(0);
    require((out.stride(1) == 1 || row_bytes == 1) && row_stride >= row_bytes, "out must have contiguous rows");
    nb::gil_scoped_release release;
    return decode_dense_block(tensor.alone(number, span_of(payload), out.data(), static_cast<std::size_t>(row_stride)), *tensor.tables);
}

void add(Batch& batch, nb::handle tensor, std::size_t first, std::size_t end, const ByteArray& payload, const Array<std::uint8_t, 1>& out) {
    raise_for(batch.blocks.add(nb::cast<const DenseTensor&>(tensor), first, end, span_of(payload), span_of(out)), "dense batch");
    batch.tensors.push_back(nb::borrow(tensor));
    batch.payloads.push_back(payload);
    batch.outs.push_back(out);
}

}  // namespace

void bind_dense_batch(nb::module_& module) {
    nb::class_<DenseTables>(module, "DenseTables", "What the dense blocks of an archive file share, for the compiled decoder.")
        .def(
            "__init__",
            [](DenseTables* self, const TableSet* balanced, const TableSet* fast, const TableSet* max, const TableSet* side, const std::vector<int>& codecs, std::size_t class_table,
               std::size_t profile_table, std::size_t zeros_table) {
                new (self) DenseTables(tables_of(balanced, fast, max, side, codecs, class_table, profile_table, zeros_table));
            },
            "balanced"_a.none(), "fast"_a.none(), "max"_a.none(), "side"_a.none(), "codecs"_a, "class_table"_a, "profile_table"_a, "zeros_table"_a, nb::keep_alive<1, 2>(),
            nb::keep_alive<1, 3>(), nb::keep_alive<1, 4>(), nb::keep_alive<1, 5>(),
            "codecs: by number, 0 for one that is not compiled, 1 constant, 2 raw, 3 huffman, 4 rans. The last three are numbers in the set `side`.");
    nb::class_<DenseTensor>(module, "DenseTensor", "A stored dense tensor and its blocks, for the compiled decoder.")
        .def(
            "__init__",
            [](DenseTensor* self, const DenseTables& tables, std::size_t rows, std::size_t columns, std::size_t element_bytes, std::size_t block_rows, std::size_t block_columns,
               const Array<const std::int64_t, 1>& offsets, const Array<const std::uint32_t, 1>& checksums, const Columns& column_scale, const Columns& column_shape) {
                new (self) DenseTensor(tensor_of(tables, rows, columns, element_bytes, block_rows, block_columns, offsets, checksums, column_scale, column_shape));
            },
            "tables"_a, "rows"_a, "columns"_a, "element_bytes"_a, "block_rows"_a, "block_columns"_a, "offsets"_a, "checksums"_a, "column_scale"_a.none(), "column_shape"_a.none(),
            nb::keep_alive<1, 2>())
        .def("decode", decode_one, "number"_a, "payload"_a, "out"_a.noconvert(),
             "Fill out (rows, bytes of a row) of one block. False: it is damaged, or of a form or codec that is not compiled; out is then undefined.");
    nb::class_<Batch>(module, "DenseBatch", "Blocks of several dense tensors, decoded by as many threads as call `run` at a time.")
        .def(nb::init<>())
        .def("add", add, "tensor"_a, "first"_a, "end"_a, "payload"_a, "out"_a.noconvert(),
             "Add blocks first .. end - 1; payload: theirs, one after another; out: the bytes of the whole tensor.")
        .def("arrange", [](Batch& batch, bool largest_first) { batch.blocks.arrange(largest_first); }, "largest_first"_a,
             "Make the tasks of `run`, the largest first, so that threads end at about the same time, or in order.")
        .def("run", [](Batch& batch) { batch.blocks.run(); }, nb::call_guard<nb::gil_scoped_release>(), "Decode blocks that no other thread has taken until there are none.")
        .def("left", [](const Batch& batch) { return batch.blocks.left(); },
             "(number of the `add`, number of the block) of those that are damaged, or of a form or codec that is not compiled; when every `run` is over.");
}

}  // namespace tersor::bindings
