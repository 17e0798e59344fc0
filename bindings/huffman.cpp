#include "tersor/huffman.hpp"

#include "byte_codec.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace tersor::bindings {

void bind_huffman(nb::module_& module) {
    module.def(
        "huffman_encode", [](const InputBytes& data) { return encode_bytes<huffman_encode>(data, "huffman encode"); },
        "data"_a.noconvert(), "Payload of the bytes `data` (uint8, one dimension, contiguous).");
    module.def(
        "huffman_decode",
        [](const InputBytes& payload, const OutputBytes& out) {
            decode_bytes<huffman_decode>(payload, out, "huffman payload");
        },
        "payload"_a.noconvert(), "out"_a.noconvert(), "Fill `out` from `payload`. Raises CorruptError.");
}

}  // namespace tersor::bindings
