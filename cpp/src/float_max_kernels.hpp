// The vector code of level max. As in float_rows_kernels.hpp, files of an instruction set include nothing else that defines functions.
#pragma once
#include <cstddef>
#include <cstdint>

namespace tersor {

constexpr std::size_t kMaxGroup = 32;  // elements that vector code takes at a time: one of each lane
constexpr std::size_t kMaxSlack = 64;  // vector loads reach at most so far behind the bytes that a group uses

// What a row's words are coded with, column by column.
struct MaxRow {
    const std::uint16_t* first_entry;  // of each column's table
    const std::uint16_t* addends;
    std::uint16_t addend;  // of the row, to be added to those of the columns
};

// A stream on its way through whole rows.
struct MaxDecodeCursor {
    alignas(64) std::uint32_t states[kMaxGroup];
    const std::uint8_t* words;
    const std::uint8_t* raw;
    std::uint16_t* out;
    std::uint32_t* escaped;  // where a mask of the escapes among its elements is left for each group; they get their signs and fields later
};

struct MaxDecodeJob {
    const std::uint64_t* entries;  // TableSet::max_entries
    std::size_t groups;            // of a row
};

// Decodes one row of each of its cursors. May read up to `kMaxSlack` bytes behind all words and raw bits that a row can use.
using MaxDecodeKernel = void (*)(MaxDecodeCursor* cursors, const MaxRow* rows, const MaxDecodeJob& job);

struct MaxDecodeKernels {
    MaxDecodeKernel one, two;  // by number of streams in lockstep; null if one after the other is as fast
};

// Writes for each of n words of a row where its symbol stands among the symbols of all tables; out overlaps nothing.
using MaxEntriesKernel = void (*)(const std::uint16_t* words, const MaxRow& row, std::size_t n, std::uint16_t* out);

#if defined(__aarch64__)
MaxDecodeKernels max_decode_neon(int exponent_bits);
#endif
#if defined(__x86_64__)
// For words with 8 (BF16) or 5 (F16) exponent bits.
MaxDecodeKernels max_decode_avx512(int exponent_bits);
MaxDecodeKernels max_decode_avx2(int exponent_bits);
MaxDecodeKernels max_decode_sse41(int exponent_bits);
MaxEntriesKernel max_entries_avx2(int exponent_bits);
#endif

// ---- shared by the kernels

// A MaxEntriesKernel in 16-bit arithmetic throughout, which compilers vectorise for whatever they compile for.
template <int exponent_bits>
static inline void fill_entries(const std::uint16_t* __restrict words, const MaxRow& row, std::size_t n, std::uint16_t* __restrict out) {
    constexpr int raw_bits = 13 - exponent_bits;
    const std::uint16_t row_addend = row.addend;
    const std::uint16_t *__restrict first_entry = row.first_entry, *__restrict addends = row.addends;
    for (std::size_t j = 0; j < n; ++j) {
        const auto u = static_cast<std::uint16_t>(words[j] - addends[j] - row_addend);
        const auto x = static_cast<std::uint16_t>(static_cast<std::uint16_t>(u & 0x7FFF) >> raw_bits);
        const auto symbol = static_cast<std::uint16_t>((u >> 9 & 64) | x);
        const auto coded = static_cast<std::uint16_t>(static_cast<std::uint16_t>(x - 4) < 60 ? 0xFFFF : 0);
        out[j] = static_cast<std::uint16_t>(first_entry[j] + (symbol & coded));
    }
}

static inline void prefetch_max(const std::uint8_t* raw, const std::uint8_t* words, const std::uint16_t* out) {
    constexpr std::size_t distance = 512;
    __builtin_prefetch(raw + distance);
    __builtin_prefetch(words + distance);
    __builtin_prefetch(out + distance, 1);
}

}  // namespace tersor
