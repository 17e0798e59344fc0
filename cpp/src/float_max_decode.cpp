#include <algorithm>
#include <bit>
#include <memory>
#include <optional>
#include <vector>

#include "float_max.hpp"
#include "float_max_kernels.hpp"
#include "tersor/integers.hpp"
#include "tersor/isa.hpp"
#include "tersor/rans.hpp"

namespace tersor {
namespace {

MaxDecodeKernels kernels_of([[maybe_unused]] FloatFormat format) {
    switch (isa()) {
#if defined(__x86_64__)
        case Isa::avx512: return max_decode_avx512(format.exponent_bits);
        case Isa::avx2: return max_decode_avx2(format.exponent_bits);
        case Isa::sse41: return max_decode_sse41(format.exponent_bits);
#elif defined(__aarch64__)
        case Isa::neon: return max_decode_neon(format.exponent_bits);
#endif
        default: return {nullptr, nullptr};
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

// One stream: its parts of the payload, the rows that it codes, and how far vector code has come.
struct Stream {
    const Block* block = nullptr;
    std::size_t n_words = 0, n_escapes = 0;
    ByteSpan states, escapes, words;
    std::size_t first_row = 0, end_row = 0, row = 0;
    StreamDecoder<A12> decoder{{}, {}, 0};
    MaxDecodeCursor cursor{};
    const std::uint32_t* escaped = nullptr;  // masks of the groups that vector code decoded

    // Whether a whole row can be decoded without coming too near to the payload's end.
    bool has_safe_row() const {
        const std::uint8_t* payload_end = block->payload.data() + block->payload.size();
        const auto left = [&](const std::uint8_t* at) { return static_cast<std::size_t>(payload_end - at); };
        return row < end_row && left(cursor.words) >= 2 * block->columns + kMaxSlack && left(cursor.raw) >= block->raw_bits_of(1) / 8 + kMaxSlack;
    }
};

// Puts the escaped signs and fields of the rows that vector code decoded into place.
bool patch_rows(const Block& block, const Stream& stream, ByteReader& escapes) {
    const MaxSplit& split = block.split;
    const std::uint32_t* group = stream.escaped;
    for (std::size_t i = stream.first_row; i < stream.row; ++i) {
        const MaxRow row = block.row(i);
        for (std::size_t first = 0; first < block.columns; first += kMaxGroup, ++group)
            for (std::uint32_t mask = *group; mask != 0; mask &= mask - 1) {
                const std::size_t j = first + static_cast<std::size_t>(std::countr_zero(mask));
                std::uint16_t& word = block.words[i * block.columns + j];
                const auto addend = static_cast<std::uint16_t>(row.addends[j] + row.addend);
                std::uint32_t sign, x;
                if (!split.get_escape(escapes, sign, x)) return false;
                word = static_cast<std::uint16_t>(split.join(sign, x, split.raw(static_cast<std::uint16_t>(word - addend))) + addend);
            }
    }
    return true;
}

// What is left of a stream behind the vector code, element by element.
Status decode_rest(const Block& block, Stream& stream) {
    ByteReader escapes(stream.escapes);
    if (!patch_rows(block, stream, escapes)) return Status::corrupt;
    stream.decoder.resume(stream.cursor.states, static_cast<std::size_t>(stream.cursor.words - stream.words.data()));
    const std::size_t first_bit = block.raw_bits_of(stream.row);
    BitReader bits(block.raw.subspan(first_bit / 8));
    bits.get(static_cast<int>(first_bit % 8));
    std::size_t n = (stream.row - stream.first_row) * block.columns;
    for (std::size_t row = stream.row; row < stream.end_row; ++row) {
        const MaxRow model = block.row(row);
        std::uint16_t* out = block.words.data() + row * block.columns;
        for (std::size_t j = 0; j < block.columns; ++j, ++n) {
            const std::uint32_t symbol = stream.decoder.next(n, block.tables.tables[model.first_entry[j] / kMaxSymbols]);
            std::uint32_t sign = symbol >> 6, x = symbol & 63;
            if (symbol == 0 && !block.split.get_escape(escapes, sign, x)) return Status::corrupt;
            out[j] = static_cast<std::uint16_t>(block.split.join(sign, x, bits.get(block.split.raw_bits())) + model.addends[j] + model.addend);
        }
    }
    return stream.decoder.finished() && escapes.at_end() ? Status::ok : Status::corrupt;
}

// A block taken apart: `prepare`, then vector code on its streams, then `finish`. Stays where it is.
class Decoding {
public:
    Status prepare(const MaxPayload& from);
    std::span<Stream> streams() { return streams_; }
    Status finish() {
        for (Stream& stream : streams_)
            if (const Status status = decode_rest(*block_, stream); status != Status::ok) return status;
        return Status::ok;
    }

private:
    Status take_streams(ByteReader& in, const MaxPayload& from, std::size_t lanes, ByteSpan& raw);
    void place_cursors();

    std::optional<Block> block_;
    std::vector<Stream> streams_;
    std::unique_ptr<std::uint32_t[]> masks_;
};

Status Decoding::prepare(const MaxPayload& from) {
    ByteReader in(from.payload);
    const unsigned coder = in.u8(), shape = in.u8();
    const std::int64_t base = unzigzag(in.varint());
    const std::size_t n_streams = in.u8(), log_lanes = in.u8();
    if (in.failed()) return Status::truncated;
    if (coder != 2 || shape > 3 || n_streams == 0 || n_streams > kMaxStreams || log_lanes > 5 || base < kMinClass || base > kMaxClass) return Status::corrupt;
    const TableSet& tables = *from.tables;
    if (tables.tables.size() != kMaxTableCount || tables.symbols != static_cast<int>(kMaxSymbols) || tables.precision != A12::precision) return Status::corrupt;
    std::vector<std::int32_t> row_class(from.rows), row_profile(from.rows, 0);
    if (const Status status = decode_integers(in, *from.side.row_class, kMinClass, kMaxClass, row_class); status != Status::ok) return status;
    if (from.profiles == 2)
        if (const Status status = decode_integers(in, *from.side.row_profile, 0, 1, row_profile); status != Status::ok) return status;
    streams_.resize(n_streams);
    const std::size_t lanes = std::size_t{1} << log_lanes;
    ByteSpan raw;
    if (const Status status = take_streams(in, from, lanes, raw); status != Status::ok) return status;
    const MaxSplit split{from.format};
    block_.emplace(Block{from.payload, raw, split, lanes, from.columns, base, tables,
                         ColumnTables(split, static_cast<int>(shape), from.profiles, from.columns, from.column_scale, from.column_shape), std::move(row_class),
                         std::move(row_profile), from.words});
    place_cursors();
    return Status::ok;
}

Status Decoding::take_streams(ByteReader& in, const MaxPayload& from, std::size_t lanes, ByteSpan& raw) {
    for (Stream& stream : streams_) {
        stream.n_words = in.length(in.remaining() / 2);
        stream.n_escapes = in.length(in.remaining());
    }
    const std::size_t n_raw_bits = from.words.size() * static_cast<std::size_t>(MaxSplit{from.format}.raw_bits());
    for (Stream& stream : streams_) stream.states = in.bytes(lanes * A12::state_bytes);
    raw = in.bytes((n_raw_bits + 7) / 8);
    for (Stream& stream : streams_) stream.escapes = in.bytes(stream.n_escapes);
    for (Stream& stream : streams_) stream.words = in.bytes(stream.n_words * sizeof(A12::Word));
    if (in.failed()) return Status::truncated;
    if (!in.at_end()) return Status::corrupt;
    if (const std::size_t used = n_raw_bits % 8; used != 0 && raw.back() >> used != 0) return Status::corrupt;
    return Status::ok;
}

void Decoding::place_cursors() {
    const Block& block = *block_;
    const std::size_t rows = block.row_class.size();
    masks_ = std::make_unique_for_overwrite<std::uint32_t[]>(block.words.size() / kMaxGroup);
    for (std::size_t s = 0; s < streams_.size(); ++s) {
        Stream& stream = streams_[s];
        stream.block = &block;
        stream.first_row = stream.row = cut(rows, s, streams_.size());
        stream.end_row = cut(rows, s + 1, streams_.size());
        stream.decoder = StreamDecoder<A12>(stream.states, stream.words, block.lanes);
        MaxDecodeCursor& cursor = stream.cursor;
        std::copy(stream.decoder.states().begin(), stream.decoder.states().end(), cursor.states);
        cursor.words = stream.words.data();
        cursor.raw = block.raw.data() + block.raw_bits_of(stream.first_row) / 8;
        cursor.out = block.words.data() + stream.first_row * block.columns;
        cursor.escaped = masks_.get() + stream.first_row * (block.columns / kMaxGroup);
        stream.escaped = cursor.escaped;
    }
}

// Decodes rows of some streams in lockstep until one has no rows left or comes near its payload's end. Their blocks have the same tables and columns.
void decode_together(MaxDecodeKernel kernel, std::span<Stream* const> streams) {
    const MaxDecodeJob job{streams[0]->block->tables.max_entries.data(), streams[0]->block->columns / kMaxGroup};
    MaxDecodeCursor cursors[2];
    MaxRow rows[2];
    for (std::size_t k = 0; k < streams.size(); ++k) cursors[k] = streams[k]->cursor;
    while (std::all_of(streams.begin(), streams.end(), [](const Stream* stream) { return stream->has_safe_row(); })) {
        for (std::size_t k = 0; k < streams.size(); ++k) rows[k] = streams[k]->block->row(streams[k]->row);
        kernel(cursors, rows, job);
        for (std::size_t k = 0; k < streams.size(); ++k) {
            streams[k]->cursor = cursors[k];
            ++streams[k]->row;
        }
    }
}

bool suits_vectors(const Block& block) {
    // Tables that were not made by TableSet::build have no entries.
    return block.lanes == kMaxGroup && block.columns % kMaxGroup == 0 && block.tables.max_entries.size() == kMaxTableCount * kMaxSymbols;
}

bool are_alike(const Block& a, const Block& b) { return a.columns == b.columns && &a.tables == &b.tables && a.split.format.exponent_bits == b.split.format.exponent_bits; }

// The vector code's share of some blocks.
void decode_groups(std::vector<Stream*> streams) {
    std::erase_if(streams, [](const Stream* stream) { return !suits_vectors(*stream->block); });
    for (std::size_t s = 0; s < streams.size(); ++s) {
        const MaxDecodeKernels kernels = kernels_of(streams[s]->block->split.format);
        if (kernels.one == nullptr) return;
        if (kernels.two != nullptr && s + 1 < streams.size() && are_alike(*streams[s]->block, *streams[s + 1]->block)) {
            decode_together(kernels.two, std::span(streams).subspan(s, 2));
            decode_together(kernels.one, std::span(streams).subspan(s + 1, 1));
            decode_together(kernels.one, std::span(streams).subspan(s++, 1));
        } else {
            decode_together(kernels.one, std::span(streams).subspan(s, 1));
        }
    }
}

}  // namespace

Status decode_float_max(const MaxPayload& payload) {
    Decoding decoding;
    if (const Status status = decoding.prepare(payload); status != Status::ok) return status;
    std::vector<Stream*> streams;
    for (Stream& stream : decoding.streams()) streams.push_back(&stream);
    decode_groups(std::move(streams));
    return decoding.finish();
}

std::array<Status, 2> decode_two_float_max(const std::array<MaxPayload, 2>& payloads) {
    std::array<Decoding, 2> decodings;
    std::array<Status, 2> statuses;
    std::vector<Stream*> streams;
    for (std::size_t i = 0; i < 2; ++i) statuses[i] = decodings[i].prepare(payloads[i]);
    // Their streams by turns, so that neighbours are of different blocks, which are equally long more often.
    const auto count = [&](std::size_t i) { return statuses[i] == Status::ok ? decodings[i].streams().size() : 0; };
    for (std::size_t s = 0; s < std::max(count(0), count(1)); ++s)
        for (std::size_t i = 0; i < 2; ++i)
            if (s < count(i)) streams.push_back(&decodings[i].streams()[s]);
    decode_groups(std::move(streams));
    for (std::size_t i = 0; i < 2; ++i)
        if (statuses[i] == Status::ok) statuses[i] = decodings[i].finish();
    return statuses;
}

}  // namespace tersor
