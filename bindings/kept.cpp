#include "tersor/kept.hpp"

#include "arrays.hpp"

namespace nb = nanobind;

namespace tersor::bindings {
namespace {

void expand_kept_into(const Array<const bool, 1>& mask, const ByteArray& values, std::size_t size, Array<std::uint8_t, 1> out) {
    Status status;
    {
        nb::gil_scoped_release release;
        status = expand_kept({reinterpret_cast<const std::uint8_t*>(mask.data()), mask.size()}, span_of(values), size, span_of(out));
    }
    raise_for(status, "expand_kept");
}

}  // namespace

void bind_kept(nb::module_& module) {
    module.def("expand_kept", &expand_kept_into, nb::arg("mask"), nb::arg("values"), nb::arg("size"), nb::arg("out").noconvert(),
               "Fill out, the bytes of elements of `size` bytes (1, 2, 4 or 8), with the next of values where mask is True, else with zeros.");
}

}  // namespace tersor::bindings
