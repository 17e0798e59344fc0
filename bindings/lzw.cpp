#include "tersor/lzw.hpp"

#include "byte_codec.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace tersor::bindings {

void bind_lzw(nb::module_& module) {
    module.def(
        "lzw_encode", [](const InputBytes& data) { return encode_bytes<lzw_encode>(data, "lzw encode"); },
        "data"_a.noconvert(), "Payload of the bytes `data` (uint8, one dimension, contiguous).");
    module.def(
        "lzw_decode",
        [](const InputBytes& payload, const OutputBytes& out) {
            decode_bytes<lzw_decode>(payload, out, "lzw payload");
        },
        "payload"_a.noconvert(), "out"_a.noconvert(), "Fill `out` from `payload`. Raises CorruptError.");
}

}  // namespace tersor::bindings
