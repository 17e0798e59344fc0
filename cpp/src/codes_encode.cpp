#include <array>
#include <bit>
#include <memory>
#include <span>

#include "codes_walk.hpp"

namespace tersor {
namespace {

constexpr int kReciprocalShift = 44;

// What coding a symbol needs of its table.
struct SymbolCode {
    // ceil(2^44 / frequency). With x < frequency << 20, as a state is when it is divided, (x * reciprocal) >> 44 is x / frequency, exactly, and nothing
    // overflows: the excess of the product is below x * frequency < 2^44, and the product below 2^64.
    std::uint64_t reciprocal;
    const std::uint16_t* slot;  // by offset
    std::uint32_t frequency;
};

// The tables of a set as coding wants them: element numbers are table * symbols + symbol.
struct CodingTables {
    std::size_t symbols;
    int log_symbols;
    const std::uint8_t* raw_bits;  // [table]
    const std::uint8_t* coded;     // [element]: its symbol, or 0 if the table lacks it
    const SymbolCode* codes;       // [element]

    // The symbol that stands for h, or the escape 0: as symbol_of, for a table by number.
    std::uint8_t symbol(std::size_t table, std::int32_t h) const {
        const std::size_t s = static_cast<std::uint32_t>(h) + static_cast<std::uint32_t>(symbols / 2);
        return s < symbols ? coded[(table << log_symbols) + s] : std::uint8_t{0};
    }
};

class CodingTableOwner {
public:
    explicit CodingTableOwner(const TableSet& set) : symbols_(static_cast<std::size_t>(set.symbols)) {
        for (const AliasTable& table : set.tables) {
            raw_bits_.push_back(static_cast<std::uint8_t>(table.raw_bits));
            for (std::size_t s = 0; s < symbols_; ++s) {
                const std::uint32_t f = table.frequency[s];
                coded_.push_back(static_cast<std::uint8_t>(f > 0 ? s : 0));
                codes_.push_back({f > 0 ? ((std::uint64_t{1} << kReciprocalShift) + f - 1) / f : 0, table.slot.data() + table.first[s], f});
            }
        }
    }
    CodingTables tables() const { return {symbols_, std::countr_zero(symbols_), raw_bits_.data(), coded_.data(), codes_.data()}; }

private:
    std::size_t symbols_;
    std::vector<std::uint8_t> raw_bits_, coded_;
    std::vector<SymbolCode> codes_;
};

struct StreamParts {
    std::array<std::uint32_t, kMaxLanes> states;
    std::span<const A12::Word> words;
    Bytes raw, escapes;
};

// Memory for one stream after another: a stream of n elements has at most n words.
class Scratch {
public:
    explicit Scratch(std::size_t n_elements)
        : elements_(std::make_unique_for_overwrite<std::uint16_t[]>(n_elements)), words_(std::make_unique_for_overwrite<A12::Word[]>(n_elements + kMaxStreams)), free_(words_.get()) {}
    std::uint16_t* elements() { return elements_.get(); }
    // Room for the words of n elements and one in front of them.
    std::span<A12::Word> take(std::size_t n) {
        A12::Word* const begin = free_;
        free_ += n + 1;
        return {begin, n + 1};
    }

private:
    std::unique_ptr<std::uint16_t[]> elements_;
    std::unique_ptr<A12::Word[]> words_;
    A12::Word* free_;
};

struct Job {
    std::span<const std::int32_t> codes;
    const CodeShape& shape;
    CodingTables tables;
    const ColumnTables<std::uint8_t>& columns;
};

// The raw bits and escapes of a stream on their way.
struct SideWriter {
    BitWriter bits;
    Bytes& escapes;

