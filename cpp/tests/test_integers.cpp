#include "tersor/integers.hpp"

#include <limits>

#include "entropy_checks.hpp"

using namespace tersor;
using namespace tersor::testing;
using tersor::testing::Bytes;

namespace {

using Values = std::vector<std::int32_t>;
constexpr std::int32_t kMin = std::numeric_limits<std::int32_t>::min(), kMax = std::numeric_limits<std::int32_t>::max();

TableSet side(std::uint8_t raw_bits = 0, int symbols = 64) { return make_set(symbols, 12, {bell(symbols, 12, 0.8)}, {.raw_bits = {raw_bits}, .first_class = 0, .class_map = {}}); }

Values noise(std::size_t n, std::int32_t middle, std::uint32_t width) {
    Random random;
    Values values(n);
    for (auto& v : values) v = middle + static_cast<std::int32_t>(random.next() % width) - static_cast<std::int32_t>(width / 2);
    return values;
}

Bytes encoded(const Values& values, const AliasTable& table) {
    Bytes payload;
    encode_integers(values, table, payload);
    payload.shrink_to_fit();
    return payload;
}

Status decode(const Bytes& payload, const AliasTable& table, Values& values, std::int32_t low = kMin, std::int32_t high = kMax) {
    ByteReader in{ByteSpan(payload)};
    return decode_integers(in, table, low, high, values);
}

void check_values(const Values& values, const AliasTable& table) {
    const Bytes payload = encoded(values, table);
    Values out(values.size());
    ByteReader in{ByteSpan(payload)};
    REQUIRE(decode_integers(in, table, kMin, kMax, out) == Status::ok);
    CHECK(in.at_end());
    CHECK(out == values);
}

// integers(n) of mode `mode` without words, escapes or raw bits, all states at their beginning.
Bytes empty_stream(unsigned mode, std::uint64_t offset) {
    Bytes payload = {static_cast<std::uint8_t>(mode)};
    put_varint(payload, offset);
    payload.insert(payload.end(), {0, 0});
    for (unsigned lane = 0; lane < 1u << (mode - 1); ++lane) payload.insert(payload.end(), {0, 0, 1, 0});
    return payload;
}

}  // namespace

TEST_CASE("integers: vectors of every length, level and width round trip") {
    for (const std::uint8_t raw_bits : {0, 1, 3, 16})
        for (const int symbols : {16, 64, 128}) {
            const TableSet set = side(raw_bits, symbols);
            for (const std::size_t n : {0, 1, 2, 3, 7, 100, 1023, 1024, 5001})
                for (const std::int32_t middle : {0, 77, -30000, 1 << 30})
                    for (const std::uint32_t width : {1u, 2u, 12u, 70u, 5000u, 1u << 20}) check_values(noise(n, middle, width), set.tables[0]);
        }
}

TEST_CASE("integers: the extremes of int32 round trip as escapes") {
    for (const std::uint8_t raw_bits : {0, 4, 16}) {
        const TableSet set = side(raw_bits);
        check_values({kMin, kMax, 0, -1, 1, kMax, kMin}, set.tables[0]);
        check_values({kMax, kMax, kMin}, set.tables[0]);
        check_values({kMin, kMin, kMax}, set.tables[0]);
    }
}

TEST_CASE("integers: symbols without a frequency become escapes") {
    Frequencies frequencies(64);
    frequencies[0] = 1, frequencies[33] = 4095;
    const TableSet set = make_set(64, 12, {frequencies});
    check_values(noise(300, 0, 9), set.tables[0]);
}

TEST_CASE("integers: equal values take two bytes, none take the offset 0") {
    const TableSet set = side();
    CHECK(encoded(Values(5000, -3), set.tables[0]) == Bytes{0, 5});
    CHECK(encoded({}, set.tables[0]) == Bytes{0, 0});
    CHECK(integers_offset(Values{5, -1, 3}) == 3);
    CHECK(integers_offset({}) == 0);
}

TEST_CASE("integers: all numbers of lanes are read, more are refused") {
    const TableSet set = side();
    for (unsigned mode = 1; mode <= 6; ++mode) {
        Values out(1);  // a stream of one element that is not there: the state cannot end where it began
        CHECK(decode(empty_stream(mode, 0), set.tables[0], out) == Status::corrupt);
    }
    Values out(1);
    CHECK(decode({7, 0, 0, 0}, set.tables[0], out) == Status::corrupt);
    CHECK(decode({255, 0, 0, 0}, set.tables[0], out) == Status::corrupt);
}

