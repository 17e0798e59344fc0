// Float rows, decoder: SSE4.1.
#if defined(__x86_64__)
#include "float_rows_decode_128.hpp"

namespace tersor {

FloatDecodeKernels float_decode_sse41(bool fast, int exponent_bits) { return kernels_128(fast, exponent_bits); }

}  // namespace tersor
#endif
