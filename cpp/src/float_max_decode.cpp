#include <vector>

#include "float_max.hpp"
#include "float_max_kernels.hpp"
#include "tersor/integers.hpp"
#include "tersor/isa.hpp"
#include "tersor/rans.hpp"

namespace tersor {
namespace {

MaxDecodeKernel kernel_of([[maybe_unused]] FloatFormat format) {
    switch (isa()) {
#if defined(__x86_64__)
        case Isa::avx512: return max_decode_avx512(format.exponent_bits);
        case Isa::avx2: return max_decode_avx2(format.exponent_bits);
#endif
        default: return nullptr;
    }
}

struct Block {
    ByteSpan payload, raw;
    MaxSplit split;
    std::size_t lanes, columns;
    std::int64_t base;
    const TableSet& tables;
    ColumnTables model;
    std::vector<std::int32_t> row_class, row_profile;
    std::span<std::uint16_t> words;

    MaxRow row(std::size_t i) const {
        return model.row(split, base, row_class[i], row_profile[i]);
    }
    std::size_t raw_bits_of(std::size_t rows) const { return rows * columns * static_cast<std::size_t>(split.raw_bits()); }
};

struct Part {
    std::size_t n_words, n_escapes;
    ByteSpan states, escapes, words;
};

// The vector code's share of a stream: rows of whole groups, but for those near the payload's end. Moves `row`, the stream and the escapes on.
bool decode_groups(const Block& block, const Part& part, std::size_t end_row, std::size_t& row, StreamDecoder<A12>& stream, ByteReader& escapes) {
    const MaxDecodeKernel kernel = kernel_of(block.split.format);
    if (kernel == nullptr || block.lanes != kMaxGroup || block.columns % kMaxGroup != 0) return true;
    if (block.tables.max_entries.size() != kMaxTableCount * kMaxSymbols) return true;  // tables that were not made by TableSet::build
    const MaxDecodeJob job{block.tables.max_entries.data(), block.columns / kMaxGroup, block.payload.data() + block.payload.size()};
    MaxDecodeCursor cursor;
    std::copy(stream.states().begin(), stream.states().end(), cursor.states);
    cursor.words = part.words.data(), cursor.escapes = part.escapes.data();
    cursor.raw = block.raw.data() + block.raw_bits_of(row) / 8;
    cursor.out = block.words.data() + row * block.columns;
    const std::size_t word_bytes = 2 * block.columns + kMaxSlack, raw_bytes = block.raw_bits_of(1) / 8 + kMaxSlack;
    const auto left = [&](const std::uint8_t* at) { return static_cast<std::size_t>(job.payload_end - at); };
    for (; row < end_row && left(cursor.words) >= word_bytes && left(cursor.raw) >= raw_bytes; ++row)
        if (!kernel(cursor, block.row(row), job)) return false;
    if (cursor.escapes > part.escapes.data() + part.escapes.size()) return false;
    stream.resume(cursor.states, static_cast<std::size_t>(cursor.words - part.words.data()));
    escapes = ByteReader(part.escapes.subspan(static_cast<std::size_t>(cursor.escapes - part.escapes.data())));
    return true;
}

Status decode_stream(const Block& block, const Part& part, std::size_t first_row, std::size_t end_row) {
    StreamDecoder<A12> stream(part.states, part.words, block.lanes);
    ByteReader escapes(part.escapes);
    std::size_t row = first_row;
    if (!decode_groups(block, part, end_row, row, stream, escapes)) return Status::corrupt;
    const std::size_t first_bit = block.raw_bits_of(row);
    BitReader bits(block.raw.subspan(first_bit / 8));
    bits.get(static_cast<int>(first_bit % 8));
    for (std::size_t n = (row - first_row) * block.columns; row < end_row; ++row) {
        const MaxRow model = block.row(row);
        std::uint16_t* out = block.words.data() + row * block.columns;
        for (std::size_t j = 0; j < block.columns; ++j, ++n) {
            const std::uint32_t symbol = stream.next(n, block.tables.tables[model.first_entry[j] / kMaxSymbols]);
            std::uint32_t sign = symbol >> 6, x = symbol & 63;
            if (symbol == 0 && !block.split.get_escape(escapes, sign, x)) return Status::corrupt;
            out[j] = static_cast<std::uint16_t>(block.split.join(sign, x, bits.get(block.split.raw_bits())) + model.addends[j] + model.addend);
        }
    }
    return stream.finished() && escapes.at_end() ? Status::ok : Status::corrupt;
}

}  // namespace

Status decode_float_max(ByteSpan payload, FloatFormat format, std::size_t rows, std::size_t columns, std::size_t profiles, std::span<const std::int32_t> column_scale,
                        std::span<const std::int32_t> column_shape, const TableSet& tables, const MaxSideTables& side, std::span<std::uint16_t> words) {
    ByteReader in(payload);
    const unsigned coder = in.u8(), shape = in.u8();
    const std::int64_t base = unzigzag(in.varint());
    const std::size_t n_streams = in.u8(), log_lanes = in.u8();
    if (in.failed()) return Status::truncated;
    if (coder != 2 || shape > 3 || n_streams == 0 || n_streams > kMaxStreams || log_lanes > 5 || base < kMinClass || base > kMaxClass) return Status::corrupt;
    if (tables.tables.size() != kMaxTableCount || tables.symbols != static_cast<int>(kMaxSymbols) || tables.precision != A12::precision) return Status::corrupt;
    const std::size_t lanes = std::size_t{1} << log_lanes;
    std::vector<std::int32_t> row_class(rows), row_profile(rows, 0);
    if (const Status status = decode_integers(in, *side.row_class, kMinClass, kMaxClass, row_class); status != Status::ok) return status;
    if (profiles == 2)
        if (const Status status = decode_integers(in, *side.row_profile, 0, 1, row_profile); status != Status::ok) return status;

    std::vector<Part> parts(n_streams);
    for (Part& part : parts) {
        part.n_words = in.length(in.remaining() / 2);
        part.n_escapes = in.length(in.remaining());
    }
    const MaxSplit split{format};
    const std::size_t n_raw_bits = words.size() * static_cast<std::size_t>(split.raw_bits());
    for (Part& part : parts) part.states = in.bytes(lanes * A12::state_bytes);
    const ByteSpan raw = in.bytes((n_raw_bits + 7) / 8);
    for (Part& part : parts) part.escapes = in.bytes(part.n_escapes);
    for (Part& part : parts) part.words = in.bytes(part.n_words * sizeof(A12::Word));
    if (in.failed()) return Status::truncated;
    if (!in.at_end()) return Status::corrupt;
    if (const std::size_t used = n_raw_bits % 8; used != 0 && raw.back() >> used != 0) return Status::corrupt;

    const Block block{payload, raw,    split,
                      lanes,   columns, base,
                      tables,  ColumnTables(split, static_cast<int>(shape), profiles, columns, column_scale, column_shape),
                      std::move(row_class), std::move(row_profile), words};
    for (std::size_t s = 0; s < n_streams; ++s)
        if (const Status status = decode_stream(block, parts[s], cut(rows, s, n_streams), cut(rows, s + 1, n_streams)); status != Status::ok) return status;
    return Status::ok;
}

}  // namespace tersor
