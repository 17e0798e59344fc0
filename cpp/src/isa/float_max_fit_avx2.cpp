// Level max, scales of rows and columns: the portable loops, compiled for AVX2.
#if defined(__x86_64__)
#include "../float_max_fit_kernels.hpp"

namespace tersor {

MaxFitKernels max_fit_avx2(int exponent_bits) { return fit_kernels(exponent_bits); }

}  // namespace tersor
#endif