    void put(std::int32_t code, int raw_bits, std::uint8_t symbol) {
        bits.put(static_cast<std::uint32_t>(code) & ((1u << raw_bits) - 1), raw_bits);
        if (symbol == 0) put_varint(escapes, zigzag(code >> raw_bits));
    }
};

// numbers: the table of each column.
void split_row(std::span<const std::int32_t> codes, const std::uint8_t* numbers, CodingTables tables, std::uint16_t* elements, SideWriter& side) {
    for (std::size_t column = 0; column < codes.size(); ++column) {
        const std::int32_t code = codes[column];
        const std::size_t table = numbers[column];
        const int raw_bits = tables.raw_bits[table];
        const std::uint8_t symbol = tables.symbol(table, code >> raw_bits);
        elements[column] = static_cast<std::uint16_t>((table << tables.log_symbols) + symbol);
        if (symbol == 0 || raw_bits != 0) side.put(code, raw_bits, symbol);
    }
}

// The tables that a row's elements have in the columns' states, which move on. even, odd: for states of either parity.
void choose_tables(std::span<const std::int32_t> codes, const std::uint8_t* even, const std::uint8_t* odd, std::uint8_t* states, std::uint8_t* numbers) {
    for (std::size_t column = 0; column < codes.size(); ++column) {
        const std::uint8_t state = states[column], if_odd = static_cast<std::uint8_t>(0 - (state & 1));
        numbers[column] = static_cast<std::uint8_t>(even[column] ^ ((even[column] ^ odd[column]) & if_odd));
        states[column] = next_trellis_state<std::uint8_t>(state, static_cast<std::uint8_t>(codes[column] & 1));
    }
}

// First pass, forward: the element numbers of a stream, which the backward pass cannot know, its raw bits and escapes.
void split_rows(const Job& job, std::size_t begin, std::size_t end, std::uint16_t* elements, StreamParts& parts) {
    SideWriter side{BitWriter(parts.raw), parts.escapes};
    Trellis trellis(job.shape.columns, job.shape.trellis_rows);
    const std::size_t columns = job.shape.columns;
    std::vector<std::uint8_t> chosen(columns);
    for (std::size_t row = begin; row < end; ++row, elements += columns) {
        const auto codes = job.codes.subspan(row * columns, columns);
        const std::uint8_t* numbers = job.columns.of(job.shape.row_class[row], 0);
        if (job.shape.trellis_rows > 0) {
            trellis.begin_row(row);
            choose_tables(codes, numbers, job.columns.of(job.shape.row_class[row], 1), trellis.states(), chosen.data());
            numbers = chosen.data();
        }
        split_row(codes, numbers, job.tables, elements, side);
    }
    side.bits.flush();
}

// Second pass, from last to first element: words go down to the front of `room`, whose first is never used.
void code_elements(std::span<const std::uint16_t> elements, std::size_t lanes, const SymbolCode* codes, std::span<A12::Word> room, StreamParts& parts) {
    parts.states.fill(A12::lower);
    A12::Word* at = room.data() + room.size();
    for (std::size_t i = elements.size(); i-- > 0;) {
        const SymbolCode& code = codes[elements[i]];
        std::uint32_t& state = parts.states[i & (lanes - 1)];
        const bool full = state >= code.frequency << (2 * A12::word_bits - A12::precision);
        at[-1] = static_cast<A12::Word>(state);  // counts only if the state is full: no branch, which nobody could predict
        at -= full;
        const std::uint32_t x = full ? state >> A12::word_bits : state;
        const auto quotient = static_cast<std::uint32_t>((x * code.reciprocal) >> kReciprocalShift);
        state = quotient << A12::precision | code.slot[x - quotient * code.frequency];
    }
    parts.words = {at, room.data() + room.size()};
}

Bytes joined(const std::vector<StreamParts>& streams, std::size_t lanes) {
    Bytes out;
    out.push_back(static_cast<std::uint8_t>(streams.size()));
    out.push_back(static_cast<std::uint8_t>(std::countr_zero(lanes)));
    for (const StreamParts& stream : streams) {
        put_varint(out, stream.words.size());
        put_varint(out, stream.escapes.size());
        put_varint(out, stream.raw.size());
    }
    for (const StreamParts& stream : streams)
        for (std::size_t lane = 0; lane < lanes; ++lane) put_little_endian(out, stream.states[lane]);
    for (const StreamParts& stream : streams) out.insert(out.end(), stream.raw.begin(), stream.raw.end());
    for (const StreamParts& stream : streams) out.insert(out.end(), stream.escapes.begin(), stream.escapes.end());
    for (const StreamParts& stream : streams)
        for (const A12::Word word : stream.words) put_little_endian(out, word);
    return out;
}

}  // namespace

Bytes encode_codes(std::span<const std::int32_t> codes, const CodeShape& shape, std::size_t n_streams, std::size_t lanes, const TableSet& tables) {
    const ColumnTables<std::uint8_t> columns(shape, tables, 1);
    const CodingTableOwner coding(tables);
    const Job job{codes, shape, coding.tables(), columns};
    Scratch scratch(codes.size());
    std::vector<StreamParts> streams(n_streams);
    for (std::size_t s = 0; s < n_streams; ++s) {
        const std::size_t begin = first_row(shape, s, n_streams), end = first_row(shape, s + 1, n_streams), n = (end - begin) * shape.columns;
        split_rows(job, begin, end, scratch.elements(), streams[s]);
        code_elements({scratch.elements(), n}, lanes, job.tables.codes, scratch.take(n), streams[s]);
    }
    return joined(streams, lanes);
}

}  // namespace tersor
