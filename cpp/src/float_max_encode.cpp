#include <array>
#include <bit>
#include <cstring>
#include <memory>

#include "float_max.hpp"
#include "float_max_encode_kernels.hpp"
#include "tersor/integers.hpp"
#include "tersor/isa.hpp"
#include "tersor/little_endian.hpp"
#include "tersor/rans.hpp"

namespace tersor {
namespace {

constexpr std::size_t kSlots = std::size_t{1} << A12::precision;
constexpr std::uint32_t kFirstField = 4, kFields = 64;  // of the fields that a symbol can hold

MaxEncodeKernels kernels_of([[maybe_unused]] FloatFormat format) {
#if defined(__x86_64__)
    if (isa() == Isa::avx512) return max_encode_avx512(format.exponent_bits);
#endif
    return {nullptr, nullptr};
}

// The run of fields whose two symbols, of either sign, have frequencies, that covers most of a table: first | length << 8.
std::uint16_t coded_run(const AliasTable& table) {
    std::uint32_t best_first = kFirstField, best_n = 0, best_sum = 0;
    for (std::uint32_t first = kFirstField; first < kFields;) {
        std::uint32_t n = 0, sum = 0;
        for (; first + n < kFields && table.frequency[first + n] > 0 && table.frequency[kFields + first + n] > 0; ++n) sum += table.frequency[first + n] + table.frequency[kFields + first + n];
        if (sum > best_sum) best_first = first, best_n = n, best_sum = sum;
        first += n + 1;
    }
    return static_cast<std::uint16_t>(best_first | best_n << 8);
}

// One stream: its states and words as the format has them.
struct CodedStream {
    Bytes states;
    std::span<const std::uint16_t> words;
    std::size_t n_escapes;
};

// Memory that a thread keeps for its next block.
struct BlockScratch {
    std::vector<std::uint16_t> entries, coded;
    std::vector<std::uint8_t> escapes;
    std::vector<std::uint16_t> words;
};

// How the words of a block are split, and where to.
struct SplitJob {
    MaxSplit split;
    const FloatBlockModel& model;
    ColumnTables columns;
    const MaxCodeTables& codes;
    MaxSplitKernel kernel;
};

// The coded runs of all columns, for each quarter of an octave and profile, as ColumnTables has them.
void fill_coded(const SplitJob& job, std::vector<std::uint16_t>& coded) {
    coded.resize(4 * job.model.profiles * job.model.columns);
    for (int quarter = 0; quarter < 4; ++quarter) {
        const std::uint16_t* first = job.columns.first_entries(quarter, 0);
        std::uint16_t* to = coded.data() + static_cast<std::size_t>(quarter) * job.model.profiles * job.model.columns;
        for (std::size_t j = 0; j < job.model.profiles * job.model.columns; ++j) to[j] = job.codes.coded[first[j] / kMaxSymbols];
    }
}

// Splits elements from `j` on; the raw bits go to `bits`.
void split_rest(const SplitJob& job, const MaxSplitRow& in, std::size_t j, BitWriter& bits, MaxSplitCursor& out) {
    const int raw_bits = job.split.raw_bits();
    for (; j < in.n; ++j) {
        const auto u = static_cast<std::uint16_t>(in.words[j] - in.row.addends[j] - in.row.addend);
        const std::uint32_t x = job.split.field(u);
        bits.put(in.words[j] & ((1u << raw_bits) - 1), raw_bits);  // what is subtracted leaves them alone
        if (x - (in.coded[j] & 255u) < static_cast<std::uint32_t>(in.coded[j] >> 8)) {
            *out.entries++ = static_cast<std::uint16_t>(in.row.first_entry[j] + (static_cast<std::uint32_t>(u >> 15) << 6 | x));
            continue;
        }
        *out.entries++ = in.row.first_entry[j];
        if (job.split.format.exponent_bits == 8)
            put_max_escape<8>(u, out.escapes);
        else
            put_max_escape<5>(u, out.escapes);
    }
}

// Splits a whole block: entries and escapes to where `out` points, raw bits likewise. Returns the number of escape bytes of each stream.
std::vector<std::size_t> split_block(const SplitJob& job, const std::uint16_t* words, std::size_t n_streams, const std::vector<std::uint16_t>& coded, MaxSplitCursor& out) {
    const FloatBlockModel& model = job.model;
    const std::size_t n_rows = model.row_class.size();
    const bool vector = job.kernel != nullptr && model.columns % kMaxGroup == 0;
    Bytes raw;
    BitWriter bits(raw);
    std::vector<std::size_t> n_escapes;
    for (std::size_t s = 0; s < n_streams; ++s) {
        const std::uint8_t* const before = out.escapes;
        for (std::size_t i = cut(n_rows, s, n_streams); i < cut(n_rows, s + 1, n_streams); ++i) {
            const std::size_t place = (static_cast<std::size_t>(model.row_class[i] & 3) * model.profiles + static_cast<std::size_t>(model.row_profile[i])) * model.columns;
            const MaxSplitRow row{words + i * model.columns, job.columns.row(job.split, model.base, model.row_class[i], model.row_profile[i]), coded.data() + place, model.columns};
            if (vector)
                job.kernel(row, out);
            else
                split_rest(job, row, 0, bits, out);
        }
        n_escapes.push_back(static_cast<std::size_t>(out.escapes - before));
    }
    bits.flush();
    out.raw = std::copy(raw.begin(), raw.end(), out.raw);
    return n_escapes;
}

// How a state takes on the symbols of a stream, from the last to the first; words go below `word`, which moves down.
// The quotient of a state x by a frequency f below 2^12 is `x * multiplier >> 44`: exact, and the product below 2^64, because a state
// that has been made ready is below f * 2^20.
void code_portably(std::span<const std::uint16_t> entries, std::size_t lanes, const MaxCodeTables& codes, std::uint32_t* states, std::uint16_t*& word) {
    for (std::size_t i = entries.size(); i-- > 0;) {
        const std::uint16_t entry = entries[i];
        const std::uint32_t f = codes.frequency_first[entry] >> 12, first = codes.frequency_first[entry] & 4095;
        std::uint32_t x = states[i & (lanes - 1)];
        const unsigned full = x >= std::uint64_t{f} << 20;  // no branch: it would be mispredicted every other time
        word[-1] = static_cast<std::uint16_t>(x);  // overwritten unless it counts
        word -= full;
        x >>= full << 4;
        const auto quotient = static_cast<std::uint32_t>(x * codes.multiplier[entry] >> 44);
        states[i & (lanes - 1)] = quotient << 12 | codes.slots[entry / kMaxSymbols * kSlots + first + x - quotient * f];
    }
}

// Codes the entries of a stream; its words end at `end`.
CodedStream code_stream(std::span<const std::uint16_t> entries, std::size_t lanes, const MaxCodeTables& codes, MaxCodeKernel kernel, std::uint16_t* end) {
    MaxEncodeCursor cursor;
    std::fill(std::begin(cursor.states), std::end(cursor.states), A12::lower);
    const std::size_t n_whole = kernel != nullptr && lanes == kMaxGroup ? entries.size() / kMaxGroup * kMaxGroup : 0;
    std::uint16_t* word = end;
    code_portably(entries.subspan(n_whole), lanes, codes, cursor.states, word);
    if (n_whole > 0) {
        cursor.entries = entries.data() + n_whole;
        cursor.words = reinterpret_cast<std::uint8_t*>(word);
        kernel(cursor, n_whole / kMaxGroup, {codes.frequency_first.data(), codes.slots.data()});
        word = reinterpret_cast<std::uint16_t*>(cursor.words);
    }
    CodedStream stream{{}, {word, end}, 0};
    for (std::size_t lane = 0; lane < lanes; ++lane) put_little_endian(stream.states, cursor.states[lane]);
    return stream;
}

std::uint8_t* put_words(std::span<const std::uint16_t> words, std::uint8_t* to) {
    if constexpr (std::endian::native == std::endian::little) {
        std::memcpy(to, words.data(), words.size_bytes());
        return to + words.size_bytes();
    }
    for (const std::uint16_t word : words) {
        *to++ = static_cast<std::uint8_t>(word);
        *to++ = static_cast<std::uint8_t>(word >> 8);
    }
    return to;
}

Bytes classes_of(const FloatBlockModel& model, const MaxSideTables& side) {
    Bytes classes;
    encode_integers(model.row_class, *side.row_class, classes);
    if (model.profiles == 2) encode_integers(model.row_profile, *side.row_profile, classes);
    return classes;
}

// What precedes the raw bits of a payload.
Bytes head_of(const FloatBlockModel& model, std::size_t lanes, const Bytes& classes, const std::vector<CodedStream>& streams) {
    Bytes head{2, static_cast<std::uint8_t>(model.shape)};
    put_varint(head, zigzag(model.base));
    head.push_back(static_cast<std::uint8_t>(streams.size()));
    head.push_back(static_cast<std::uint8_t>(std::countr_zero(lanes)));
    head.insert(head.end(), classes.begin(), classes.end());
    for (const CodedStream& stream : streams) {
        put_varint(head, stream.words.size());
        put_varint(head, stream.n_escapes);
    }
    for (const CodedStream& stream : streams) head.insert(head.end(), stream.states.begin(), stream.states.end());
    return head;
}

std::size_t head_bound(std::size_t n_streams, std::size_t lanes) { return 16 + n_streams * (20 + lanes * static_cast<std::size_t>(A12::state_bytes)); }

}  // namespace

MaxCodeTables::MaxCodeTables(const TableSet& tables) : frequency_first(kMaxTableCount * kMaxSymbols), multiplier(frequency_first.size()), slots(kMaxTableCount * kSlots + kSlotPadding) {
    for (std::size_t t = 0; t < kMaxTableCount; ++t) {
        const AliasTable& table = tables.tables[t];
        coded.push_back(coded_run(table));
        std::copy(table.slot.begin(), table.slot.begin() + kSlots, slots.begin() + static_cast<std::ptrdiff_t>(t * kSlots));
        for (std::size_t s = 0; s < kMaxSymbols; ++s) {
            const std::uint32_t f = table.frequency[s];
            frequency_first[t * kMaxSymbols + s] = f << 12 | (f > 0 ? table.first[s] : 0);
            multiplier[t * kMaxSymbols + s] = f > 0 ? (std::uint64_t{1} << 44) / f + 1 : 0;
        }
    }
}

std::size_t float_max_bound(std::size_t n_words, std::size_t n_rows, std::size_t n_streams, std::size_t lanes) {
    return head_bound(n_streams, lanes) + 160 + 20 * n_rows + 6 * n_words + 2 * kMaxSlack;  // of each row's classes raw bits, escapes and words; raw bits, an escape and a word
}

std::span<std::uint8_t> encode_float_max(std::span<const std::uint16_t> words, FloatFormat format, const FloatBlockModel& model, std::size_t n_streams, std::size_t lanes,
                                         const MaxCodeTables& codes, const MaxSideTables& side, std::size_t front, std::span<std::uint8_t> out) {
    thread_local BlockScratch scratch;
    const MaxEncodeKernels kernels = kernels_of(format);
    const MaxSplit split{format};
    const SplitJob job{split, model, ColumnTables(split, model.shape, model.profiles, model.columns, model.column_scale, model.column_shape), codes, kernels.split};
    const Bytes classes = classes_of(model, side);
    const std::size_t raw_begin = front + head_bound(n_streams, lanes) + classes.size(), raw_bytes = (words.size() * static_cast<std::size_t>(split.raw_bits()) + 7) / 8;
    if (out.size() < raw_begin + raw_bytes + kMaxSlack) return {};

    fill_coded(job, scratch.coded);
    if (scratch.entries.size() < words.size() + kMaxSlack) scratch.entries.resize(words.size() + kMaxSlack), scratch.escapes.resize(2 * words.size() + kMaxSlack), scratch.words.resize(words.size() + kMaxSlack * kMaxStreams);
    MaxSplitCursor cursor{scratch.entries.data(), out.data() + raw_begin, scratch.escapes.data()};
    const std::vector<std::size_t> n_escapes = split_block(job, words.data(), n_streams, scratch.coded, cursor);

    std::vector<CodedStream> streams;
    std::size_t n_behind = static_cast<std::size_t>(cursor.escapes - scratch.escapes.data());
    for (std::size_t s = 0, place = 0; s < n_streams; ++s) {
        const std::size_t n_rows = model.row_class.size(), first = cut(n_rows, s, n_streams) * model.columns, end = cut(n_rows, s + 1, n_streams) * model.columns;
        place += kMaxSlack + end - first;
        streams.push_back(code_stream(std::span(scratch.entries).subspan(first, end - first), lanes, codes, kernels.code, scratch.words.data() + place));
        streams.back().n_escapes = n_escapes[s];
        n_behind += 2 * streams.back().words.size();
    }
    std::uint8_t* end = cursor.raw;
    if (static_cast<std::size_t>(out.data() + out.size() - end) < n_behind) return {};
    end = std::copy(scratch.escapes.data(), cursor.escapes, end);
    for (const CodedStream& stream : streams) end = put_words(stream.words, end);
    const Bytes head = head_of(model, lanes, classes, streams);
    std::uint8_t* const begin = out.data() + raw_begin - head.size();
    std::copy(head.begin(), head.end(), begin);
    return {begin, end};
}

Bytes encode_float_max(std::span<const std::uint16_t> words, FloatFormat format, const FloatBlockModel& model, std::size_t n_streams, std::size_t lanes, const TableSet& tables,
                       const MaxSideTables& side) {
    const std::size_t bound = float_max_bound(words.size(), model.row_class.size(), n_streams, lanes);
    const std::unique_ptr<std::uint8_t[]> memory(new std::uint8_t[bound]);
    const std::span<std::uint8_t> payload = encode_float_max(words, format, model, n_streams, lanes, MaxCodeTables(tables), side, 0, {memory.get(), bound});
    return {payload.begin(), payload.end()};
}

}  // namespace tersor
