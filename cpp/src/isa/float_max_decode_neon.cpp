// Level max, decoder: NEON, which every 64-bit ARM processor has.
#if defined(__aarch64__)
#include "float_max_decode_128.hpp"

namespace tersor {

MaxDecodeKernels max_decode_neon(int exponent_bits) { return max_kernels_128(exponent_bits); }

}  // namespace tersor
#endif
