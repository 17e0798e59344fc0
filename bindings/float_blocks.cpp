// Dense blocks of floats: their histograms and their payloads, many blocks in one call.
#include <nanobind/ndarray.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <bit>
#include <memory>
#include <mutex>
#include <vector>

#include "arrays.hpp"
#include "tersor/float_blocks.hpp"
#include "tersor/float_rows.hpp"
#include "tersor/parallel.hpp"
#include "tersor/plane_bits.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace tersor::bindings {
namespace {

using Jobs = Array<const std::int64_t, 2>;
enum JobField : std::size_t { kArray, kFirstByte, kRows, kColumns, kUnit, kRowLength, kStreams, kLanes, kRoomBegin, kRoomEnd, kJobFields };
enum ResultField : std::size_t { kPayloadBegin, kPayloadEnd, kCrc, kResultFields };

struct Job {
    FloatBlock block;
    FloatRowsOptions options;
    std::size_t room_begin, room_end;
};

// Row `i` of the table of jobs, every number checked.
Job job_at(const Jobs& jobs, std::size_t i, const std::vector<ByteArray>& arrays, std::size_t n_room) {
    const std::int64_t* field = jobs.data() + i * kJobFields;
    for (std::size_t k = 0; k < kJobFields; ++k) require(field[k] >= 0 && field[k] < (std::int64_t{1} << 48), "a field of a block's job");
    const auto at = [&](JobField k) { return static_cast<std::size_t>(field[k]); };
    require(at(kArray) < arrays.size() && at(kUnit) <= 2 && at(kRows) > 0 && at(kColumns) > 0 && at(kRows) <= (std::size_t{1} << 40) / at(kColumns), "a block's array, unit or shape");
    const FloatUnit unit = static_cast<FloatUnit>(at(kUnit));
    const ByteSpan data = span_of(arrays[at(kArray)]);
    const std::size_t n_bytes = at(kRows) * at(kColumns) * size_of(unit);
    require(at(kFirstByte) <= data.size() && n_bytes <= data.size() - at(kFirstByte), "a block ends behind its array");
    require(at(kRowLength) > 0, "row length");
    require_streams(at(kStreams), at(kLanes));
    require(at(kRoomBegin) <= at(kRoomEnd) && at(kRoomEnd) <= n_room, "room of a block's payload");
    return {{data.subspan(at(kFirstByte), n_bytes), at(kRows), at(kColumns), unit},
            {unit == FloatUnit::f16 ? kF16 : kBF16, at(kRowLength), at(kStreams), at(kLanes)},
            at(kRoomBegin),
            at(kRoomEnd)};
}

std::vector<Job> jobs_of(const Jobs& jobs, const std::vector<ByteArray>& arrays, std::size_t n_room) {
    require(jobs.shape(1) == kJobFields, "jobs: one row a block");
    std::vector<Job> result;
    for (std::size_t i = 0; i < jobs.shape(0); ++i) result.push_back(job_at(jobs, i, arrays, n_room));
    return result;
}

// A power of two that leaves about `n_sample` of a block's elements when only so many-th rows are looked at.
std::size_t stride_of(const FloatBlock& block, std::size_t n_sample) {
    return std::bit_floor(std::max<std::size_t>(block.rows * block.columns / n_sample, 1));
}

struct Coder {
    FloatCoder coder;
    const TableSet& tables;
    const AliasTable& class_table;

    WordEncoder words(const FloatRowsOptions& options) const {
        return [this, options](std::span<const std::uint16_t> words, std::size_t front, std::span<std::uint8_t> out) {
            return encode_float_rows(words, coder, options, tables, class_table, front, out);
        };
    }
};

Coder coder_of(int coder, const TableSet& tables, const TableSet& side, std::size_t class_table) {
    require(coder == 0 || coder == 1, "float coder must be 0 (balanced) or 1 (fast)");
    require_float_tables(tables, coder == 0);
    require_side_tables(side);
    return {static_cast<FloatCoder>(coder), tables, table_at(side, class_table)};
}

void add_counts(const FloatCounts& from, FloatCounts& to) {
    for (std::size_t t = 0; t < kFloatTables; ++t) {
        for (std::size_t s = 0; s < 64; ++s) to.balanced[t][s] += from.balanced[t][s];
        for (std::size_t s = 0; s < 16; ++s) to.fast[t][s] += from.fast[t][s];
    }
    for (std::size_t s = 0; s < 64; ++s) to.row_classes[s] += from.row_classes[s];
}

// In as many runs of blocks as there are threads, each with counts of its own.
void count_blocks(const std::vector<Job>& jobs, std::size_t n_sample, std::size_t threads, FloatCounts& sum) {
    const std::size_t n_runs = std::min(threads, jobs.size());
    std::mutex adding;
    in_parallel(n_runs, threads, [&](std::size_t run) {
        const auto counts = std::make_unique<FloatCounts>();
        for (std::size_t i = run; i < jobs.size(); i += n_runs) count_float_block(jobs[i].block, jobs[i].options, stride_of(jobs[i].block, n_sample), *counts);
        const std::lock_guard lock(adding);
        add_counts(*counts, sum);
    });
}

}  // namespace

