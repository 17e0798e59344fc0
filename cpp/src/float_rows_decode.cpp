#include <algorithm>
#include <bit>
#include <memory>
#include <vector>

#include "float_rows.hpp"
#include "float_rows_kernels.hpp"
#include "tersor/integers.hpp"
#include "tersor/isa.hpp"

namespace tersor {
namespace {

FloatDecodeKernels kernels_of(FloatCoder coder, FloatFormat format) {
    [[maybe_unused]] const bool fast = coder == FloatCoder::fast;
    switch (isa()) {
#if defined(__x86_64__)
        case Isa::avx512: return float_decode_avx512(fast, format.exponent_bits);
        case Isa::avx2: return float_decode_avx2(fast, format.exponent_bits);
        case Isa::sse41: return float_decode_sse41(fast, format.exponent_bits);
#elif defined(__aarch64__)
        case Isa::neon: return float_decode_neon(fast, format.exponent_bits);
#endif
        default: return {nullptr, nullptr, nullptr};
    }
}

struct Block {
    ByteSpan payload;
    FloatFormat format;
    FloatCoder coder;
    std::size_t row_length, n_streams, lanes;
    std::span<std::uint16_t> words;
    std::vector<const AliasTable*> tables;  // of each row
    std::vector<RowCode> rows;

