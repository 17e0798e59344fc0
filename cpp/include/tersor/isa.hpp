// Which vector instructions the coders use. Chosen once, when first asked: the best that the machine has, or what the environment
// variable TERSOR_ISA names. Results never depend on it, only speed.
#pragma once
#include <span>
#include <string_view>

#include "tersor/status.hpp"

namespace tersor {

// sse41: SSE4.2 and POPCNT as well (x86-64-v2); avx2: BMI2, F16C and PCLMULQDQ as well (x86-64-v3); avx512: F, BW, DQ, VL, VBMI, VBMI2 and VPCLMULQDQ (Ice Lake, Zen 4).
enum class Isa { scalar, sse41, avx2, avx512, neon };

const char* name_of(Isa isa);

// What this machine runs, slowest first; begins with scalar.
std::span<const Isa> available_isas();

// The instruction set in use.
Isa isa();

// Uses another instruction set from now on: bad_argument if `name` is unknown or this machine lacks it. Not while coders run.
Status use_isa(std::string_view name);

}  // namespace tersor
