// Float rows, decoder: NEON, which every 64-bit ARM processor has.
#if defined(__aarch64__)
#include "float_rows_decode_128.hpp"

namespace tersor {

FloatDecodeKernels float_decode_neon(bool fast, int exponent_bits) { return kernels_128(fast, exponent_bits); }

}  // namespace tersor
#endif
