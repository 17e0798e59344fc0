#include "join_bytes.hpp"

#include <algorithm>
#include <cstring>

namespace tersor {
namespace {

constexpr std::size_t kChunk = 512;

// Chunk by chunk: fill(first, upper, chunk, n) puts the elements from `first` on together in memory that overlaps nothing.
template <class Fill>
void by_chunks(std::uint8_t* out, std::size_t n, Fill fill) {
    std::uint16_t upper[kChunk];
    for (std::size_t first = 0; first < n; first += kChunk) {
        const std::size_t n_chunk = std::min(kChunk, n - first);
        std::memcpy(upper, out + 2 * n + 2 * first, 2 * n_chunk);
        fill(first, upper, out + 4 * first, n_chunk);
    }
}

// A fixed count lets compilers vectorise without a loop for what is left over.
template <class Element>
void join(const std::uint16_t* __restrict upper, std::uint8_t* __restrict out, std::size_t n, Element low_half) {
    for (std::size_t i = 0; i < n; ++i) {
        const std::uint32_t element = low_half(i) | static_cast<std::uint32_t>(upper[i]) << 16;
        std::memcpy(out + 4 * i, &element, 4);
    }
}

}  // namespace

void join_planes(const std::uint8_t* low, const std::uint8_t* middle, std::uint8_t* out, std::size_t n) {
    by_chunks(out, n, [&](std::size_t first, const std::uint16_t* upper, std::uint8_t* to, std::size_t n_chunk) {
        const std::uint8_t *__restrict a = low + first, *__restrict b = middle + first;
        join(upper, to, n_chunk, [=](std::size_t i) { return a[i] | static_cast<std::uint32_t>(b[i]) << 8; });
    });
}

void join_halves(const std::uint16_t* low, std::uint8_t* out, std::size_t n) {
    by_chunks(out, n, [&](std::size_t first, const std::uint16_t* upper, std::uint8_t* to, std::size_t n_chunk) {
        const std::uint16_t* __restrict a = low + first;
        join(upper, to, n_chunk, [=](std::size_t i) { return std::uint32_t{a[i]}; });
    });
}

}  // namespace tersor
