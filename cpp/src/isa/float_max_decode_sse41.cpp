// Level max, decoder: SSE4.1.
#if defined(__x86_64__)
#include "float_max_decode_128.hpp"

namespace tersor {

MaxDecodeKernels max_decode_sse41(int exponent_bits) { return max_kernels_128(exponent_bits); }

}  // namespace tersor
#endif
