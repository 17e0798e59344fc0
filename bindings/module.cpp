// tersor._core: the compiled part. Each bind_x checks dtype and contiguity, releases the GIL, calls cpp/, and
// maps the status to an exception; no algorithm lives here.
#include "bind.hpp"

#include <string>

namespace nb = nanobind;

namespace tersor::bindings {

void raise_for(Status status, const char* what) {
    if (status == Status::ok) return;
    const std::string message = std::string(what) + ": " + describe(status);
    if (status == Status::bad_argument) throw nb::value_error(message.c_str());
    nb::object error = nb::module_::import_("tersor.errors").attr("CorruptError");
    PyErr_SetString(error.ptr(), message.c_str());
    throw nb::python_error();
}

}  // namespace tersor::bindings

NB_MODULE(_core, module) {
    using namespace tersor::bindings;
    nanobind::set_leak_warnings(false);  // compiled tables are cached for the life of the process
    module.doc() = "Compiled coders and loops of tersor.";
    bind_dense_batch(module);
    bind_dequantize(module);
    bind_entropy(module);
    bind_factor_product(module);
    bind_field_groups(module);
    bind_float_blocks(module);
    bind_float_max(module);
    bind_huffman(module);
    bind_isa(module);
    bind_kept(module);
    bind_lzw(module);
    bind_narrow_rows(module);
    bind_prune(module);
    bind_rans_bytes(module);
    bind_quantize(module);
}
