// Decoding with every instruction set of the machine: all accept the same payloads and give the same elements.
#pragma once

#include "fuzz.hpp"
#include "tersor/isa.hpp"

namespace tersor::fuzz {

// decode: Status(std::span<T>). Returns ok if all accept the payload; `out` is then what all decoded.
template <class T, class Decode>
Status decode_with_every_isa(std::vector<T>& out, Decode decode) {
    Status first_status = Status::ok;
    std::vector<T> first;
    for (const Isa each : available_isas()) {
        require(use_isa(name_of(each)) == Status::ok, "an available instruction set can be chosen");
        const Status status = decode(std::span<T>(out));
        require(status != Status::bad_argument, "damage is no bad argument");
        if (each == available_isas().front()) first_status = status, first = out;
        require((status == Status::ok) == (first_status == Status::ok), "all instruction sets accept the same payloads");
        require(status != Status::ok || out == first, "all instruction sets decode to the same");
    }
    return first_status;
}

}  // namespace tersor::fuzz
