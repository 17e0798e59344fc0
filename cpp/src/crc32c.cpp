#include "tersor/crc32c.hpp"

#include <array>
#include <cstring>

#include "crc32c_kernels.hpp"
#include "tersor/isa.hpp"

namespace tersor {
namespace {

constexpr std::uint32_t kPolynomial = 0x82F63B78;  // 0x1EDC6F41 reflected

// kTables[k][b]: the CRC of byte b followed by k zero bytes ("slicing by eight").
constexpr std::array<std::array<std::uint32_t, 256>, 8> make_tables() {
    std::array<std::array<std::uint32_t, 256>, 8> tables{};
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
        std::uint32_t crc = byte;
        for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? kPolynomial : 0);
        tables[0][byte] = crc;
    }
    for (std::size_t k = 1; k < 8; ++k)
        for (std::size_t byte = 0; byte < 256; ++byte)
            tables[k][byte] = (tables[k - 1][byte] >> 8) ^ tables[0][tables[k - 1][byte] & 255];
    return tables;
}
constexpr auto kTables = make_tables();

// The vector code's share: moves the register over as many leading bytes as it takes, and returns their number.
std::size_t take_vectors([[maybe_unused]] std::span<const std::uint8_t> data, [[maybe_unused]] std::uint32_t& crc) {
#if defined(__x86_64__)
    if (isa() == Isa::avx512) {
        const std::size_t n_lines = data.size() / kCrcLine;
        crc = crc32c_lines_avx512(crc, data.data(), n_lines);
        return n_lines * kCrcLine;
    }
    std::size_t taken = 0;
    if (isa() == Isa::avx2) {
        const std::size_t n_blocks = data.size() / kCrcWideBlock;
        crc = crc32c_blocks_avx2(crc, data.data(), n_blocks);
        taken = n_blocks * kCrcWideBlock;
    }
    if (isa() != Isa::scalar) {
        const std::size_t n_blocks = (data.size() - taken) / kCrcBlock;
        crc = crc32c_blocks_sse41(crc, data.data() + taken, n_blocks);
        taken += n_blocks * kCrcBlock;
    }
    return taken;
#else
    return 0;
#endif
}

}  // namespace

std::uint32_t crc32c(std::span<const std::uint8_t> data, std::uint32_t previous) {
    std::uint32_t crc = ~previous;
    std::size_t i = take_vectors(data, crc);
    for (; i + 8 <= data.size(); i += 8) {
        const std::uint8_t* p = data.data() + i;
        const std::uint32_t low = crc ^ (std::uint32_t{p[0]} | std::uint32_t{p[1]} << 8 | std::uint32_t{p[2]} << 16 |
                                         std::uint32_t{p[3]} << 24);
        crc = kTables[7][low & 255] ^ kTables[6][low >> 8 & 255] ^ kTables[5][low >> 16 & 255] ^ kTables[4][low >> 24] ^
              kTables[3][p[4]] ^ kTables[2][p[5]] ^ kTables[1][p[6]] ^ kTables[0][p[7]];
    }
    for (; i < data.size(); ++i) crc = (crc >> 8) ^ kTables[0][(crc ^ data[i]) & 255];
    return ~crc;
}

}  // namespace tersor
