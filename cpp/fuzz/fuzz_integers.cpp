// Input: u8 table, u16 number of values, then `integers(n)`; what follows it belongs to others and is left.
#include <limits>

#include "fuzz.hpp"
#include "tersor/integers.hpp"

namespace tersor::fuzz {
namespace {

constexpr std::int32_t kLow = -32768, kHigh = 32767;

const TableSet& tables() {
    static const TableSet set = make_set(64, 12, 32, {0, 0, 3, 16});
    return set;
}

}  // namespace

void fuzz(ByteSpan input) {
    ByteReader front(input);
    const AliasTable& table = tables().tables[front.u8() % 4];
    std::vector<std::int32_t> values(front.little_endian(2));
    const Bytes payload = own(front.rest());
    ByteReader in{ByteSpan(payload)};
    const Status status = decode_integers(in, table, kLow, kHigh, values);
    require(status != Status::bad_argument, "damage is no bad argument");
    if (status != Status::ok) return;
    for (const std::int32_t value : values) require(value >= kLow && value <= kHigh, "values lie in the range asked for");
    Bytes again;
    encode_integers(values, table, again);
    std::vector<std::int32_t> back(values.size());
    ByteReader second{ByteSpan(again)};
    require(decode_integers(second, table, kLow, kHigh, back) == Status::ok && back == values, "what was decoded encodes to the same values");
}

std::vector<Bytes> seeds() {
    std::vector<Bytes> seeds;
    Random random;
    for (std::uint8_t table = 0; table < 4; ++table)
        for (const std::uint32_t n : {0u, 1u, 9u, 300u, 5000u})
            for (const std::uint32_t width : {1u, 30u, 9000u}) {
                std::vector<std::int32_t> values(n);
                for (auto& value : values) value = random.bell(width) + 100;
                Bytes seed = {table};
                put_little_endian(seed, static_cast<std::uint16_t>(n));
                encode_integers(values, tables().tables[table], seed);
                seeds.push_back(seed);
            }
    return seeds;
}

}  // namespace tersor::fuzz
