#include "tersor/lzw.hpp"

#include "codec_checks.hpp"

using namespace tersor;
using namespace tersor::testing;

TEST_CASE("lzw: data of every kind round trips") {
    for (const std::size_t n : {0, 1, 2, 3, 255, 1000, 20000}) {
        check_round_trip(lzw_encode, lzw_decode, Bytes(n, 9));
        for (const unsigned n_symbols : {2u, 3u, 256u})
            check_round_trip(lzw_encode, lzw_decode, uniform_bytes(n, n_symbols));
        check_round_trip(lzw_encode, lzw_decode, skewed_bytes(n, 4));
    }
}

TEST_CASE("lzw: a full dictionary and its reset round trip") {
    Bytes data = uniform_bytes(150000, 256);
    const Bytes other = uniform_bytes(150000, 4);
    data.insert(data.end(), other.begin(), other.end());
    check_round_trip(lzw_encode, lzw_decode, data);
}

TEST_CASE("lzw: a payload is at most twice the data") {
    for (const std::size_t n : {1, 300, 100000}) {
        Bytes payload;
        REQUIRE(lzw_encode(uniform_bytes(n, 256), payload) == Status::ok);
        CHECK(payload.size() <= 2 * n);
    }
}

TEST_CASE("lzw: every truncation is an error") {
    check_truncation(lzw_encode, lzw_decode, skewed_bytes(300, 6));
    check_truncation(lzw_encode, lzw_decode, Bytes(2000, 7));
}

TEST_CASE("lzw: damaged payloads stay inside their buffers") {
    decode_damaged(lzw_encode, lzw_decode, skewed_bytes(200, 6), 5000);
    decode_damaged(lzw_encode, lzw_decode, Bytes(3000, 1), 5000);
    for (const std::uint8_t first : {0, 97}) decode_noise(lzw_decode, first, 3000);
}
