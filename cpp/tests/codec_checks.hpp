// What the tests of the byte codecs share: data, round trips, and damage under the sanitizers.
#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <span>
#include <vector>

#include "tersor/status.hpp"

namespace tersor::testing {

using Bytes = std::vector<std::uint8_t>;
using Encode = Status (*)(std::span<const std::uint8_t>, Bytes&);
using Decode = Status (*)(std::span<const std::uint8_t>, std::span<std::uint8_t>);

struct Random {
    std::uint32_t state = 1;
    std::uint32_t next() {
        state = state * 1664525u + 1013904223u;
        return state >> 8;
    }
};

// Geometric-like: the number of times that a draw below `of_8` out of 8 comes in a row.
inline Bytes skewed_bytes(std::size_t n, unsigned of_8) {
    Random random;
    Bytes data(n);
    for (auto& byte : data)
        while (byte < 255 && random.next() % 8 < of_8) ++byte;
    return data;
}

inline Bytes uniform_bytes(std::size_t n, unsigned n_symbols) {
    Random random;
    Bytes data(n);
    for (auto& byte : data) byte = static_cast<std::uint8_t>(random.next() % n_symbols);
    return data;
}

inline void check_round_trip(Encode encode, Decode decode, const Bytes& data) {
    Bytes payload, out(data.size());
    REQUIRE(encode(data, payload) == Status::ok);
    payload.shrink_to_fit();  // so that the sanitizer sees the first byte read behind the end
    REQUIRE(decode(payload, out) == Status::ok);
    CHECK(out == data);
}

inline void check_truncation(Encode encode, Decode decode, const Bytes& data) {
    Bytes payload, out(data.size());
    REQUIRE(encode(data, payload) == Status::ok);
    for (std::size_t n = 0; n < payload.size(); ++n) {
        const Bytes cut(payload.begin(), payload.begin() + static_cast<std::ptrdiff_t>(n));
        CHECK(decode(cut, out) != Status::ok);
    }
}

// Any status is right; what counts is that the sanitizers stay silent.
inline void decode_damaged(Encode encode, Decode decode, const Bytes& data, int n_trials) {
    Random random;
    Bytes payload, out(data.size());
    REQUIRE(encode(data, payload) == Status::ok);
    for (int trial = 0; trial < n_trials; ++trial) {
        Bytes damaged = payload;
        for (unsigned k = 0; k <= random.next() % 4; ++k)
            damaged[random.next() % damaged.size()] ^= static_cast<std::uint8_t>(1 + random.next() % 255);
        const Status status = decode(damaged, out);
        CHECK(status != Status::bad_argument);
    }
}

inline void decode_noise(Decode decode, std::uint8_t first_byte, int n_trials) {
    Random random;
    for (int trial = 0; trial < n_trials; ++trial) {
        Bytes payload(1 + random.next() % 64), out(random.next() % 3000);
        for (auto& byte : payload) byte = static_cast<std::uint8_t>(random.next());
        payload[0] = first_byte;
        CHECK(decode(payload, out) != Status::bad_argument);
    }
}

}  // namespace tersor::testing
