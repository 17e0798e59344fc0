// Plain loops that vectorise: where the compiler can make several versions of a function and choose one when the library is loaded, wider
// registers are used. The results are the same: products and sums are never contracted (-ffp-contract=off).
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && !defined(TERSOR_NO_CLONES)
#define TERSOR_VECTOR_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define TERSOR_VECTOR_CLONES
#endif
