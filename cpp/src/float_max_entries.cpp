#include "float_max.hpp"
#include "tersor/isa.hpp"

namespace tersor {

void entries_of_row(int exponent_bits, const std::uint16_t* words, const MaxRow& row, std::size_t n, std::uint16_t* out) {
    MaxEntriesKernel kernel = exponent_bits == 8 ? fill_entries<8> : fill_entries<5>;
#if defined(__x86_64__)
    if (isa() == Isa::avx2 || isa() == Isa::avx512) kernel = max_entries_avx2(exponent_bits);
#endif
    kernel(words, row, n, out);
}

}  // namespace tersor
