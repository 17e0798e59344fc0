// CRC-32C by instruction; see float_rows_kernels.hpp on what such files may include.
#pragma once
#include <cstddef>
#include <cstdint>

namespace tersor {

// Takes whole blocks of `kCrcBlock` bytes; `crc` is the register, not yet inverted. Returns it after n_blocks of them.
constexpr std::size_t kCrcBlock = 3 * 1024;
#if defined(__x86_64__)
std::uint32_t crc32c_blocks_sse41(std::uint32_t crc, const std::uint8_t* data, std::size_t n_blocks);
#endif

}  // namespace tersor
