#include <algorithm>
#include <vector>

#include "codes_kernels.hpp"
#include "codes_walk.hpp"
#include "tersor/isa.hpp"
#include "tersor/rans.hpp"

namespace tersor {
namespace {

struct Part {
    std::size_t n_words, n_escapes, n_raw;
    ByteSpan states, raw, escapes, words;
};

// A stream between the vector code, which does whole groups of columns, and the rest, element by element.
struct StreamState {
    StreamDecoder<A12> decoder;
    Trellis trellis;
    CodeCursor cursor;
};

// By row: where the entries of each column's table begin.
class RowEntries {
public:
    RowEntries(const CodeShape& shape, const TableSet& tables) : columns_(shape, tables, tables.symbols) {
        for (int half = 0; half < (shape.trellis_rows > 0 ? 2 : 1); ++half)
            for (const std::int32_t row_class : shape.row_class) pointers_[half].push_back(columns_.of(row_class, half));
    }
    const std::uint32_t* const* pointers(int half) const { return pointers_[half].data(); }

private:
    ColumnTables<std::uint32_t> columns_;
    std::vector<const std::uint32_t*> pointers_[2];
};

// The symbols of the one table that all elements have and that fits into registers; 0 if there is none.
int symbols_of_one_table(const TableSet& tables) {
    const bool is_one = std::all_of(tables.class_map.begin(), tables.class_map.end(), [&](std::uint8_t number) { return number == tables.class_map[0]; });
    return is_one && tables.symbols <= kLaneSymbols ? tables.symbols : 0;
}

CodeKernels kernels_of([[maybe_unused]] int symbols, [[maybe_unused]] bool trellis) {
    switch (isa()) {
#if defined(__x86_64__)
        case Isa::avx512: return codes_decode_avx512(symbols, trellis);
        case Isa::avx2: return codes_decode_avx2(symbols, trellis);
        case Isa::sse41: return codes_decode_sse41(symbols, trellis);
#elif defined(__aarch64__)
        case Isa::neon: return codes_decode_neon(symbols, trellis);
#endif
        default: return {nullptr, nullptr};
    }
}

// The vector code's share: all groups of 32 columns but those at the end of the payload. False: the payload is corrupt.
bool decode_groups(const CodeShape& shape, const TableSet& tables, std::size_t lanes, const std::uint8_t* payload_end, std::vector<StreamState>& streams) {
    const int symbols = symbols_of_one_table(tables);
    const bool one_table = symbols > 0, trellis = shape.trellis_rows > 0;
    const CodeKernels kernels = kernels_of(symbols, trellis);
    if (kernels.one == nullptr || lanes != 32 || shape.columns % 32 != 0 || tables.entries.empty()) return true;
    const AliasTable& first = tables.tables[one_table ? tables.class_map[0] : 0];
    const std::uint64_t* entries = tables.entries.data() + (one_table ? tables.class_map[0] * static_cast<std::size_t>(symbols) : 0);
    const RowEntries rows(one_table ? CodeShape{0, 0, {}, {}, 0} : shape, tables);
    const CodeJob job{entries,         one_table ? &first.lanes : nullptr, tables.symbols, first.bucket_shift, shape.columns / 32, shape.trellis_rows, rows.pointers(0),
                      rows.pointers(1), payload_end};
    CodeCursor together[2];
    for (std::size_t s = 0, n; s < streams.size(); s += n) {
        n = streams.size() - s >= 2 ? 2 : 1;
        for (std::size_t k = 0; k < n; ++k) together[k] = streams[s + k].cursor;
        if (n == 2 && !kernels.two(together, job)) return false;
        for (std::size_t k = 0; k < n; ++k) {
            if (!kernels.one(&together[k], job)) return false;
            streams[s + k].cursor = together[k];
        }
    }
    return true;
}

Status decode_rest(const CodeShape& shape, const Part& part, const TableSet& tables, StreamState& stream, std::size_t begin, std::span<std::int32_t> codes) {
    const CodeCursor& cursor = stream.cursor;
    if (cursor.escapes > part.escapes.data() + part.escapes.size()) return Status::corrupt;
    stream.decoder.resume(cursor.states, static_cast<std::size_t>(cursor.words - part.words.data()));
    ByteReader escapes(part.escapes.subspan(static_cast<std::size_t>(cursor.escapes - part.escapes.data())));
    BitReader bits(part.raw.subspan(cursor.raw_bit / 8));
    bits.get(static_cast<int>(cursor.raw_bit % 8));
    std::size_t column = cursor.group * 32;
    for (std::size_t row = cursor.row, i = (row - begin) * shape.columns + column; row < cursor.end_row; ++row, column = 0) {
        if (column == 0) stream.trellis.begin_row(row);
        for (; column < shape.columns; ++column, ++i) {
            const AliasTable& table = tables.tables[tables.number_of_class(shape.row_class[row] + shape.column_class[column], stream.trellis.half(column), shape.trellis_rows > 0)];
            const std::uint32_t symbol = stream.decoder.next(i, table);
            const std::int64_t h = symbol ? std::int64_t{symbol} - table.symbols / 2 : unzigzag(escapes.varint());
            if (h < INT32_MIN || h > INT32_MAX) return Status::corrupt;
            const std::int64_t code = h * (std::int64_t{1} << table.raw_bits) | bits.get(table.raw_bits);
            if (code < INT32_MIN || code > INT32_MAX) return Status::corrupt;
            codes[row * shape.columns + column] = static_cast<std::int32_t>(code);
            stream.trellis.step(column, static_cast<std::int32_t>(code));
        }
    }
    return stream.decoder.finished() && bits.finished() && !escapes.failed() && escapes.at_end() ? Status::ok : Status::corrupt;
}

}  // namespace

Status decode_codes(ByteReader& in, const CodeShape& shape, const TableSet& tables, std::span<std::int32_t> codes) {
    const std::size_t n_streams = in.u8(), log_lanes = in.u8();
    if (in.failed()) return Status::truncated;
    if (n_streams == 0 || n_streams > kMaxStreams || log_lanes > 5) return Status::corrupt;
    const std::size_t halves = shape.trellis_rows > 0 ? 2 : 1;
    if (tables.precision != A12::precision || tables.class_map.size() < halves || tables.class_map.size() % halves) return Status::corrupt;
    const std::size_t lanes = std::size_t{1} << log_lanes;
    std::vector<Part> parts(n_streams);
    for (Part& part : parts) {
        part.n_words = in.length(in.remaining() / 2);
        part.n_escapes = in.length(in.remaining());
        part.n_raw = in.length(in.remaining());
    }
    for (Part& part : parts) part.states = in.bytes(4 * lanes);
    for (Part& part : parts) part.raw = in.bytes(part.n_raw);
    for (Part& part : parts) part.escapes = in.bytes(part.n_escapes);
    for (Part& part : parts) part.words = in.bytes(2 * part.n_words);
    if (in.failed()) return Status::truncated;
    if (!in.at_end()) return Status::corrupt;
    std::vector<StreamState> streams;
    for (std::size_t s = 0; s < n_streams; ++s) {
        const Part& part = parts[s];
        const std::size_t begin = first_row(shape, s, n_streams), end = first_row(shape, s + 1, n_streams);
        StreamState& stream = streams.emplace_back(StreamState{StreamDecoder<A12>(part.states, part.words, lanes), Trellis(shape.columns, shape.trellis_rows), CodeCursor{}});
        std::copy(stream.decoder.states().begin(), stream.decoder.states().end(), stream.cursor.states);
        CodeCursor& cursor = stream.cursor;
        cursor.words = part.words.data(), cursor.escapes = part.escapes.data(), cursor.raw = part.raw.data();
        cursor.raw_bit = 0, cursor.n_raw_bits = 8 * part.raw.size();
        cursor.out = codes.data() + begin * shape.columns;
        cursor.row = begin, cursor.end_row = end, cursor.group = 0;
        cursor.trellis = stream.trellis.states();
    }
    const std::uint8_t* const payload_end = parts.back().words.data() + parts.back().words.size();
    if (!decode_groups(shape, tables, lanes, payload_end, streams)) return Status::corrupt;
    for (std::size_t s = 0; s < n_streams; ++s)
        if (const Status status = decode_rest(shape, parts[s], tables, streams[s], first_row(shape, s, n_streams), codes); status != Status::ok) return status;
    return Status::ok;
}

}  // namespace tersor
