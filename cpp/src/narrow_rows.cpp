#include "tersor/narrow_rows.hpp"

#include <bit>

namespace tersor {
namespace {

constexpr int kWordBits = 16;

}  // namespace

void trailing_zeros(const std::uint16_t* words, std::size_t columns, std::size_t row_stride, std::span<std::uint8_t> zeros) {
    for (std::size_t row = 0; row < zeros.size(); ++row) {
        const std::uint16_t* low = words + row * row_stride;
        unsigned used = 0;
        for (std::size_t j = 0; j < columns && (used & 1) == 0; ++j) used |= low[2 * j];  // nearly all rows use the lowest bit soon
        zeros[row] = static_cast<std::uint8_t>(used ? std::countr_zero(used) : kWordBits);
    }
}

Bytes pack_narrow_rows(std::span<const std::uint16_t> words, std::size_t columns, std::span<const std::uint8_t> trailing_zeros) {
    Bytes out;
    BitWriter bits(out);
    for (std::size_t row = 0; row < trailing_zeros.size(); ++row) {
        const int zeros = trailing_zeros[row];
        if (zeros == 0) continue;
        for (const std::uint16_t word : words.subspan(row * columns, columns)) bits.put(static_cast<std::uint32_t>(word) >> zeros, kWordBits - zeros);
    }
    bits.flush();
    return out;
}

Status unpack_narrow_rows(ByteSpan payload, std::size_t columns, std::span<const std::uint8_t> trailing_zeros, std::span<std::uint16_t> words) {
    BitReader bits(payload);
    for (std::size_t row = 0; row < trailing_zeros.size(); ++row) {
        const int zeros = trailing_zeros[row];
        if (zeros == 0) continue;
        if (zeros > kWordBits) return Status::corrupt;
        for (std::uint16_t& word : words.subspan(row * columns, columns)) word = static_cast<std::uint16_t>(bits.get(kWordBits - zeros) << zeros);
        if (bits.failed()) return Status::truncated;
    }
    return bits.finished() ? Status::ok : Status::corrupt;
}

}  // namespace tersor
