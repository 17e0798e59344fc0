// Binding of a pair of functions "bytes to payload" and "payload to bytes of a known number".
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <span>
#include <vector>

#include "bind.hpp"

namespace tersor::bindings {

using InputBytes = nanobind::ndarray<const std::uint8_t, nanobind::ndim<1>, nanobind::c_contig, nanobind::device::cpu>;
using OutputBytes = nanobind::ndarray<std::uint8_t, nanobind::ndim<1>, nanobind::c_contig, nanobind::device::cpu>;

using Encode = Status (*)(std::span<const std::uint8_t>, std::vector<std::uint8_t>&);
using Decode = Status (*)(std::span<const std::uint8_t>, std::span<std::uint8_t>);

template <Encode encode>
nanobind::bytes encode_bytes(const InputBytes& data, const char* what) {
    std::vector<std::uint8_t> payload;
    Status status;
    {
        nanobind::gil_scoped_release released;
        status = encode({data.data(), data.size()}, payload);
    }
    raise_for(status, what);
    return nanobind::bytes(payload.data(), payload.size());
}

template <Decode decode>
void decode_bytes(const InputBytes& payload, const OutputBytes& out, const char* what) {
    Status status;
    {
        nanobind::gil_scoped_release released;
        status = decode({payload.data(), payload.size()}, {out.data(), out.size()});
    }
    raise_for(status, what);
}

}  // namespace tersor::bindings
