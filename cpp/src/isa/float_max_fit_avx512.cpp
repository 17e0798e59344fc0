// Level max, scales of rows and columns: the portable loops, compiled for AVX-512.
#if defined(__x86_64__)
#include "../float_max_fit_kernels.hpp"

namespace tersor {

MaxFitKernels max_fit_avx512(int exponent_bits) { return fit_kernels(exponent_bits); }

}  // namespace tersor
#endif
