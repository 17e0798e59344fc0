// Codes of grids, decoder: SSE4.1.
#if defined(__x86_64__)
#include "codes_decode_128.hpp"

namespace tersor {

CodeKernels codes_decode_sse41(int symbols_of_one_table, bool trellis) { return code_kernels_128(symbols_of_one_table, trellis); }

}  // namespace tersor
#endif
