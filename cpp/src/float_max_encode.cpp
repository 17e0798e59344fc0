#include <array>
#include <bit>

#include "float_max.hpp"
#include "tersor/integers.hpp"
#include "tersor/little_endian.hpp"
#include "tersor/rans.hpp"

namespace tersor {
namespace {

// How a state takes a symbol on. The quotient of a state x by a frequency f below 2^12 is `x * multiplier >> 44`: exact, and the product
// below 2^64, because a state that has been made ready is below f * 2^20.
struct Step {
    std::uint64_t multiplier;
    const std::uint16_t* slot;  // of the symbol's first offset
    std::uint32_t frequency;
};

// The steps of all symbols of the tables of one shape class, and which words cannot be coded with them.
class Steps {
public:
    Steps(const TableSet& tables, int shape) : first_(static_cast<std::size_t>(shape) * kTables * kMaxSymbols), steps_(kTables * kMaxSymbols), escapes_(steps_.size()) {
        for (std::size_t k = 0; k < steps_.size(); ++k) {
            const AliasTable& table = tables.tables[(first_ + k) / kMaxSymbols];
            const std::size_t symbol = k % kMaxSymbols;
            const std::uint32_t frequency = table.frequency[symbol];
            escapes_[k] = symbol == 0 || frequency == 0;
            if (frequency > 0) steps_[k] = {(std::uint64_t{1} << 44) / frequency + 1, table.slot.data() + table.first[symbol], frequency};
        }
    }
    bool escapes(std::uint16_t entry) const { return escapes_[entry - first_]; }
    const Step& of(std::uint16_t entry) const { return steps_[entry - first_]; }

private:
    static constexpr std::size_t kTables = kSkews * 4;
    std::size_t first_;
    std::vector<Step> steps_;
    std::vector<std::uint8_t> escapes_;
};

// One stream: its states and words as the format has them.
struct CodedStream {
    Bytes states, words, escapes;
};

// Overwrites the entries with the words: there is at most one word for each, and both are taken from the end.
void code(std::span<std::uint16_t> entries, std::size_t lanes, const Steps& steps, CodedStream& out) {
    std::array<std::uint32_t, kMaxLanes> states;
    states.fill(A12::lower);
    std::size_t first = entries.size();
    for (std::size_t i = entries.size(); i-- > 0;) {
        const Step& step = steps.of(entries[i]);
        std::uint32_t x = states[i & (lanes - 1)];
        const unsigned full = x >= std::uint64_t{step.frequency} << 20;  // no branch: it would be mispredicted every other time
        entries[first - 1] = static_cast<std::uint16_t>(x);  // overwritten unless it counts
        first -= full;
        x >>= full << 4;
        const auto quotient = static_cast<std::uint32_t>(x * step.multiplier >> 44);
        states[i & (lanes - 1)] = quotient << 12 | step.slot[x - quotient * step.frequency];
    }
    for (std::size_t lane = 0; lane < lanes; ++lane) put_little_endian(out.states, states[lane]);
    out.words.resize(2 * (entries.size() - first));
    for (std::size_t k = 0; first < entries.size(); ++first, k += 2) {
        out.words[k] = static_cast<std::uint8_t>(entries[first]);
        out.words[k + 1] = static_cast<std::uint8_t>(entries[first] >> 8);
    }
}

// The low `n_bits` bits (at most 8) of every word. What is subtracted from the words leaves them alone.
Bytes low_bits(std::span<const std::uint16_t> words, int n_bits) {
    const std::uint64_t mask = (1u << n_bits) - 1;
    const std::size_t n_bytes = words.size() / 8 * static_cast<std::size_t>(n_bits);
    Bytes out(n_bytes + 8);
    std::uint8_t* to = out.data();
    std::size_t i = 0;
    for (; i + 8 <= words.size(); i += 8, to += n_bits) {
        std::uint64_t packed = 0;
        for (int k = 0; k < 8; ++k) packed |= (words[i + static_cast<std::size_t>(k)] & mask) << (k * n_bits);
        store_u64(to, packed);
    }
    out.resize(n_bytes);
    BitWriter rest(out);
    for (; i < words.size(); ++i) rest.put(static_cast<std::uint32_t>(words[i] & mask), n_bits);
    rest.flush();
    return out;
}

// The entries of a stream's words, those that cannot be coded as escapes.
std::vector<std::uint16_t> entries_of(const std::uint16_t* words, std::size_t first_row, std::size_t end_row, MaxSplit split, const FloatBlockModel& model,
                                      const ColumnTables& columns, const Steps& steps, Bytes& escapes) {
    std::vector<std::uint16_t> entries((end_row - first_row) * model.columns);
    for (std::size_t i = first_row; i < end_row; ++i) {
        const MaxRow row = columns.row(split, model.base, model.row_class[i], model.row_profile[i]);
        const std::uint16_t* from = words + i * model.columns;
        const std::span to = std::span(entries).subspan((i - first_row) * model.columns, model.columns);
        split.entries(from, row, to);
        for (std::size_t j = 0; j < to.size(); ++j)
            if (steps.escapes(to[j])) {
                to[j] = row.first_entry[j];
                split.put_escape(static_cast<std::uint16_t>(from[j] - row.addends[j] - row.addend), escapes);
            }
    }
    return entries;
}

void append(Bytes& out, const Bytes& part) { out.insert(out.end(), part.begin(), part.end()); }

}  // namespace

Bytes encode_float_max(std::span<const std::uint16_t> words, FloatFormat format, const FloatBlockModel& model, std::size_t n_streams, std::size_t lanes, const TableSet& tables,
                       const MaxSideTables& side) {
    const MaxSplit split{format};
    const ColumnTables columns(split, model.shape, model.profiles, model.columns, model.column_scale, model.column_shape);
    const Steps steps(tables, model.shape);
    std::vector<CodedStream> streams(n_streams);
    for (std::size_t s = 0; s < n_streams; ++s) {
        const std::size_t n_rows = model.row_class.size();
        auto entries = entries_of(words.data(), cut(n_rows, s, n_streams), cut(n_rows, s + 1, n_streams), split, model, columns, steps, streams[s].escapes);
        code(entries, lanes, steps, streams[s]);
    }

    Bytes out;
    out.push_back(2);
    out.push_back(static_cast<std::uint8_t>(model.shape));
    put_varint(out, zigzag(model.base));
    out.push_back(static_cast<std::uint8_t>(n_streams));
    out.push_back(static_cast<std::uint8_t>(std::countr_zero(lanes)));
    encode_integers(model.row_class, *side.row_class, out);
    if (model.profiles == 2) encode_integers(model.row_profile, *side.row_profile, out);
    for (const CodedStream& stream : streams) {
        put_varint(out, stream.words.size() / sizeof(A12::Word));
        put_varint(out, stream.escapes.size());
    }
    for (const CodedStream& stream : streams) append(out, stream.states);
    append(out, low_bits(words, split.raw_bits()));
    for (const CodedStream& stream : streams) append(out, stream.escapes);
    for (const CodedStream& stream : streams) append(out, stream.words);
    return out;
}

}  // namespace tersor
