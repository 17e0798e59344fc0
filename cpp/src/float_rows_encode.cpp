#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <new>
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
            memory_.reset(new (std::align_val_t{kSlack}) std::uint8_t[n]);
            size_ = n;
        }
        return memory_.get();
    }

private:
    struct Free {
        void operator()(std::uint8_t* memory) const { ::operator delete[](memory, std::align_val_t{kSlack}); }
    };
    std::unique_ptr<std::uint8_t[], Free> memory_;
    std::size_t size_ = 0;
};

struct BlockScratch {
    Scratch symbols, escapes, words;
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

// Symbols of all elements into `scratch.symbols`, raw bits to `raw`, which moves behind them; returns the escapes of each stream.
std::vector<StreamParts> split_block(const EncodeJob& job, const FloatEncodeKernels& kernels, BlockScratch& scratch, std::uint8_t*& raw) {
    const std::size_t n = job.words.size();
    SplitCursor out{scratch.symbols.at_least(n + kSlack), raw, scratch.escapes.at_least(2 * n + kSlack)};
    Bytes raw_tail;
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
    raw = std::copy(raw_tail.begin(), raw_tail.end(), out.raw);
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

// What precedes the raw bits of a payload. Its length is known only when the streams are coded, so it is written last, to end where they begin.
template <class Format>
Bytes head_of(FloatCoder coder, const FloatRowsOptions& options, const RowModel& model, const Bytes& classes, const std::vector<StreamParts>& streams,
              const std::vector<StreamEncoder<Format>>& encoders) {
    Bytes head;
    head.push_back(static_cast<std::uint8_t>(coder));
    head.push_back(static_cast<std::uint8_t>(model.shape));
    put_varint(head, zigzag(model.base));
    put_varint(head, options.row_length);
    head.push_back(static_cast<std::uint8_t>(options.n_streams));
    head.push_back(static_cast<std::uint8_t>(std::countr_zero(options.lanes)));
    head.insert(head.end(), classes.begin(), classes.end());
    for (std::size_t s = 0; s < options.n_streams; ++s) {
        put_varint(head, streams[s].words.size() / sizeof(typename Format::Word) + encoders[s].n_words());
        put_varint(head, streams[s].escapes.size());
    }
    for (const auto& encoder : encoders) encoder.append_states(head);
    return head;
}

constexpr std::size_t kMaxVarint = 10, kFixedHead = 4 + 2 * kMaxVarint;

// Bytes of a head but for the row classes, at most.
template <class Format>
std::size_t head_bound(const FloatRowsOptions& options) {
    return kFixedHead + options.n_streams * (2 * kMaxVarint + options.lanes * static_cast<std::size_t>(Format::state_bytes));
}

// The first place from `place` on that is aligned as vector stores like it.
std::size_t aligned_place(const std::uint8_t* memory, std::size_t place) {
    const auto address = reinterpret_cast<std::uintptr_t>(memory) + place;
    return place + (kSlack - address % kSlack) % kSlack;
}

EncodeJob job_of(std::span<const std::uint16_t> words, FloatCoder coder, const FloatRowsOptions& options, const RowModel& model, const TableSet& tables, bool vector) {
    EncodeJob job{words, split_of(options.format, coder), options.row_length, options.n_streams, options.lanes, {}, {}, vector ? words.size() / options.row_length : 0};
    job.tables.reserve(model.classes.size());
    job.rows.reserve(model.classes.size());
    for (const std::int32_t row_class : model.classes) {
        const AliasTable& table = tables.tables[static_cast<std::size_t>(4 * model.shape + (row_class & 3))];
        job.tables.push_back(&table);
        job.rows.push_back({&table.lanes, table.slot.data(), job.split.addend(model.base, row_class)});
    }
    return job;
}

template <class Format>
std::span<std::uint8_t> encode(std::span<const std::uint16_t> words, FloatCoder coder, const FloatRowsOptions& options, const TableSet& tables, const AliasTable& class_table,
                               std::size_t front, std::span<std::uint8_t> out) {
    thread_local BlockScratch scratch;
    const RowModel model = model_rows(words, options);
    Bytes classes;
    encode_integers(model.classes, class_table, classes);
    const std::size_t raw_bytes = (words.size() * static_cast<std::size_t>(split_of(options.format, coder).raw_bits()) + 7) / 8;
    const std::size_t raw_begin = aligned_place(out.data(), front + head_bound<Format>(options) + classes.size());
    if (out.size() < raw_begin + raw_bytes + kSlack) return {};

    const FloatEncodeKernels kernels = encode_kernels(coder, options.format);
    const bool vector = kernels.split && options.lanes == kGroup && options.row_length % kGroup == 0;
    const EncodeJob job = job_of(words, coder, options, model, tables, vector);
    std::uint8_t* end = out.data() + raw_begin;
    std::vector<StreamParts> streams = split_block(job, kernels, scratch, end);
    const std::vector<StreamEncoder<Format>> encoders = code_block<Format>(job, kernels, scratch, streams);

    const Bytes head = head_of(coder, options, model, classes, streams, encoders);
    std::size_t n_behind = 0;
    for (std::size_t s = 0; s < options.n_streams; ++s) n_behind += streams[s].escapes.size() + streams[s].words.size() + encoders[s].n_words() * sizeof(typename Format::Word);
    if (static_cast<std::size_t>(out.data() + out.size() - end) < n_behind) return {};
    for (const StreamParts& stream : streams) end = std::copy(stream.escapes.begin(), stream.escapes.end(), end);
    for (std::size_t s = 0; s < options.n_streams; ++s) {
        end = std::copy(streams[s].words.begin(), streams[s].words.end(), end);
        Bytes last;
        encoders[s].append_words(last);
        end = std::copy(last.begin(), last.end(), end);
    }
    std::uint8_t* const begin = out.data() + raw_begin - head.size();
    std::copy(head.begin(), head.end(), begin);
    return {begin, end};
}

// How often each balanced field (those from 64 up as 0) comes in some rows. Four banks against the wait for the counter just written.
class FieldHistogram {
public:
    void add(const std::uint8_t* fields, std::size_t n) {
        std::size_t i = 0;
        for (; i + 8 <= n; i += 8) {
            std::uint64_t eight;
            std::memcpy(&eight, fields + i, sizeof eight);
            for (std::size_t k = 0; k < 8; ++k) ++banks_[k & 3][eight >> (8 * k) & 63];
        }
        for (; i < n; ++i) ++banks_[0][fields[i]];
    }
    std::uint64_t operator[](std::size_t field) const {
        std::uint64_t n = 0;
        for (const auto& bank : banks_) n += bank[field];
        return n;
    }

private:
    std::array<std::array<std::uint32_t, 64>, 4> banks_{};
};

// A table in which every field below 64 is a symbol of its own.
const AliasTable& all_symbols() {
    static const AliasTable table = [] {
        AliasTable built;
        AliasTable::build(std::vector<std::uint16_t>(64, 64), A12::precision, built);
        return built;
    }();
    return table;
}

// The balanced fields of one row after another; those from 64 up as 0.
class FieldSplitter {
public:
    explicit FieldSplitter(FloatFormat format) : split_(split_of(format, FloatCoder::balanced)), kernels_(encode_kernels(FloatCoder::balanced, format)) {}

    const std::uint8_t* fields_of(std::span<const std::uint16_t> row, std::uint16_t addend) {
        thread_local struct {
            Scratch symbols, raw, escapes;
        } scratch;
        SplitCursor out{scratch.symbols.at_least(row.size() + kSlack), scratch.raw.at_least(2 * row.size() + kSlack), scratch.escapes.at_least(2 * row.size() + kSlack)};
        std::uint8_t* const fields = out.symbols;
        const std::size_t n = kernels_.split ? row.size() / kGroup * kGroup : 0;
        if (n > 0) kernels_.split(row.data(), n / kGroup, {&all_symbols().lanes, nullptr, addend}, out);
        for (std::size_t i = n; i < row.size(); ++i) {
            const std::uint32_t field = split_.field(static_cast<std::uint16_t>(row[i] - addend));
            fields[i] = static_cast<std::uint8_t>(field < 64 ? field : 0);
        }
        return fields;
    }

private:
    FloatSplit split_;
    FloatEncodeKernels kernels_;
};

}  // namespace

void count_float_rows(std::span<const std::uint16_t> words, const FloatRowsOptions& options, std::size_t stride, FloatCounts& counts) {
    const RowModel model = model_rows(words, options, stride);
    const FloatSplit balanced = split_of(options.format, FloatCoder::balanced);
    const std::int32_t offset = integers_offset(model.classes);
    std::array<FieldHistogram, 4> fields;  // by quarter octave
    FieldSplitter splitter(options.format);
    for (std::size_t k = 0; k < model.classes.size(); ++k) {
        const int h = model.classes[k] - offset + 32;
        counts.row_classes[h > 0 && h < 64 ? static_cast<std::size_t>(h) : 0] += stride;
        const std::size_t begin = k * stride * options.row_length;
        const auto row = words.subspan(begin, std::min(options.row_length, words.size() - begin));
        fields[static_cast<std::size_t>(model.classes[k] & 3)].add(splitter.fields_of(row, balanced.addend(model.base, model.classes[k])), row.size());
    }
    for (std::size_t quarter = 0; quarter < 4; ++quarter)
        for (std::size_t field = 0; field < 64; ++field) {
            const std::size_t table = static_cast<std::size_t>(4 * model.shape) + quarter;
            const std::uint64_t n = fields[quarter][field] * stride;
            counts.balanced[table][field] += n;
            counts.fast[table][field >> 2] += n;  // fast fields are balanced ones without their two mantissa bits
        }
}

std::size_t float_rows_bound(std::size_t n_words, const FloatRowsOptions& options) {
    const std::size_t classes = 8 * kMaxVarint + 10 * rows_of(n_words, options.row_length);  // of each class raw bits, an escape and a word
    return head_bound<A12>(options) + classes + 6 * n_words + 2 * kSlack;  // raw bits, two bytes of escape and a word
}

std::span<std::uint8_t> encode_float_rows(std::span<const std::uint16_t> words, FloatCoder coder, const FloatRowsOptions& options, const TableSet& tables, const AliasTable& class_table,
                                          std::size_t front, std::span<std::uint8_t> out) {
    return coder == FloatCoder::balanced ? encode<A12>(words, coder, options, tables, class_table, front, out) : encode<A8>(words, coder, options, tables, class_table, front, out);
}

Bytes encode_float_rows(std::span<const std::uint16_t> words, FloatCoder coder, const FloatRowsOptions& options, const TableSet& tables, const AliasTable& class_table) {
    const std::size_t bound = float_rows_bound(words.size(), options);
    const std::unique_ptr<std::uint8_t[]> memory(new std::uint8_t[bound]);
    const std::span<std::uint8_t> payload = encode_float_rows(words, coder, options, tables, class_table, 0, {memory.get(), bound});
    return {payload.begin(), payload.end()};
}

}  // namespace tersor
