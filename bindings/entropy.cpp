// CRC-32C, entropy tables, float rows, integers and codes.
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>

#include <algorithm>
#include <bit>
#include <memory>
#include <optional>

#include "arrays.hpp"
#include "tersor/alias_table.hpp"
#include "tersor/codes.hpp"
#include "tersor/crc32c.hpp"
#include "tersor/float_rows.hpp"
#include "tersor/integers.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace tersor::bindings {
namespace {

FloatRowsOptions options_of(int unit, std::size_t row_length, std::size_t n_streams, std::size_t lanes) {
    require(row_length > 0, "float rows options");
    require_streams(n_streams, lanes);
    return {format_of(unit), row_length, n_streams, lanes};
}

void bind_tables(nb::module_& module) {
    nb::class_<TableSet>(module, "TableSet", "Entropy tables of one file, docs/format.md 5.3.")
        .def(
            "__init__",
            [](TableSet* self, int symbols, int precision, const nb::bytes& raw_bits, const nb::bytes& frequencies, int first_class, const nb::bytes& class_map) {
                auto set = std::make_unique<TableSet>();
                raise_for(TableSet::build(symbols, precision, span_of(raw_bits), span_of(frequencies), first_class, span_of(class_map), *set), "entropy tables");
                new (self) TableSet(std::move(*set));
            },
            "symbols"_a, "precision"_a, "raw_bits"_a, "frequencies"_a, "first_class"_a, "class_map"_a)
        .def("__len__", [](const TableSet& self) { return self.tables.size(); });
    module.def(
        "pack_frequencies", [](const Array<const std::uint16_t, 2>& frequencies) { return to_bytes(pack_frequencies(span_of(frequencies))); }, "frequencies"_a,
        "The bit stream of a table set's frequencies (tables, symbols).");
    module.def(
        "normalize",
        [](const Array<const std::uint64_t, 1>& counts, int precision, const Array<std::uint16_t, 1>& frequencies) {
            require(counts.size() == frequencies.size() && counts.size() >= 2 && precision >= 1 && precision <= 15, "normalize");
            const auto n_used = static_cast<std::size_t>(std::count_if(counts.data(), counts.data() + counts.size(), [](std::uint64_t c) { return c > 0; }));
            require(n_used > 0 && n_used < (std::size_t{1} << precision), "normalize: number of nonzero counts");
            normalize(span_of(counts), precision, span_of(frequencies));
        },
        "counts"_a, "precision"_a, "frequencies"_a.noconvert(), "Fill frequencies that add up to 2**precision.");
}

void bind_float_rows(nb::module_& module) {
    module.def(
        "count_float_rows",
        [](const Array<const std::uint16_t, 1>& words, int unit, std::size_t row_length, std::size_t stride, const Array<std::uint64_t, 2>& balanced,
           const Array<std::uint64_t, 2>& fast, const Array<std::uint64_t, 1>& row_classes) {
            require(balanced.size() == kFloatTables * 64 && fast.size() == kFloatTables * 16 && row_classes.size() == 64 && stride > 0, "count_float_rows");
            const FloatRowsOptions options = options_of(unit, row_length, 1, 1);
            auto counts = std::make_unique<FloatCounts>();
            {
                nb::gil_scoped_release release;
                count_float_rows(span_of(words), options, stride, *counts);
            }
            for (std::size_t i = 0; i < balanced.size(); ++i) balanced.data()[i] += counts->balanced[i / 64][i % 64];
            for (std::size_t i = 0; i < fast.size(); ++i) fast.data()[i] += counts->fast[i / 16][i % 16];
            for (std::size_t i = 0; i < 64; ++i) row_classes.data()[i] += counts->row_classes[i];
        },
        "words"_a, "unit"_a, "row_length"_a, "stride"_a, "balanced"_a.noconvert(), "fast"_a.noconvert(), "row_classes"_a.noconvert(),
        "Add the histograms of `words` to the three arrays (16, 64), (16, 16) and (64,).");
    module.def(
        "encode_float_rows",
        [](const Array<const std::uint16_t, 1>& words, int unit, int coder, std::size_t row_length, std::size_t n_streams, std::size_t lanes, const TableSet& tables,
           const TableSet& side, std::size_t class_table) {
            const FloatRowsOptions options = options_of(unit, row_length, n_streams, lanes);
            const bool balanced = coder == 0;
            require(coder == 0 || coder == 1, "float coder must be 0 (balanced) or 1 (fast)");
            require_float_tables(tables, balanced);
            require_side_tables(side);
            const AliasTable& classes = table_at(side, class_table);
            Bytes payload;
            {
                nb::gil_scoped_release release;
                payload = encode_float_rows(span_of(words), static_cast<FloatCoder>(coder), options, tables, classes);
            }
            return to_bytes(payload);
        },
        "words"_a, "unit"_a, "coder"_a, "row_length"_a, "n_streams"_a, "lanes"_a, "tables"_a, "side"_a, "class_table"_a, "Float-row payload, docs/format.md 5.5.");
    module.def(
        "decode_float_rows",
        [](const ByteArray& payload, int unit, const TableSet* balanced, const TableSet* fast, const TableSet& side, std::size_t class_table,
           const Array<std::uint16_t, 1>& out) {
            const FloatFormat format = format_of(unit);
            const AliasTable& classes = table_at(side, class_table);
            Status status;
            {
                nb::gil_scoped_release release;
                status = decode_float_rows(span_of(payload), format, balanced, fast, classes, span_of(out));
            }
            raise_for(status, "float rows");
        },
        "payload"_a, "unit"_a, "balanced"_a.none(), "fast"_a.none(), "side"_a, "class_table"_a, "out"_a.noconvert(), "Fill out from a float-row payload. Raises CorruptError.");
}

void bind_integers(nb::module_& module) {
    module.def(
        "encode_integers",
        [](const Array<const std::int32_t, 1>& values, const TableSet& side, std::size_t table) {
            require_side_tables(side);
            Bytes payload;
            encode_integers(span_of(values), table_at(side, table), payload);
            return to_bytes(payload);
        },
        "values"_a, "side"_a, "table"_a, "The bytes of integers(n), docs/format.md 5.4.");
    module.def(
        "decode_integers",
        [](const ByteArray& payload, const TableSet& side, std::size_t table, std::int32_t low, std::int32_t high, const Array<std::int32_t, 1>& out) {
            ByteReader in(span_of(payload));
            raise_for(decode_integers(in, table_at(side, table), low, high, span_of(out)), "integers");
            return payload.size() - in.remaining();
        },
        "payload"_a, "side"_a, "table"_a, "low"_a, "high"_a, "out"_a.noconvert(), "Fill out and return the number of bytes read. Raises CorruptError.");
    module.def(
        "integers_offset", [](const Array<const std::int32_t, 1>& values) { return integers_offset(span_of(values)); }, "values"_a,
        "What encode_integers takes out of all values (their median).");
}

CodeShape shape_of(std::size_t rows, std::size_t columns, const Array<const std::int32_t, 1>& row_class, const Array<const std::int32_t, 1>& column_class,
                   std::size_t trellis_rows) {
    require(row_class.size() == rows && column_class.size() == columns, "classes must match the codes");
    for (const auto* classes : {&row_class, &column_class})
        for (const std::int32_t c : span_of(*classes)) require(c >= kMinClass && c <= kMaxClass, "class out of range");
    return {rows, columns, span_of(row_class), span_of(column_class), trellis_rows};
}

void bind_codes(nb::module_& module) {
    using Codes = Array<const std::int32_t, 2>;
    using Classes = Array<const std::int32_t, 1>;
    module.def(
        "count_codes",
        [](const Codes& codes, const Classes& row_class, const Classes& column_class, std::size_t trellis_rows, int first_class, const Array<std::uint64_t, 3>& counts,
           const Array<std::uint64_t, 2>& outside) {
            const CodeShape shape = shape_of(codes.shape(0), codes.shape(1), row_class, column_class, trellis_rows);
            const std::size_t halves = trellis_rows ? 2 : 1;
            require(counts.shape(0) == halves && outside.shape(0) == halves && counts.shape(1) == outside.shape(1) && counts.shape(1) > 0 && counts.shape(2) % 2 == 1,
                    "count_codes");
            nb::gil_scoped_release release;
            count_codes(span_of(codes), shape, first_class, static_cast<int>(counts.shape(1)), static_cast<int>(counts.shape(2) / 2), span_of(counts), span_of(outside));
        },
        "codes"_a, "row_class"_a, "column_class"_a, "trellis_rows"_a, "first_class"_a, "counts"_a.noconvert(), "outside"_a.noconvert(),
        "Add the histogram of codes by class to counts (halves, classes, 2 range + 1) and outside (halves, classes).");
    module.def(
        "encode_codes",
        [](const Codes& codes, const Classes& row_class, const Classes& column_class, std::size_t trellis_rows, std::size_t n_streams, std::size_t lanes,
           const TableSet& tables) {
            const CodeShape shape = shape_of(codes.shape(0), codes.shape(1), row_class, column_class, trellis_rows);
            require(n_streams >= 1 && n_streams <= 8 && lanes <= 32 && std::has_single_bit(lanes), "streams and lanes");
            require(tables.precision == 12 && !tables.class_map.empty() && tables.class_map.size() % (trellis_rows ? 2 : 1) == 0 && tables.has_escapes(), "grid tables");
            Bytes payload;
            {
                nb::gil_scoped_release release;
                payload = encode_codes(span_of(codes), shape, n_streams, lanes, tables);
            }
            return to_bytes(payload);
        },
        "codes"_a, "row_class"_a, "column_class"_a, "trellis_rows"_a, "n_streams"_a, "lanes"_a, "tables"_a, "Code payload, docs/format.md 5.6.");
    module.def(
        "decode_codes",
        [](const ByteArray& payload, const Classes& row_class, const Classes& column_class, std::size_t trellis_rows, const TableSet& tables,
           const Array<std::int32_t, 2>& out) {
            const CodeShape shape = shape_of(out.shape(0), out.shape(1), row_class, column_class, trellis_rows);
            Status status;
            {
                nb::gil_scoped_release release;
                ByteReader in(span_of(payload));
                status = decode_codes(in, shape, tables, span_of(out));
            }
            raise_for(status, "codes");
        },
        "payload"_a, "row_class"_a, "column_class"_a, "trellis_rows"_a, "tables"_a, "out"_a.noconvert(), "Fill out (rows, columns) from a code payload. Raises CorruptError.");
    module.def(
        "trellis_levels",
        [](const Codes& codes, std::size_t trellis_rows, const Array<float, 2>& levels) {
            require(trellis_rows > 0 && levels.shape(0) == codes.shape(0) && levels.shape(1) == codes.shape(1), "trellis_levels");
            nb::gil_scoped_release release;
            trellis_levels(span_of(codes), codes.shape(0), codes.shape(1), trellis_rows, span_of(levels));
        },
        "codes"_a, "trellis_rows"_a, "levels"_a.noconvert(), "Fill levels, float32, with those of trellis codes.");
}

}  // namespace

void bind_entropy(nb::module_& module) {
    module.def(
        "crc32c",
        [](const ByteArray& data, std::uint32_t previous) {
            nb::gil_scoped_release release;
            return crc32c(span_of(data), previous);
        },
        "data"_a, "previous"_a = 0, "CRC-32C of uint8 data, continued from `previous`.");
    bind_tables(module);
    bind_float_rows(module);
    bind_integers(module);
    bind_codes(module);
}

}  // namespace tersor::bindings
