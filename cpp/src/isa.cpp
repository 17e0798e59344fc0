#include "tersor/isa.hpp"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <vector>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace tersor {
namespace {

#if defined(__x86_64__)
bool has_f16c() {  // no name of it for __builtin_cpu_supports in older compilers
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
std::vector<Isa> detect() {
    std::vector<Isa> found{Isa::scalar};
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("sse4.2") || !__builtin_cpu_supports("popcnt")) return found;
    found.push_back(Isa::sse41);
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi") || !__builtin_cpu_supports("bmi2") || !__builtin_cpu_supports("pclmul") || !has_f16c())
        return found;
    found.push_back(Isa::avx2);
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("vpclmulqdq"))
        found.push_back(Isa::avx512);
    return found;
}
#elif defined(__aarch64__)
std::vector<Isa> detect() { return {Isa::scalar, Isa::neon}; }
#else
std::vector<Isa> detect() { return {Isa::scalar}; }
#endif

const std::vector<Isa>& detected() {
    static const std::vector<Isa> found = detect();
    return found;
}

const Isa* find(std::string_view name) {
    const auto& all = detected();
    const auto at = std::find_if(all.begin(), all.end(), [&](Isa isa) { return name == name_of(isa); });
    return at == all.end() ? nullptr : &*at;
}

// An unknown TERSOR_ISA is refused where there is someone to tell (bindings/isa.cpp); here it counts as unset.
std::atomic<Isa>& current() {
    static std::atomic<Isa> isa = [] {
        const char* name = std::getenv("TERSOR_ISA");
        const Isa* named = name ? find(name) : nullptr;
        return named ? *named : detected().back();
    }();
    return isa;
}

}  // namespace

const char* name_of(Isa isa) {
    switch (isa) {
        case Isa::sse41: return "sse41";
        case Isa::avx2: return "avx2";
        case Isa::avx512: return "avx512";
        case Isa::neon: return "neon";
        default: return "scalar";
    }
}

std::span<const Isa> available_isas() { return detected(); }

Isa isa() { return current().load(std::memory_order_relaxed); }

Status use_isa(std::string_view name) {
    const Isa* named = find(name);
    if (named == nullptr) return Status::bad_argument;
    current().store(*named, std::memory_order_relaxed);
    return Status::ok;
}

}  // namespace tersor
