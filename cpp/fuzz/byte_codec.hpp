// The fuzz target of a byte codec. Input: u16 length of the output, then the payload.
#pragma once

#include "fuzz.hpp"

namespace tersor::fuzz {

using Encode = Status (*)(ByteSpan, Bytes&);
using Decode = Status (*)(ByteSpan, std::span<std::uint8_t>);

// Decodes the input as a payload, then encodes it as data and decodes that.
inline void fuzz_byte_codec(Encode encode, Decode decode, ByteSpan input) {
    ByteReader in(input);
    Bytes out(in.little_endian(2));
    const Bytes rest = own(in.rest());
    require(decode(rest, out) != Status::bad_argument, "damage is no bad argument");

    Bytes payload, back(rest.size());
    require(encode(rest, payload) == Status::ok, "every input encodes");
    payload.shrink_to_fit();
    require(decode(payload, back) == Status::ok && back == rest, "what was encoded decodes to the same");
}

inline std::vector<Bytes> byte_codec_seeds(Encode encode) {
    std::vector<Bytes> seeds;
    Random random;
    for (const std::uint32_t n : {0u, 1u, 2u, 60u, 500u, 5000u, 40000u})
        for (const std::uint32_t width : {1u, 2u, 20u, 256u}) {
            Bytes data(n), payload, seed;
            for (auto& byte : data) byte = static_cast<std::uint8_t>(random.bell(width));
            require(encode(data, payload) == Status::ok, "seeds encode");
            put_little_endian(seed, static_cast<std::uint16_t>(n));
            seed.insert(seed.end(), payload.begin(), payload.end());
            seeds.push_back(seed);
        }
    return seeds;
}

}  // namespace tersor::fuzz