TEST_CASE("integers: no values are mode 0 and offset 0, nothing else") {
    const TableSet set = side();
    Values none;
    CHECK(decode({0, 0}, set.tables[0], none) == Status::ok);
    CHECK(decode({0, 2}, set.tables[0], none) == Status::corrupt);
    CHECK(decode(empty_stream(1, 0), set.tables[0], none) == Status::corrupt);
}

TEST_CASE("integers: values and offsets outside the limits are refused") {
    const TableSet set = side();
    const Values values = noise(50, 0, 41);
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    Values out(values.size());
    CHECK(decode(encoded(values, set.tables[0]), set.tables[0], out, *low, *high) == Status::ok);
    CHECK(decode(encoded(values, set.tables[0]), set.tables[0], out, *low + 1, *high) == Status::corrupt);
    CHECK(decode(encoded(values, set.tables[0]), set.tables[0], out, *low, *high - 1) == Status::corrupt);
    CHECK(decode({0, 8}, set.tables[0], out, -3, 3) == Status::corrupt);
    const Bytes payload = encoded(values, set.tables[0]);
    for (const std::int64_t offset : {INT64_MIN, INT64_MAX, std::int64_t{kMax} + 1, std::int64_t{kMin} - 1}) {
        Bytes damaged = {payload[0]};
        put_varint(damaged, zigzag(offset));
        damaged.insert(damaged.end(), payload.begin() + 2, payload.end());  // the old offset took one byte
        CHECK(decode(damaged, set.tables[0], out) == Status::corrupt);
    }
}

TEST_CASE("integers: an escape beyond int64 or int32 is refused") {
    for (const std::uint8_t raw_bits : {0, 16}) {
        const TableSet set = side(raw_bits);
        for (const std::int64_t h : {INT64_MIN, INT64_MAX, std::int64_t{1} << 32, -(std::int64_t{1} << 32)}) {
            const Bytes good = encoded({0, 1 << 30, 0}, set.tables[0]);
            Bytes old_escape, new_escape;
            put_varint(old_escape, zigzag((1 << 30) >> raw_bits));
            put_varint(new_escape, zigzag(h));
            const auto at = std::search(good.begin(), good.end(), old_escape.begin(), old_escape.end());
            REQUIRE(at != good.end());
            Bytes damaged(good.begin(), at);
            damaged.insert(damaged.end(), new_escape.begin(), new_escape.end());
            damaged.insert(damaged.end(), at + static_cast<std::ptrdiff_t>(old_escape.size()), good.end());
            damaged[3] = static_cast<std::uint8_t>(new_escape.size());  // mode, offset, words, escapes
            Values out(3);
            CHECK(decode(damaged, set.tables[0], out) == Status::corrupt);
        }
    }
}

TEST_CASE("integers: a table of format A8 is refused") {
    const TableSet set = make_set(16, 8, {bell(16, 8, 0.5)});
    Values out(4);
    CHECK(decode({1, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF}, set.tables[0], out) == Status::corrupt);
}

TEST_CASE("integers: every truncation is an error") {
    for (const std::uint8_t raw_bits : {0, 3}) {
        const TableSet set = side(raw_bits);
        const Values values = noise(200, 40, 300);
        Values out(values.size());
        for_each_truncation(encoded(values, set.tables[0]), [&](const Bytes& cut) { CHECK(decode(cut, set.tables[0], out) != Status::ok); });
    }
}

TEST_CASE("integers: damage is an error or gives values inside the limits") {
    for (const std::uint8_t raw_bits : {0, 5}) {
        const TableSet set = side(raw_bits);
        const Values values = noise(60, -9, 90);
        Values out(values.size());
        const auto check = [&](const Bytes& damaged) {
            const Status status = decode(damaged, set.tables[0], out, -1000, 1000);
            CHECK(status != Status::bad_argument);
            if (status == Status::ok) CHECK(std::all_of(out.begin(), out.end(), [](std::int32_t v) { return v >= -1000 && v <= 1000; }));
        };
        for_each_flipped_bit(encoded(values, set.tables[0]), check);
        for_random_damage(encoded(values, set.tables[0]), 3000, check);
        for_noise(100, 3000, check);
    }
}
