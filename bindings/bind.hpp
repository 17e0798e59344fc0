#pragma once

#include <nanobind/nanobind.h>

#include "tersor/status.hpp"

namespace tersor::bindings {

// Does nothing for `ok`. Raises tersor.errors.CorruptError for truncated, corrupt and limit, and ValueError for
// bad_argument, with the text "<what>: <describe(status)>". The caller holds the GIL.
void raise_for(Status status, const char* what);

// One function per thing in cpp/: it adds that thing to tersor._core. Called in module.cpp.
void bind_dense_batch(nanobind::module_& module);
void bind_dequantize(nanobind::module_& module);
void bind_entropy(nanobind::module_& module);
void bind_factor_product(nanobind::module_& module);
void bind_field_groups(nanobind::module_& module);
void bind_float_blocks(nanobind::module_& module);
void bind_float_max(nanobind::module_& module);
void bind_isa(nanobind::module_& module);
void bind_huffman(nanobind::module_& module);
void bind_kept(nanobind::module_& module);
void bind_lzw(nanobind::module_& module);
void bind_narrow_rows(nanobind::module_& module);
void bind_prune(nanobind::module_& module);
void bind_rans_bytes(nanobind::module_& module);
void bind_quantize(nanobind::module_& module);

}  // namespace tersor::bindings
