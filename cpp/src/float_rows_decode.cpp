#include <algorithm>
#include <vector>

#include "float_rows.hpp"
#include "tersor/integers.hpp"

namespace tersor {
namespace {

template <class Format>
Status decode(ByteReader& in, FloatSplit split, int shape, std::int64_t base, std::size_t row_length, std::size_t n_streams, std::size_t lanes, const TableSet& tables,
              const AliasTable& class_table, std::span<std::uint16_t> words) {
    const std::size_t n_rows = rows_of(words.size(), row_length);
    std::vector<std::int32_t> classes(n_rows);
    if (const Status status = decode_integers(in, class_table, kMinClass, kMaxClass, classes); status != Status::ok) return status;

    struct Part {
        std::size_t n_words, n_escapes;
        ByteSpan states, escapes, words;
    };
    std::vector<Part> parts(n_streams);
    for (Part& part : parts) {
        part.n_words = in.length(in.remaining());
        part.n_escapes = in.length(in.remaining());
    }
    for (Part& part : parts) part.states = in.bytes(lanes * Format::state_bytes);
    BitReader bits(in.bytes((words.size() * static_cast<std::size_t>(split.raw_bits()) + 7) / 8));
    for (Part& part : parts) part.escapes = in.bytes(part.n_escapes);
    for (Part& part : parts) part.words = in.bytes(part.n_words * sizeof(typename Format::Word));
    if (in.failed()) return Status::truncated;
    if (!in.at_end()) return Status::corrupt;

    for (std::size_t s = 0; s < n_streams; ++s) {
        StreamDecoder<Format> stream(parts[s].states, parts[s].words, lanes);
        ByteReader escapes(parts[s].escapes);
        const std::size_t first_row = cut(n_rows, s, n_streams), end_row = cut(n_rows, s + 1, n_streams), begin = first_row * row_length;
        for (std::size_t row = first_row; row < end_row; ++row) {
            const AliasTable& table = tables.tables[static_cast<std::size_t>(4 * shape + (classes[row] & 3))];
            const std::uint16_t addend = split.addend(base, classes[row]);
            const std::size_t end = std::min((row + 1) * row_length, words.size());
            for (std::size_t i = row * row_length; i < end; ++i) {
                std::uint32_t field = stream.next(i - begin, table);
                if (field == 0 && !split.get_escape(escapes, field)) return Status::corrupt;
                words[i] = static_cast<std::uint16_t>(split.join(field, bits.get(split.raw_bits())) + addend);
            }
        }
        if (!stream.finished() || !escapes.at_end()) return Status::corrupt;
    }
    return bits.finished() ? Status::ok : Status::corrupt;
}

}  // namespace

Status decode_float_rows(ByteSpan payload, FloatFormat format, const TableSet* balanced, const TableSet* fast, const AliasTable& class_table, std::span<std::uint16_t> words) {
    ByteReader in(payload);
    const unsigned coder = in.u8(), shape = in.u8();
    const std::int64_t base = unzigzag(in.varint());
    const std::size_t row_length = in.length(std::size_t{1} << 40);
    const std::size_t n_streams = in.u8(), log_lanes = in.u8();
    if (in.failed()) return Status::truncated;
    if (coder > 1 || shape > 3 || row_length == 0 || n_streams == 0 || n_streams > kMaxStreams || log_lanes > 5) return Status::corrupt;
    if (base < kMinClass || base > kMaxClass) return Status::corrupt;
    const FloatCoder kind = static_cast<FloatCoder>(coder);
    const TableSet* tables = kind == FloatCoder::balanced ? balanced : fast;
    if (tables == nullptr || tables->tables.size() != kFloatTables) return Status::corrupt;
    const FloatSplit split = split_of(format, kind);
    if (tables->symbols != split.symbols || tables->precision != (kind == FloatCoder::balanced ? A12::precision : A8::precision)) return Status::corrupt;
    const std::size_t lanes = std::size_t{1} << log_lanes;
    return kind == FloatCoder::balanced ? decode<A12>(in, split, static_cast<int>(shape), base, row_length, n_streams, lanes, *tables, class_table, words)
                                        : decode<A8>(in, split, static_cast<int>(shape), base, row_length, n_streams, lanes, *tables, class_table, words);
}

}  // namespace tersor
