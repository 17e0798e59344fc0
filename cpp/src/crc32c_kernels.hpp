// CRC-32C by instruction; see float_rows_kernels.hpp on what such files may include.
#pragma once
#include <cstddef>
#include <cstdint>

namespace tersor {

// Take whole blocks of `kCrcBlock` or `kCrcWideBlock` bytes, or lines of `kCrcLine`; `crc` is the register, not yet inverted. Return it after all.
constexpr std::size_t kCrcBlock = 3 * 1024, kCrcWideBlock = 4608;
constexpr std::size_t kCrcLine = 256;
#if defined(__x86_64__)
std::uint32_t crc32c_blocks_sse41(std::uint32_t crc, const std::uint8_t* data, std::size_t n_blocks);
std::uint32_t crc32c_blocks_avx2(std::uint32_t crc, const std::uint8_t* data, std::size_t n_blocks);
std::uint32_t crc32c_lines_avx512(std::uint32_t crc, const std::uint8_t* data, std::size_t n_lines);
#endif

}  // namespace tersor
