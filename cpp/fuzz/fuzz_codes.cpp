// Input: u8 rows, u8 columns, u8 trellis rows (0: plain), u8 classes, then the code payload.
#include "every_isa.hpp"
#include "tersor/codes.hpp"

namespace tersor::fuzz {
namespace {

const TableSet& tables() {
    static const TableSet set = make_set(64, 12, 32, {0, 3, 1, 16}, -3, {0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3});
    return set;
}

struct Front {
    std::size_t rows, columns, trellis_rows;
    std::vector<std::int32_t> row_class, column_class;

    explicit Front(ByteReader& in) {
        rows = in.u8(), columns = in.u8(), trellis_rows = in.u8();
        Random random{in.u8()};
        row_class.resize(rows), column_class.resize(columns);
        for (auto& c : row_class) c = random.bell(9);
        for (auto& c : column_class) c = random.bell(9);
    }
    CodeShape shape() const { return {rows, columns, row_class, column_class, trellis_rows}; }
};

}  // namespace

void fuzz(ByteSpan input) {
    ByteReader in(input);
    const Front front(in);
    const Bytes payload = own(in.rest());
    std::vector<std::int32_t> codes(front.rows * front.columns);
    const Status status = decode_with_every_isa(codes, [&](std::span<std::int32_t> out) {
        ByteReader reader{ByteSpan(payload)};
        const Status one = decode_codes(reader, front.shape(), tables(), out);
        require(one != Status::ok || reader.at_end(), "the payload is used up");
        return one;
    });
    if (status != Status::ok) return;
    const Bytes again = encode_codes(codes, front.shape(), 2, 4, tables());
    std::vector<std::int32_t> back(codes.size());
    ByteReader second{ByteSpan(again)};
    require(decode_codes(second, front.shape(), tables(), back) == Status::ok && back == codes, "what was decoded encodes to the same codes");
    if (front.trellis_rows == 0) return;
    std::vector<float> levels(codes.size());
    trellis_levels(codes, front.rows, front.columns, front.trellis_rows, levels);
}

std::vector<Bytes> seeds() {
    std::vector<Bytes> seeds;
    Random random;
    for (const std::uint8_t rows : {1, 7, 64, 255})
        for (const std::uint8_t columns : {1, 32, 100})
            for (const std::uint8_t trellis_rows : {0, 16, 64})
                for (const std::size_t lanes : {1, 32}) {
                    Bytes seed = {rows, columns, trellis_rows, 7};
                    ByteReader in{ByteSpan(seed)};
                    const Front front(in);
                    std::vector<std::int32_t> codes(std::size_t{rows} * columns);
                    for (auto& code : codes) code = random.bell(12);
                    codes[codes.size() / 2] = 1 << 30;
                    const Bytes payload = encode_codes(codes, front.shape(), rows < 8 ? 1 : 4, lanes, tables());
                    seed.insert(seed.end(), payload.begin(), payload.end());
                    seeds.push_back(seed);
                }
    return seeds;
}

}  // namespace tersor::fuzz
