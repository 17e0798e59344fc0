// Input: u8 tables, u8 rows, u8 columns, u8 trellis rows (0: plain), u8 classes, then the code payload. Codes that decode are dequantized too.
#include "every_isa.hpp"
#include "tersor/codes.hpp"
#include "tersor/dequantize.hpp"

namespace tersor::fuzz {
namespace {

// Several tables, and one table of every size that vector code has a way of its own for.
const std::vector<TableSet>& table_sets() {
    const auto one = [](int symbols, std::uint8_t raw_bits) { return make_set(symbols, 12, symbols / 2, {raw_bits}, 0, {0, 0}); };
    static const std::vector<TableSet> sets = {make_set(64, 12, 32, {0, 3, 1, 16}, -3, {0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3}), one(16, 0), one(32, 0), one(64, 2), one(128, 0)};
    return sets;
}

struct Front {
    const TableSet& tables;
    std::size_t rows, columns, trellis_rows;
    std::vector<std::int32_t> row_class, column_class;

    explicit Front(ByteReader& in) : tables(table_sets()[in.u8() % table_sets().size()]) {
        rows = in.u8(), columns = in.u8(), trellis_rows = in.u8();
        Random random{in.u8()};
        row_class.resize(rows), column_class.resize(columns);
        for (auto& c : row_class) c = random.bell(9);
        for (auto& c : column_class) c = random.bell(9);
    }
    CodeShape shape() const { return {rows, columns, row_class, column_class, trellis_rows}; }
};

// Classes serve as exponents here: whole quarters of small steps.
void check_values(const Front& front, const std::vector<std::int32_t>& codes) {
    std::vector<float> values(codes.size()), levels(codes.begin(), codes.end());
    if (front.trellis_rows > 0) trellis_levels(codes, front.rows, front.columns, front.trellis_rows, levels);
    const GridBlock block{front.rows, front.columns, codes, front.row_class, front.column_class, front.trellis_rows, {}, 0, {}, {}};
    require(dequantize(block, values) == Status::ok, "exponents that small are in range");
    for (std::size_t i = 0; i < values.size(); ++i)
        require(values[i] == levels[i] * grid_step(front.row_class[i / front.columns] + front.column_class[i % front.columns]), "a value is its level times its step");
}

}  // namespace

void fuzz(ByteSpan input) {
    ByteReader in(input);
    const Front front(in);
    const Bytes payload = own(in.rest());
    std::vector<std::int32_t> codes(front.rows * front.columns);
    const Status status = decode_with_every_isa(codes, [&](std::span<std::int32_t> out) {
        ByteReader reader{ByteSpan(payload)};
        const Status one = decode_codes(reader, front.shape(), front.tables, out);
        require(one != Status::ok || reader.at_end(), "the payload is used up");
        return one;
    });
    if (status != Status::ok) return;
    const Bytes again = encode_codes(codes, front.shape(), 2, 4, front.tables);
    std::vector<std::int32_t> back(codes.size());
    ByteReader second{ByteSpan(again)};
    require(decode_codes(second, front.shape(), front.tables, back) == Status::ok && back == codes, "what was decoded encodes to the same codes");
    check_values(front, codes);
}

std::vector<Bytes> seeds() {
    std::vector<Bytes> seeds;
    Random random;
    for (const std::uint8_t rows : {1, 7, 64, 255})
        for (const std::uint8_t columns : {1, 32, 100, 128})
            for (const std::uint8_t trellis_rows : {0, 16, 64})
                for (const std::size_t lanes : {1, 32}) {
                    const auto set = static_cast<std::uint8_t>(seeds.size() % table_sets().size());
                    Bytes seed = {set, rows, columns, trellis_rows, 7};
                    ByteReader in{ByteSpan(seed)};
                    const Front front(in);
                    std::vector<std::int32_t> codes(std::size_t{rows} * columns);
                    for (auto& code : codes) code = random.bell(12);
                    codes[codes.size() / 2] = 1 << 30;
                    const Bytes payload = encode_codes(codes, front.shape(), rows < 8 ? 1 : 4, lanes, front.tables);
                    seed.insert(seed.end(), payload.begin(), payload.end());
                    seeds.push_back(seed);
                }
    return seeds;
}

}  // namespace tersor::fuzz
