// Input: u8 rows, u8 columns, a byte for each row (trailing zeros, modulo 17), then the bit stream.
#include "fuzz.hpp"
#include "tersor/narrow_rows.hpp"

namespace tersor::fuzz {

void fuzz(ByteSpan input) {
    ByteReader in(input);
    const std::size_t rows = in.u8(), columns = in.u8();
    Bytes zeros = own(in.bytes(rows));
    zeros.resize(rows);
    for (auto& z : zeros) z %= 17;
    const Bytes payload = own(in.rest());
    std::vector<std::uint16_t> words(rows * columns);
    const Status status = unpack_narrow_rows(payload, columns, zeros, words);
    require(status != Status::bad_argument, "damage is no bad argument");
    if (status == Status::ok) require(pack_narrow_rows(words, columns, zeros) == payload, "an accepted bit stream is the only one of its words");
}

std::vector<Bytes> seeds() {
    std::vector<Bytes> seeds;
    Random random;
    for (const std::uint8_t rows : {1, 20, 255})
        for (const std::uint8_t columns : {1, 33, 255}) {
            Bytes seed = {rows, columns}, zeros(rows);
            for (auto& z : zeros) z = static_cast<std::uint8_t>(random.next() % 17);
            std::vector<std::uint16_t> words(std::size_t{rows} * columns);
            for (std::size_t i = 0; i < words.size(); ++i) words[i] = static_cast<std::uint16_t>(random.next() << zeros[i / columns]);
            const Bytes payload = pack_narrow_rows(words, columns, zeros);
            seed.insert(seed.end(), zeros.begin(), zeros.end());
            seed.insert(seed.end(), payload.begin(), payload.end());
            seeds.push_back(seed);
        }
    return seeds;
}

}  // namespace tersor::fuzz