    std::size_t n_rows() const { return rows.size(); }
    std::size_t first_row(std::size_t stream) const { return cut(n_rows(), stream, n_streams); }
    std::size_t end_of(std::size_t row) const { return std::min((row + 1) * row_length, words.size()); }
};

template <class Format>
struct Stream {
    ByteSpan states, escapes, words;
    const std::uint32_t* escaped = nullptr;  // masks of the groups that vector code decodes
    FloatCursor cursor;
    StreamDecoder<Format> decoder{{}, {}, 0};
};

// The vector code's share of a block: whole rows of whole groups, but for the last bytes of the payload.
template <class Format>
void decode_groups(const Block& block, const FloatDecodeKernels& kernels, std::vector<Stream<Format>>& streams) {
    if (kernels.one == nullptr || block.lanes != kGroup || block.row_length % kGroup != 0) return;
    const FloatDecodeJob job{block.row_length / kGroup, block.payload.data() + block.payload.size()};
    FloatCursor together[4];
    for (std::size_t s = 0, n; s < streams.size(); s += n) {
        const std::size_t left = streams.size() - s;
        n = left >= 4 && kernels.four ? 4 : left >= 2 && kernels.two ? 2 : 1;
        for (std::size_t k = 0; k < n; ++k) together[k] = streams[s + k].cursor;
        if (n > 1) (n == 4 ? kernels.four : kernels.two)(together, job);
        for (std::size_t k = 0; k < n; ++k) {  // where streams are unequal, and near the payload's end
            kernels.one(&together[k], job);
            streams[s + k].cursor = together[k];
        }
    }
}

// Puts the escaped fields of the groups that vector code decoded into place.
template <class Format>
bool patch_groups(const Block& block, std::size_t first_row, const Stream<Format>& stream, ByteReader& escapes) {
    const FloatSplit split = split_of(block.format, block.coder);
    const std::uint16_t field_bits = static_cast<std::uint16_t>(split.field_mask() << split.low_bits());
    const std::size_t groups_per_row = block.row_length / kGroup;
    for (const std::uint32_t* group = stream.escaped; group < stream.cursor.escaped; ++group) {
        const auto number = static_cast<std::size_t>(group - stream.escaped);
        for (std::uint32_t mask = *group; mask != 0; mask &= mask - 1) {
            const std::size_t row = first_row + number / groups_per_row;
            std::uint16_t& word = block.words[first_row * block.row_length + number * kGroup + static_cast<std::size_t>(std::countr_zero(mask))];
            const std::uint16_t addend = block.rows[row].addend;
            std::uint32_t field;
            if (!split.get_escape(escapes, field)) return false;
            word = static_cast<std::uint16_t>((((word - addend) & ~field_bits) | field << split.low_bits()) + addend);
        }
    }
    return true;
}

// What is left of a stream behind its cursor, element by element.
template <class Format>
Status decode_rest(const Block& block, ByteSpan raw, std::size_t first_row, std::size_t end_row, Stream<Format>& stream) {
    const FloatSplit split = split_of(block.format, block.coder);
    const FloatCursor& cursor = stream.cursor;
    ByteReader escapes(stream.escapes);
    if (!patch_groups(block, first_row, stream, escapes)) return Status::corrupt;
    stream.decoder.resume(cursor.states, static_cast<std::size_t>(cursor.words - stream.words.data()));
    const std::size_t begin = first_row * block.row_length;
    std::size_t row = static_cast<std::size_t>(cursor.row - block.rows.data());
    std::size_t i = row * block.row_length + cursor.group * kGroup;
    const std::size_t first_bit = std::min(i, block.words.size()) * static_cast<std::size_t>(split.raw_bits());
    BitReader bits(raw.subspan(first_bit / 8));
    bits.get(static_cast<int>(first_bit % 8));
    for (; row < end_row; ++row) {
        const AliasTable& table = *block.tables[row];
        for (const std::size_t end = block.end_of(row); i < end; ++i) {
            std::uint32_t field = stream.decoder.next(i - begin, table);
            if (field == 0 && !split.get_escape(escapes, field)) return Status::corrupt;
            block.words[i] = static_cast<std::uint16_t>(split.join(field, bits.get(split.raw_bits())) + block.rows[row].addend);
        }
    }
    return stream.decoder.finished() && escapes.at_end() ? Status::ok : Status::corrupt;
}

template <class Format>
Status decode(ByteReader& in, Block& block) {
    std::vector<Stream<Format>> streams(block.n_streams);
    std::vector<std::size_t> n_words, n_escapes;
    for (std::size_t s = 0; s < block.n_streams; ++s) {
        n_words.push_back(in.length(in.remaining()));
        n_escapes.push_back(in.length(in.remaining()));
    }
    for (auto& stream : streams) stream.states = in.bytes(block.lanes * Format::state_bytes);
    const std::size_t raw_bits = static_cast<std::size_t>(split_of(block.format, block.coder).raw_bits());
    const ByteSpan raw = in.bytes((block.words.size() * raw_bits + 7) / 8);
    for (std::size_t s = 0; s < block.n_streams; ++s) streams[s].escapes = in.bytes(n_escapes[s]);
    for (std::size_t s = 0; s < block.n_streams; ++s) streams[s].words = in.bytes(n_words[s] * sizeof(typename Format::Word));
    if (in.failed()) return Status::truncated;
    if (!in.at_end()) return Status::corrupt;
    if (const std::size_t used = block.words.size() * raw_bits % 8; used && raw.back() >> used) return Status::corrupt;

    const auto masks = std::make_unique_for_overwrite<std::uint32_t[]>(block.words.size() / kGroup);
    const std::size_t whole_rows = block.words.size() / block.row_length;  // the last row may be shorter
    for (std::size_t s = 0; s < block.n_streams; ++s) {
        Stream<Format>& stream = streams[s];
        stream.decoder = StreamDecoder<Format>(stream.states, stream.words, block.lanes);
        const std::size_t first = block.first_row(s), begin = std::min(first * block.row_length, block.words.size());
        FloatCursor& cursor = stream.cursor;
        std::copy(stream.decoder.states().begin(), stream.decoder.states().end(), cursor.states);
        cursor.words = stream.words.data();
        cursor.escaped = masks.get() + begin / kGroup;
        stream.escaped = cursor.escaped;
        cursor.raw = raw.data() + begin * raw_bits / 8;
        cursor.out = block.words.data() + begin;
        cursor.row = block.rows.data() + first;
        cursor.end_row = block.rows.data() + std::max(first, std::min(block.first_row(s + 1), whole_rows));
        cursor.group = 0;
    }
    decode_groups(block, kernels_of(block.coder, block.format), streams);
    for (std::size_t s = 0; s < block.n_streams; ++s)
        if (const Status status = decode_rest(block, raw, block.first_row(s), block.first_row(s + 1), streams[s]); status != Status::ok) return status;
    return Status::ok;
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

    std::vector<std::int32_t> classes(rows_of(words.size(), row_length));
    if (const Status status = decode_integers(in, class_table, kMinClass, kMaxClass, classes); status != Status::ok) return status;
    Block block{payload, format, kind, row_length, n_streams, std::size_t{1} << log_lanes, words, {}, {}};
    block.tables.reserve(classes.size());
    block.rows.reserve(classes.size());
    for (const std::int32_t row_class : classes) {
        block.tables.push_back(&tables->tables[4 * shape + static_cast<std::size_t>(row_class & 3)]);
        block.rows.push_back({&block.tables.back()->lanes, nullptr, split.addend(base, row_class)});
    }
    return kind == FloatCoder::balanced ? decode<A12>(in, block) : decode<A8>(in, block);
}

}  // namespace tersor
