// Level max, the symbols of a row: the portable loop, compiled for AVX2.
#if defined(__x86_64__)
#include "../float_max_kernels.hpp"

namespace tersor {

MaxEntriesKernel max_entries_avx2(int exponent_bits) { return exponent_bits == 8 ? fill_entries<8> : fill_entries<5>; }

}  // namespace tersor
#endif
