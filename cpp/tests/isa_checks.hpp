// Tests that run once for each instruction set of this machine.
#pragma once

#include <string>

#include "entropy_checks.hpp"
#include "tersor/isa.hpp"

namespace tersor::testing {

// Calls check() once for each instruction set; puts back the one in use.
template <class Check>
void with_each_isa(Check check) {
    const std::string before = name_of(isa());
    for (const Isa each : available_isas()) {
        REQUIRE(use_isa(name_of(each)) == Status::ok);
        INFO("TERSOR_ISA=", name_of(each));
        check();
    }
    REQUIRE(use_isa(before) == Status::ok);
}

}  // namespace tersor::testing
