// Bit streams of narrow rows.
#include <nanobind/ndarray.h>

#include <algorithm>
#include <span>

#include "arrays.hpp"
#include "tersor/narrow_rows.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace tersor::bindings {
namespace {

using Words = Array<const std::uint16_t, 2>;
using Zeros = Array<const std::uint8_t, 1>;

std::span<const std::uint8_t> zeros_of(const Zeros& zeros, std::size_t rows) {
    const std::span<const std::uint8_t> result{zeros.data(), zeros.size()};
    if (result.size() != rows || std::any_of(result.begin(), result.end(), [](std::uint8_t z) { return z > 16; }))
        raise_for(Status::bad_argument, "trailing zeros: one of 0 to 16 for each row");
    return result;
}

}  // namespace

void bind_narrow_rows(nb::module_& module) {
    module.def(
        "trailing_zeros",
        [](const nb::ndarray<const std::uint16_t, nb::ndim<2>, nb::device::cpu>& halves, const Array<std::uint8_t, 1>& out) {
            require(halves.shape(0) == out.size() && halves.shape(1) % 2 == 0 && (halves.shape(1) == 0 || halves.stride(1) == 1) && halves.stride(0) >= 0, "trailing_zeros");
            nb::gil_scoped_release release;
            trailing_zeros(halves.data(), halves.shape(1) / 2, static_cast<std::size_t>(halves.stride(0)), span_of(out));
        },
        "halves"_a.noconvert(), "out"_a.noconvert(), "Fill out with the trailing zero bits that all elements of each F32 row share; halves: (rows, 2 columns).");
    module.def(
        "pack_narrow_rows",
        [](const Words& words, const Zeros& trailing_zeros) {
            const auto zeros = zeros_of(trailing_zeros, words.shape(0));
            Bytes packed;
            {
                nb::gil_scoped_release release;
                packed = pack_narrow_rows({words.data(), words.size()}, words.shape(1), zeros);
            }
            return nb::bytes(packed.data(), packed.size());
        },
        "words"_a, "trailing_zeros"_a, "Bit stream of the rows (rows, columns) without their trailing zero bits; rows without any are left out.");
    module.def(
        "unpack_narrow_rows",
        [](const Array<const std::uint8_t, 1>& payload, const Zeros& trailing_zeros, const Array<std::uint16_t, 2>& out) {
            const auto zeros = zeros_of(trailing_zeros, out.shape(0));
            Status status;
            {
                nb::gil_scoped_release release;
                status = unpack_narrow_rows({payload.data(), payload.size()}, out.shape(1), zeros, {out.data(), out.size()});
            }
            raise_for(status, "narrow rows");
        },
        "payload"_a, "trailing_zeros"_a, "out"_a.noconvert(), "Fill the rows that are not left out. Raises CorruptError.");
}

}  // namespace tersor::bindings
