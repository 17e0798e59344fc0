#include "tersor/rans_bytes.hpp"

#include "entropy_checks.hpp"

using namespace tersor;
using namespace tersor::testing;
using tersor::testing::Bytes;

TEST_CASE("rans: data of every form round trips") {
    for (const std::size_t n : {0, 1, 2, 7, 255, 511, 512, 4099, 16383, 16384, 70001}) {
        check_round_trip(rans_encode, rans_decode, Bytes(n, 9));
        for (const unsigned n_symbols : {2u, 15u, 16u, 17u, 100u, 127u, 128u, 256u}) check_round_trip(rans_encode, rans_decode, uniform_bytes(n, n_symbols));
        for (const unsigned skew : {1u, 4u, 7u}) check_round_trip(rans_encode, rans_decode, skewed_bytes(n, skew));
    }
}

TEST_CASE("rans: rare bytes become escapes") {
    Bytes data(70000, 'a'), payload, out(data.size());
    data[5] = 'z', data[69999] = 'y';
    REQUIRE(rans_encode(data, payload) == Status::ok);
    CHECK(payload[1] == 1);  // only 'a' has a symbol
    CHECK(payload.size() < 200);
    REQUIRE(rans_decode(payload, out) == Status::ok);
    CHECK(out == data);
}

TEST_CASE("rans: skewed data comes near its entropy") {
    Bytes payload;
    const Bytes data = skewed_bytes(100000, 4);  // geometric with ratio 1/2: 2 bits a byte
    REQUIRE(rans_encode(data, payload) == Status::ok);
    CHECK(payload.size() < data.size() / 4 * 1.01 + 200);
}

TEST_CASE("rans: every truncation and every byte behind the end is an error") {
    for (const std::size_t n : {40, 3000}) {
        check_truncation(rans_encode, rans_decode, skewed_bytes(n, 6));
        Bytes payload, out(n);
        REQUIRE(rans_encode(skewed_bytes(n, 6), payload) == Status::ok);
        payload.push_back(0);
        CHECK(rans_decode(payload, out) == Status::corrupt);
    }
}

TEST_CASE("rans: the length of the data is part of the check") {
    Bytes payload, shorter(29), longer(31), none;
    REQUIRE(rans_encode(skewed_bytes(30, 4), payload) == Status::ok);
    CHECK(rans_decode(payload, shorter) != Status::ok);
    CHECK(rans_decode(payload, longer) != Status::ok);
    CHECK(rans_decode(payload, none) == Status::corrupt);
    CHECK(rans_decode({}, none) == Status::ok);
    CHECK(rans_decode({}, longer) == Status::truncated);
}

TEST_CASE("rans: an alphabet that names a byte twice, none, or too many is refused") {
    Bytes payload, out(100);
    REQUIRE(rans_encode(uniform_bytes(100, 3), payload) == Status::ok);
    for (const auto& [at, value] : {std::pair{0, 3}, {0, 8}, {0, 255}, {1, 0}, {1, 16}, {1, 255}}) {
        Bytes damaged = payload;
        damaged[static_cast<std::size_t>(at)] = static_cast<std::uint8_t>(value);
        CHECK(rans_decode(damaged, out) != Status::ok);
    }
    payload[3] = payload[2];
    CHECK(rans_decode(payload, out) == Status::corrupt);
}

TEST_CASE("rans: damaged payloads stay inside their buffers") {
    decode_damaged(rans_encode, rans_decode, skewed_bytes(200, 6), 5000);
    decode_damaged(rans_encode, rans_decode, skewed_bytes(2000, 7), 3000);
    decode_damaged(rans_encode, rans_decode, uniform_bytes(600, 256), 2000);
    for (const std::uint8_t log_symbols : {4, 5, 6, 7, 12}) decode_noise(rans_decode, log_symbols, 2000);
    Bytes payload, out(120);
    REQUIRE(rans_encode(skewed_bytes(120, 5), payload) == Status::ok);
    for_each_flipped_bit(payload, [&](const Bytes& damaged) { CHECK(rans_decode(damaged, out) != Status::bad_argument); });
}
