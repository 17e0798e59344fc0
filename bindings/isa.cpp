// Which vector instructions are in use. Importing the module refuses a TERSOR_ISA that this machine does not run.
#include "tersor/isa.hpp"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "bind.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace tersor::bindings {
namespace {

std::vector<std::string> names() {
    std::vector<std::string> all;
    for (const Isa each : available_isas()) all.emplace_back(name_of(each));
    return all;
}

void use(const std::string& where, const std::string& name) {
    if (use_isa(name) == Status::ok) return;
    std::string all;
    for (const std::string& each : names()) all += (all.empty() ? "" : ", ") + each;
    const std::string message = where + "'" + name + "': this machine runs " + all + "; name one of them, or none for the fastest";
    PyErr_SetString(nb::module_::import_("tersor.errors").attr("UsageError").ptr(), message.c_str());
    throw nb::python_error();
}

}  // namespace

void bind_isa(nb::module_& module) {
    if (const char* name = std::getenv("TERSOR_ISA")) use("TERSOR_ISA=", name);
    module.def("isa", [] { return std::string(name_of(isa())); }, "Name of the instruction set in use.");
    module.def("available_isas", names, "Names of those that this machine runs, slowest first.");
    module.def("use_isa", [](const std::string& name) { use("isa ", name); }, "name"_a, "Use another instruction set from now on; for tests and benchmarks. Raises UsageError.");
}

}  // namespace tersor::bindings
