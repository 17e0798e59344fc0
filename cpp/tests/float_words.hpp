// What the tests of float rows share: weights, special words, tables made as a file makes them.
#pragma once

#include <bit>
#include <cmath>

#include "entropy_checks.hpp"
#include "tersor/float_rows.hpp"

namespace tersor::testing {


using Words = std::vector<std::uint16_t>;

inline std::uint16_t word_of(float value, FloatFormat format) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    if (format.exponent_bits == 8) return static_cast<std::uint16_t>(bits >> 16);
    const auto magnitude = std::bit_cast<std::uint32_t>(std::abs(value) * 0x1p-112f) >> 13;  // below 65536 only
    return static_cast<std::uint16_t>(bits >> 31 << 15 | magnitude);
}

// Like weights: a row of `row_length` words has a scale of its own, its values a bell shape.
inline Words weights(std::size_t n, std::size_t row_length, FloatFormat format) {
    Random random;
    Words words(n);
    float scale = 1;
    for (std::size_t i = 0; i < n; ++i) {
        if (i % row_length == 0) scale = std::exp2(static_cast<float>(random.next() % 1024) / 256 - 6);
        float value = -4;
        for (int k = 0; k < 8; ++k) value += static_cast<float>(random.next() % 4096) / 4096;
        words[i] = word_of(scale * value, format);
    }
    return words;
}

inline Words random_words(std::size_t n) {
    Random random;
    Words words(n);
    for (auto& word : words) word = static_cast<std::uint16_t>(random.next());
    return words;
}

// All that a row can hold besides weights: zeros of both signs, denormals, infinities, NaNs with payloads, the greatest numbers.
inline Words special_words(FloatFormat format) {
    const auto infinity = static_cast<std::uint16_t>(((1u << format.exponent_bits) - 1) << format.mantissa_bits);
    Words words;
    for (const std::uint16_t positive : {std::uint16_t{0}, std::uint16_t{1}, static_cast<std::uint16_t>((1u << format.mantissa_bits) - 1), static_cast<std::uint16_t>(infinity - 1),
                                         infinity, static_cast<std::uint16_t>(infinity + 1), std::uint16_t{0x7FFF}})
        for (const std::uint16_t sign : {0, 0x8000}) words.push_back(positive | sign);
    return words;
}

struct Tables {
    TableSet balanced, fast, side;
    const TableSet& of(FloatCoder coder) const { return coder == FloatCoder::balanced ? balanced : fast; }
};

inline std::vector<Frequencies> normalized_tables(std::span<const std::uint64_t> counts, std::size_t symbols, int precision) {
    std::vector<Frequencies> tables;
    for (std::size_t t = 0; t < kFloatTables; ++t) {
        std::vector<std::uint64_t> table(counts.begin() + static_cast<std::ptrdiff_t>(t * symbols), counts.begin() + static_cast<std::ptrdiff_t>((t + 1) * symbols));
        table[0] = std::max<std::uint64_t>(table[0], 1);
        tables.push_back(normalized(table, precision));
    }
    return tables;
}

// Tables made from `words`, as a file makes its own.
inline Tables tables_for(const Words& words, const FloatRowsOptions& options) {
    FloatCounts counts;
    count_float_rows(words, options, 1, counts);
    std::vector<std::uint64_t> classes(counts.row_classes.begin(), counts.row_classes.end());
    classes[0] = std::max<std::uint64_t>(classes[0], 1);
    return {make_set(64, 12, normalized_tables({counts.balanced[0].data(), kFloatTables * 64}, 64, 12)), make_set(16, 8, normalized_tables({counts.fast[0].data(), kFloatTables * 16}, 16, 8)),
            make_set(64, 12, {normalized(classes, 12)})};
}

inline const Tables& common_tables() {
    static const Tables tables = tables_for(weights(8192, 64, kBF16), {kBF16, 64, 1, 1});
    return tables;
}

inline Bytes encoded(const Words& words, FloatCoder coder, const FloatRowsOptions& options, const Tables& tables) {
    Bytes payload = encode_float_rows(words, coder, options, tables.of(coder), tables.side.tables[0]);
    payload.shrink_to_fit();
    return payload;
}

inline Status decode(const Bytes& payload, FloatFormat format, const Tables& tables, Words& words) {
    return decode_float_rows(payload, format, &tables.balanced, &tables.fast, tables.side.tables[0], words);
}

inline void check_words(const Words& words, FloatCoder coder, const FloatRowsOptions& options, const Tables& tables = common_tables()) {
    Words out(words.size());
    REQUIRE(decode(encoded(words, coder, options, tables), options.format, tables, out) == Status::ok);
    CHECK(out == words);
}

template <class Check>
void for_each_kind(Check check) {
    for (const FloatFormat format : {kBF16, kF16})
        for (const FloatCoder coder : {FloatCoder::balanced, FloatCoder::fast}) check(format, coder);
}

}  // namespace tersor::testing
