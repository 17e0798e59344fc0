// Codes of grids, decoder: NEON, which every 64-bit ARM has.
#if defined(__aarch64__)
#include "codes_decode_128.hpp"

namespace tersor {

CodeKernels codes_decode_neon(int symbols_of_one_table, bool trellis) { return code_kernels_128(symbols_of_one_table, trellis); }

}  // namespace tersor
#endif
