#include <doctest/doctest.h>

#include <vector>

#include "tersor/narrow_rows.hpp"

using namespace tersor;

namespace {

const std::vector<std::uint8_t> kZeros = {13, 0, 16, 3};
constexpr std::size_t kColumns = 5;

std::vector<std::uint16_t> sample() {
    std::vector<std::uint16_t> words(kZeros.size() * kColumns);
    for (std::size_t i = 0; i < words.size(); ++i) words[i] = static_cast<std::uint16_t>((i * 40503u + 77u) >> kZeros[i / kColumns] << kZeros[i / kColumns]);
    return words;
}

}  // namespace

TEST_CASE("narrow rows come back, others stay as they were") {
    const auto words = sample();
    const Bytes packed = pack_narrow_rows(words, kColumns, kZeros);
    CHECK(packed.size() == (kColumns * (3 + 0 + 13) + 7) / 8);
    std::vector<std::uint16_t> out(words.size(), 1);
    REQUIRE(unpack_narrow_rows(packed, kColumns, kZeros, out) == Status::ok);
    for (std::size_t i = 0; i < out.size(); ++i) CHECK(out[i] == (i / kColumns == 1 ? 1 : words[i]));
}

TEST_CASE("truncated, longer and forged bit streams are refused") {
    const auto words = sample();
    Bytes packed = pack_narrow_rows(words, kColumns, kZeros);
    std::vector<std::uint16_t> out(words.size());
    CHECK(unpack_narrow_rows(ByteSpan(packed).first(packed.size() - 1), kColumns, kZeros, out) == Status::truncated);
    packed.push_back(0);
    CHECK(unpack_narrow_rows(packed, kColumns, kZeros, out) == Status::corrupt);
    const std::vector<std::uint8_t> forged = {17, 0, 16, 3};
    CHECK(unpack_narrow_rows(packed, kColumns, forged, out) == Status::corrupt);
}
