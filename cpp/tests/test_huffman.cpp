#include "tersor/huffman.hpp"

#include "codec_checks.hpp"

using namespace tersor;
using namespace tersor::testing;

TEST_CASE("huffman: data of every form round trips") {
    for (const std::size_t n : {0, 1, 2, 7, 255, 1023, 1024, 1027, 4099, 70001}) {
        check_round_trip(huffman_encode, huffman_decode, Bytes(n, 9));
        for (const unsigned n_symbols : {2u, 3u, 100u, 256u})
            check_round_trip(huffman_encode, huffman_decode, uniform_bytes(n, n_symbols));
        for (const unsigned skew : {1u, 4u, 7u})
            check_round_trip(huffman_encode, huffman_decode, skewed_bytes(n, skew));
    }
}

TEST_CASE("huffman: random data grows by at most 160 bytes") {
    for (const std::size_t n : {1, 300, 1024, 65536}) {
        Bytes payload;
        REQUIRE(huffman_encode(uniform_bytes(n, 256), payload) == Status::ok);
        CHECK(payload.size() <= n + 160);
    }
}

TEST_CASE("huffman: every truncation is an error") {
    check_truncation(huffman_encode, huffman_decode, skewed_bytes(300, 6));
    check_truncation(huffman_encode, huffman_decode, skewed_bytes(3000, 6));
}

TEST_CASE("huffman: the end of a stream is marked") {
    Bytes payload, out(12);
    const Bytes word = {'a', 'b', 'r', 'a', 'c', 'a', 'd', 'a', 'b', 'r', 'a'};
    REQUIRE(huffman_encode(word, payload) == Status::ok);
    CHECK(payload == Bytes{0x01, 0xfe, 0x14, 0x33, 0xd3, 0x3b, 0x72, 0x35, 0xb9});
    CHECK(huffman_decode(payload, std::span(out).first(10)) == Status::corrupt);
    CHECK(huffman_decode(payload, out) != Status::ok);
}

TEST_CASE("huffman: damaged payloads stay inside their buffers") {
    decode_damaged(huffman_encode, huffman_decode, skewed_bytes(200, 6), 5000);
    decode_damaged(huffman_encode, huffman_decode, skewed_bytes(2000, 7), 5000);
    for (const std::uint8_t form : {0, 1, 4, 5}) decode_noise(huffman_decode, form, 3000);
}
