#include "tersor/rans_bytes.hpp"

#include "byte_codec.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace tersor::bindings {

void bind_rans_bytes(nb::module_& module) {
    module.def(
        "rans_encode", [](const InputBytes& data) { return encode_bytes<rans_encode>(data, "rans encode"); },
        "data"_a.noconvert(), "Payload of the bytes `data` (uint8, one dimension, contiguous).");
    module.def(
        "rans_decode",
        [](const InputBytes& payload, const OutputBytes& out) {
            decode_bytes<rans_decode>(payload, out, "rans payload");
        },
        "payload"_a.noconvert(), "out"_a.noconvert(), "Fill `out` from `payload`. Raises CorruptError.");
}

}  // namespace tersor::bindings