void bind_float_blocks(nb::module_& module) {
    module.def(
        "count_float_blocks",
        [](const std::vector<ByteArray>& arrays, const Jobs& jobs, std::size_t n_sample, std::size_t threads, const Array<std::uint64_t, 2>& balanced, const Array<std::uint64_t, 2>& fast,
           const Array<std::uint64_t, 1>& row_classes) {
            require(balanced.size() == kFloatTables * 64 && fast.size() == kFloatTables * 16 && row_classes.size() == 64 && n_sample > 0 && threads > 0, "count_float_blocks");
            const std::vector<Job> blocks = jobs_of(jobs, arrays, static_cast<std::size_t>(-1));
            auto counts = std::make_unique<FloatCounts>();
            {
                nb::gil_scoped_release release;
                count_blocks(blocks, n_sample, threads, *counts);
            }
            for (std::size_t i = 0; i < balanced.size(); ++i) balanced.data()[i] += counts->balanced[i / 64][i % 64];
            for (std::size_t i = 0; i < fast.size(); ++i) fast.data()[i] += counts->fast[i / 16][i % 16];
            for (std::size_t i = 0; i < 64; ++i) row_classes.data()[i] += counts->row_classes[i];
        },
        "arrays"_a, "jobs"_a, "n_sample"_a, "threads"_a, "balanced"_a.noconvert(), "fast"_a.noconvert(), "row_classes"_a.noconvert(),
        "Add the histograms of about n_sample elements of each block to the three arrays (16, 64), (16, 16) and (64,).");
    module.def(
        "encode_float_blocks",
        [](const std::vector<ByteArray>& arrays, const Jobs& jobs, int coder, const TableSet& tables, const TableSet& side, std::size_t class_table, int raw_codec, bool narrow_rows,
           std::size_t threads, const Array<std::uint8_t, 1>& out, const Array<std::int64_t, 2>& results) {
            require(raw_codec >= 0 && raw_codec < 256 && threads > 0 && results.shape(0) == jobs.shape(0) && results.shape(1) == kResultFields, "encode_float_blocks");
            const Coder words = coder_of(coder, tables, side, class_table);
            const std::vector<Job> blocks = jobs_of(jobs, arrays, out.size());
            const FloatBlockOptions options{static_cast<std::uint8_t>(raw_codec), narrow_rows};
            nb::gil_scoped_release release;
            in_parallel(blocks.size(), threads, [&](std::size_t i) {
                const Job& job = blocks[i];
                const std::span<std::uint8_t> room = span_of(out).subspan(job.room_begin, job.room_end - job.room_begin);
                const EncodedFloatBlock encoded = encode_float_block(job.block, words.words(job.options), options, room);
                std::int64_t* result = results.data() + i * kResultFields;
                result[kPayloadBegin] = encoded.payload.empty() ? 0 : encoded.payload.data() - out.data();
                result[kPayloadEnd] = result[kPayloadBegin] + static_cast<std::int64_t>(encoded.payload.size());
                result[kCrc] = encoded.crc;
            });
        },
        "arrays"_a, "jobs"_a, "coder"_a, "tables"_a, "side"_a, "class_table"_a, "raw_codec"_a, "narrow_rows"_a, "threads"_a, "out"_a.noconvert(), "results"_a.noconvert(),
        "Put the payload of each block into its room of `out`; results (blocks, 3) says where it begins and ends there, and its CRC-32C. An empty one: try other forms.");
    module.def(
        "plane_bits",
        [](const ByteArray& data, std::size_t offset, std::size_t stride) {
            require(stride > 0 && offset < stride, "plane_bits");
            nb::gil_scoped_release release;
            return plane_bits(span_of(data), offset, stride);
        },
        "data"_a, "offset"_a, "stride"_a, "Bits that every stride-th byte takes under an order-0 code with its table, from a sample.");
    module.def("float_block_room", &float_block_room, "n_bytes"_a, "n_rows"_a, "Bytes of room that the payload of a block may need.");
}

}  // namespace tersor::bindings
