#include <algorithm>
#include <bit>
#include <memory>
#include <vector>

#include "float_rows.hpp"
#include "float_rows_model.hpp"
#include "tersor/integers.hpp"

namespace tersor {
namespace {

// Memory that is not cleared and that a thread keeps for its next block: fresh pages would cost as much as the coding.
class Scratch {
public:
    std::uint8_t* at_least(std::size_t n) {
        if (n > size_) {
            memory_.reset(new std::uint8_t[n]);
            size_ = n;
        }
        return memory_.get();
    }

private:
    std::unique_ptr<std::uint8_t[]> memory_;
    std::size_t size_ = 0;
};

struct BlockScratch {
    Scratch symbols, raw, escapes, words;
};

struct EncodeJob {
    std::span<const std::uint16_t> words;
    FloatSplit split;
    std::size_t row_length, n_streams, lanes;
    std::vector<const AliasTable*> tables;  // of each row
    std::vector<RowCode> rows;
    std::size_t vector_rows;  // the first so many are left to the kernels

    std::size_t first_row(std::size_t stream) const { return cut(rows.size(), stream, n_streams); }
    std::size_t begin_of(std::size_t row) const { return std::min(row * row_length, words.size()); }
    std::size_t vector_end(std::size_t stream) const { return std::clamp(vector_rows, first_row(stream), first_row(stream + 1)); }
};

struct StreamParts {
    ByteSpan escapes, words;  // words: what the kernels wrote, first in the stream
};

// Symbols, raw bits and escapes of the rows [first, end), element by element.
void split_rows(const EncodeJob& job, std::size_t first, std::size_t end, BitWriter& bits, SplitCursor& out) {
    Bytes escapes;
    for (std::size_t row = first; row < end; ++row)
        for (std::size_t i = job.begin_of(row); i < job.begin_of(row + 1); ++i) {
            const auto u = static_cast<std::uint16_t>(job.words[i] - job.rows[row].addend);
            const std::uint32_t field = job.split.field(u), symbol = job.split.symbol(field, *job.tables[row]);
            *out.symbols++ = static_cast<std::uint8_t>(symbol);
            bits.put(job.split.raw(u), job.split.raw_bits());
            if (symbol == 0) job.split.put_escape(field, escapes);
        }
    out.escapes = std::copy(escapes.begin(), escapes.end(), out.escapes);
}

// Symbols of all elements into `scratch.symbols`; returns the escapes of each stream, and the raw bits in `raw`.
std::vector<StreamParts> split_block(const EncodeJob& job, const FloatEncodeKernels& kernels, BlockScratch& scratch, ByteSpan& raw, Bytes& raw_tail) {
    const std::size_t n = job.words.size();
    std::uint8_t* const raw_begin = scratch.raw.at_least(n * static_cast<std::size_t>(job.split.raw_bits()) / 8 + kSlack);
    SplitCursor out{scratch.symbols.at_least(n + kSlack), raw_begin, scratch.escapes.at_least(2 * n + kSlack)};
    BitWriter bits(raw_tail);
    std::vector<StreamParts> streams(job.n_streams);
    for (std::size_t s = 0; s < job.n_streams; ++s) {
        const std::uint8_t* const escapes = out.escapes;
        const std::size_t middle = job.vector_end(s);
        for (std::size_t row = job.first_row(s); row < middle; ++row) kernels.split(job.words.data() + job.begin_of(row), job.row_length / kGroup, job.rows[row], out);
        split_rows(job, middle, job.first_row(s + 1), bits, out);
        streams[s].escapes = {escapes, out.escapes};
    }
    bits.flush();
    raw = {raw_begin, out.raw};
    return streams;
}

// Codes the symbols: each stream's tail element by element, then its whole rows by kernels, several streams in lockstep.
template <class Format>
std::vector<StreamEncoder<Format>> code_block(const EncodeJob& job, const FloatEncodeKernels& kernels, BlockScratch& scratch, std::vector<StreamParts>& streams) {
    const std::uint8_t* const symbols = scratch.symbols.at_least(0);
    std::vector<StreamEncoder<Format>> encoders(job.n_streams, StreamEncoder<Format>(job.lanes));
    std::vector<EncodeCursor> cursors(job.n_streams);
    std::vector<std::uint8_t*> word_ends(job.n_streams);
    std::uint8_t* words = scratch.words.at_least((job.words.size() + kSlack * job.n_streams) * sizeof(typename Format::Word));
    for (std::size_t s = 0; s < job.n_streams; ++s) {
        const std::size_t first = job.first_row(s), middle = job.vector_end(s), begin = job.begin_of(first);
        for (std::size_t row = job.first_row(s + 1); row-- > middle;)
            for (std::size_t i = job.begin_of(row + 1); i-- > job.begin_of(row);) encoders[s].put(i - begin, *job.tables[row], symbols[i]);
        words += (kSlack + job.begin_of(middle) - begin) * sizeof(typename Format::Word);
        EncodeCursor& cursor = cursors[s];
        std::copy(encoders[s].states().begin(), encoders[s].states().end(), cursor.states);
        cursor.symbols = symbols + job.begin_of(middle);
        cursor.words = word_ends[s] = words;
        cursor.first_row = job.rows.data() + first;
        cursor.row = job.rows.data() + middle;
    }
    for (std::size_t s = 0, n; s < job.n_streams && job.vector_rows > 0; s += n) {
        const std::size_t left = job.n_streams - s, groups = job.row_length / kGroup;
        n = left >= 4 && kernels.code_four ? 4 : left >= 2 ? 2 : 1;
        if (n == 4) kernels.code_four(&cursors[s], groups);
        if (n == 2) kernels.code_two(&cursors[s], groups);
        for (std::size_t k = s; k < s + n; ++k) kernels.code_one(&cursors[k], groups);
    }
    for (std::size_t s = 0; s < job.n_streams; ++s) {
        std::copy(cursors[s].states, cursors[s].states + kMaxLanes, encoders[s].states().begin());
        streams[s].words = {cursors[s].words, word_ends[s]};
    }
    return encoders;
}

void append(Bytes& out, ByteSpan bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); }

template <class Format>
Bytes encode(std::span<const std::uint16_t> words, FloatCoder coder, const FloatRowsOptions& options, const TableSet& tables, const AliasTable& class_table) {
    thread_local BlockScratch scratch;
    const RowModel model = model_rows(words, options);
    const FloatEncodeKernels kernels = encode_kernels(coder, options.format);
    const bool vector = kernels.split && options.lanes == kGroup && options.row_length % kGroup == 0;
    EncodeJob job{words, split_of(options.format, coder), options.row_length, options.n_streams, options.lanes, {}, {}, vector ? words.size() / options.row_length : 0};
    for (const std::int32_t row_class : model.classes) {
        const AliasTable& table = tables.tables[static_cast<std::size_t>(4 * model.shape + (row_class & 3))];
        job.tables.push_back(&table);
        job.rows.push_back({&table.lanes, table.slot.data(), job.split.addend(model.base, row_class)});
    }
    ByteSpan raw;
    Bytes raw_tail;
    std::vector<StreamParts> streams = split_block(job, kernels, scratch, raw, raw_tail);
    const std::vector<StreamEncoder<Format>> encoders = code_block<Format>(job, kernels, scratch, streams);

    Bytes out;
    out.reserve(raw.size() + raw_tail.size() + words.size() / 2 + 2 * model.classes.size() + 1024);
    out.push_back(static_cast<std::uint8_t>(coder));
    out.push_back(static_cast<std::uint8_t>(model.shape));
    put_varint(out, zigzag(model.base));
    put_varint(out, options.row_length);
    out.push_back(static_cast<std::uint8_t>(options.n_streams));
    out.push_back(static_cast<std::uint8_t>(std::countr_zero(options.lanes)));
    encode_integers(model.classes, class_table, out);
    for (std::size_t s = 0; s < options.n_streams; ++s) {
        put_varint(out, streams[s].words.size() / sizeof(typename Format::Word) + encoders[s].n_words());
        put_varint(out, streams[s].escapes.size());
    }
    for (const auto& encoder : encoders) encoder.append_states(out);
    append(out, raw);
    append(out, raw_tail);
    for (const StreamParts& stream : streams) append(out, stream.escapes);
    for (std::size_t s = 0; s < options.n_streams; ++s) {
        append(out, streams[s].words);
        encoders[s].append_words(out);
    }
    return out;
}

// Fields of a row, four banks against the wait for the counter just written.
class FieldHistogram {
public:
    void add(std::span<const std::uint16_t> words, std::uint16_t addend, FloatSplit split) {
        for (std::size_t i = 0; i < words.size(); ++i) {
            const std::uint32_t field = split.field(static_cast<std::uint16_t>(words[i] - addend));
            ++banks_[i & 3][field < 64 ? field : 0];
        }
    }
    std::uint64_t operator[](std::size_t field) const {
        std::uint64_t n = 0;
        for (const auto& bank : banks_) n += bank[field];
        return n;
    }

private:
    std::array<std::array<std::uint32_t, 64>, 4> banks_{};
};

}  // namespace

