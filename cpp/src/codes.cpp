#include "tersor/codes.hpp"

#include <algorithm>
#include <bit>
#include <map>
#include <vector>

#include "codes_kernels.hpp"
#include "tersor/integers.hpp"
#include "tersor/isa.hpp"
#include "tersor/rans.hpp"

namespace tersor {
namespace {

// The states of all columns while rows go by. Plain codes stay in state 0.
class Trellis {
public:
    Trellis(std::size_t columns, std::size_t restart_rows) : states_(restart_rows ? columns : 0, 0), restart_rows_(restart_rows) {}
    void begin_row(std::size_t row) {
        if (restart_rows_ && row % restart_rows_ == 0) std::fill(states_.begin(), states_.end(), std::uint8_t{0});
    }
    int half(std::size_t column) const { return restart_rows_ ? states_[column] & 1 : 0; }
    void step(std::size_t column, std::int32_t code) {
        if (restart_rows_) states_[column] = kTrellisNext[states_[column]][code & 1];
    }

    std::uint8_t* states() { return states_.data(); }

private:
    std::vector<std::uint8_t> states_;
    std::size_t restart_rows_;
};

std::size_t first_row(const CodeShape& shape, std::size_t stream, std::size_t n_streams) {
    const std::size_t unit = std::max<std::size_t>(shape.trellis_rows, 1);
    const std::size_t n_units = shape.rows / unit + (shape.rows % unit != 0);
    const std::size_t first_unit = cut(n_units, stream, n_streams);
    return first_unit < n_units ? first_unit * unit : shape.rows;
}

struct StreamParts {
    StreamEncoder<A12> words;
    Bytes raw, escapes;
};

StreamParts encode_rows(std::span<const std::int32_t> codes, const CodeShape& shape, std::size_t begin, std::size_t end, std::size_t lanes, const TableSet& tables) {
    StreamParts parts{StreamEncoder<A12>(lanes), {}, {}};
    BitWriter bits(parts.raw);
    Trellis trellis(shape.columns, shape.trellis_rows);
    std::vector<std::uint8_t> table_number((end - begin) * shape.columns);  // the backward pass cannot know the trellis states
    for (std::size_t row = begin, i = 0; row < end; ++row) {
        trellis.begin_row(row);
        for (std::size_t column = 0; column < shape.columns; ++column, ++i) {
            const std::int32_t code = codes[row * shape.columns + column];
            table_number[i] = tables.number_of_class(shape.row_class[row] + shape.column_class[column], trellis.half(column), shape.trellis_rows > 0);
            trellis.step(column, code);
            const AliasTable& table = tables.tables[table_number[i]];
            bits.put(static_cast<std::uint32_t>(code) & ((1u << table.raw_bits) - 1), table.raw_bits);
            if (symbol_of(code >> table.raw_bits, table) == 0) put_varint(parts.escapes, zigzag(code >> table.raw_bits));
        }
    }
    bits.flush();
    for (std::size_t i = table_number.size(); i-- > 0;) {
        const AliasTable& table = tables.tables[table_number[i]];
        parts.words.put(i, table, symbol_of(codes[begin * shape.columns + i] >> table.raw_bits, table));
    }
    return parts;
}

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

// Where the entries of each column's table begin, for every class that a row has.
class ColumnEntries {
public:
    ColumnEntries(const CodeShape& shape, const TableSet& tables) {
        const bool trellis = shape.trellis_rows > 0;
        for (const std::int32_t row_class : shape.row_class)
            for (int half = 0; half < (trellis ? 2 : 1); ++half) {
                std::vector<std::uint32_t>& entries = by_class_[half][row_class];
                if (entries.empty())
                    for (const std::int32_t column_class : shape.column_class)
                        entries.push_back(static_cast<std::uint32_t>(tables.number_of_class(row_class + column_class, half, trellis)) * static_cast<std::uint32_t>(tables.symbols));
                rows_[half].push_back(entries.data());
            }
    }
    const std::uint32_t* const* rows(int half) const { return rows_[half].data(); }

private:
    std::map<std::int32_t, std::vector<std::uint32_t>> by_class_[2];
    std::vector<const std::uint32_t*> rows_[2];
};

bool has_one_table(const TableSet& tables) {
    return tables.symbols <= 32 && std::all_of(tables.class_map.begin(), tables.class_map.end(), [&](std::uint8_t number) { return number == tables.class_map[0]; });
}

CodeKernels kernels_of([[maybe_unused]] bool one_table, [[maybe_unused]] bool trellis) {
#if defined(__x86_64__)
    if (isa() == Isa::avx512) return codes_decode_avx512(one_table, trellis);
#endif
    return {nullptr, nullptr};
}

// The vector code's share: all groups of 32 columns but those at the end of the payload. False: the payload is corrupt.
bool decode_groups(const CodeShape& shape, const TableSet& tables, std::size_t lanes, const std::uint8_t* payload_end, std::vector<StreamState>& streams) {
    const bool one_table = has_one_table(tables), trellis = shape.trellis_rows > 0;
    const CodeKernels kernels = kernels_of(one_table, trellis);
    if (kernels.one == nullptr || lanes != 32 || shape.columns % 32 != 0 || tables.entries.empty()) return true;
    const ColumnEntries columns = one_table ? ColumnEntries({0, 0, {}, {}, 0}, tables) : ColumnEntries(shape, tables);
    const std::uint64_t* entries = tables.entries.data() + (one_table ? tables.class_map[0] * static_cast<std::size_t>(tables.symbols) : 0);
    const CodeJob job{entries, tables.symbols, tables.tables[0].bucket_shift, shape.columns / 32, shape.trellis_rows, columns.rows(0), columns.rows(1), payload_end};
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

void count_codes(std::span<const std::int32_t> codes, const CodeShape& shape, int first_class, int n_classes, int range, std::span<std::uint64_t> counts,
                 std::span<std::uint64_t> outside) {
    Trellis trellis(shape.columns, shape.trellis_rows);
    const std::size_t width = 2 * static_cast<std::size_t>(range) + 1;
    for (std::size_t row = 0; row < shape.rows; ++row) {
        trellis.begin_row(row);
        for (std::size_t column = 0; column < shape.columns; ++column) {
            const std::int32_t code = codes[row * shape.columns + column];
            const int c = std::clamp(shape.row_class[row] + shape.column_class[column] - first_class, 0, n_classes - 1);
            const auto context = static_cast<std::size_t>(trellis.half(column) * n_classes + c);
            if (code >= -range && code <= range)
                ++counts[context * width + static_cast<std::size_t>(code + range)];
            else
                ++outside[context];
            trellis.step(column, code);
        }
    }
}

Bytes encode_codes(std::span<const std::int32_t> codes, const CodeShape& shape, std::size_t n_streams, std::size_t lanes, const TableSet& tables) {
    std::vector<StreamParts> streams;
    for (std::size_t s = 0; s < n_streams; ++s)
        streams.push_back(encode_rows(codes, shape, first_row(shape, s, n_streams), first_row(shape, s + 1, n_streams), lanes, tables));
    Bytes out;
    out.push_back(static_cast<std::uint8_t>(n_streams));
    out.push_back(static_cast<std::uint8_t>(std::countr_zero(lanes)));
    for (const StreamParts& stream : streams) {
        put_varint(out, stream.words.n_words());
        put_varint(out, stream.escapes.size());
        put_varint(out, stream.raw.size());
    }
    for (const StreamParts& stream : streams) stream.words.append_states(out);
    for (const StreamParts& stream : streams) out.insert(out.end(), stream.raw.begin(), stream.raw.end());
    for (const StreamParts& stream : streams) out.insert(out.end(), stream.escapes.begin(), stream.escapes.end());
    for (const StreamParts& stream : streams) stream.words.append_words(out);
    return out;
}

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

void trellis_levels(std::span<const std::int32_t> codes, std::size_t rows, std::size_t columns, std::size_t trellis_rows, std::span<float> levels) {
    Trellis trellis(columns, trellis_rows);
    for (std::size_t row = 0; row < rows; ++row) {
        trellis.begin_row(row);
        for (std::size_t column = 0; column < columns; ++column) {
            const std::int32_t code = codes[row * columns + column];
            const std::int64_t sign = (code > 0) - (code < 0);
            levels[row * columns + column] = static_cast<float>(2 * std::int64_t{code} - trellis.half(column) * sign);
            trellis.step(column, code);
        }
    }
}

}  // namespace tersor