void count_float_rows(std::span<const std::uint16_t> words, const FloatRowsOptions& options, std::size_t stride, FloatCounts& counts) {
    const RowModel model = model_rows(words, options);
    const FloatSplit balanced = split_of(options.format, FloatCoder::balanced);
    const std::int32_t offset = integers_offset(model.classes);
    std::array<FieldHistogram, 4> fields;  // by quarter octave
    for (std::size_t row = 0; row < model.classes.size(); ++row) {
        const int h = model.classes[row] - offset + 32;
        ++counts.row_classes[h > 0 && h < 64 ? static_cast<std::size_t>(h) : 0];
        if (row % stride) continue;
        const std::size_t begin = row * options.row_length;
        fields[static_cast<std::size_t>(model.classes[row] & 3)].add(words.subspan(begin, std::min(options.row_length, words.size() - begin)),
                                                                      balanced.addend(model.base, model.classes[row]), balanced);
    }
    for (std::size_t quarter = 0; quarter < 4; ++quarter)
        for (std::size_t field = 0; field < 64; ++field) {
            const std::size_t table = static_cast<std::size_t>(4 * model.shape) + quarter;
            const std::uint64_t n = fields[quarter][field] * stride;
            counts.balanced[table][field] += n;
            counts.fast[table][field >> 2] += n;  // fast fields are balanced ones without their two mantissa bits
        }
}

Bytes encode_float_rows(std::span<const std::uint16_t> words, FloatCoder coder, const FloatRowsOptions& options, const TableSet& tables, const AliasTable& class_table) {
    return coder == FloatCoder::balanced ? encode<A12>(words, coder, options, tables, class_table) : encode<A8>(words, coder, options, tables, class_table);
}

}  // namespace tersor
