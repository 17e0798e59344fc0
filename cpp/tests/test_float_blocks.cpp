#include "tersor/float_blocks.hpp"

#include <cstring>

#include "float_words.hpp"
#include "isa_checks.hpp"
#include "tersor/crc32c.hpp"
#include "tersor/plane_bits.hpp"

using namespace tersor;
using namespace tersor::testing;
using tersor::testing::Bytes;

namespace {

constexpr std::size_t kRows = 64, kColumns = 96;
constexpr FloatBlockOptions kOptions{7, true};

FloatFormat format_of(FloatUnit unit) { return unit == FloatUnit::f16 ? kF16 : kBF16; }

Bytes bytes_of(const Words& words) {
    Bytes bytes(2 * words.size());
    std::memcpy(bytes.data(), words.data(), bytes.size());
    return bytes;
}

// Elements of a unit whose upper halves, or all, are these words; lower halves are noise.
Bytes elements_of(const Words& words, FloatUnit unit) {
    if (unit != FloatUnit::f32) return bytes_of(words);
    Words halves;
    const Words low = random_words(words.size());
    for (std::size_t i = 0; i < words.size(); ++i) halves.insert(halves.end(), {low[i], words[i]});
    return bytes_of(halves);
}

struct Coded {
    Bytes payload;
    std::uint32_t crc;
};

Coded coded(ByteSpan data, FloatUnit unit, FloatCoder coder, std::size_t rows = kRows, FloatBlockOptions options = kOptions, std::size_t room = 1 << 20) {
    const FloatRowsOptions rows_options{format_of(unit), kColumns, 2, 32};
    Bytes memory(room);
    const WordEncoder encode = [&](std::span<const std::uint16_t> words, std::size_t front, std::span<std::uint8_t> out) {
        return encode_float_rows(words, coder, rows_options, common_tables().of(coder), common_tables().side.tables[0], front, out);
    };
    const EncodedFloatBlock block = encode_float_block({data, rows, kColumns, unit}, encode, options, memory);
    return {{block.payload.begin(), block.payload.end()}, block.crc};
}

}  // namespace

TEST_CASE("float blocks: a payload is the form's prefix and what the words' own encoder makes, the same on every instruction set") {
    for (const FloatUnit unit : {FloatUnit::bf16, FloatUnit::f16, FloatUnit::f32})
        for (const FloatCoder coder : {FloatCoder::balanced, FloatCoder::fast}) {
            const Words words = weights(kRows * kColumns, kColumns, format_of(unit));
            const Bytes data = elements_of(words, unit);
            const Bytes upper = encoded(words, coder, {format_of(unit), kColumns, 2, 32}, common_tables());
            with_each_isa([&] {
                const Coded block = coded(data, unit, coder);
                REQUIRE(!block.payload.empty());
                CHECK(block.crc == crc32c(data));
                ByteReader in(block.payload);
                CHECK(in.u8() == 2);
                CHECK(in.u8() == static_cast<unsigned>(unit));
                if (unit == FloatUnit::f32) {
                    CHECK(in.varint() == upper.size());
                    for (int plane = 0; plane < 2; ++plane) {
                        CHECK(in.u8() == kOptions.raw_codec);
                        CHECK(in.varint() == words.size());
                    }
                }
                const ByteSpan payload = in.bytes(upper.size());
                CHECK(std::equal(payload.begin(), payload.end(), upper.begin(), upper.end()));
                if (unit == FloatUnit::f32)
                    for (std::size_t plane = 0; plane < 2; ++plane)
                        for (std::size_t i = 0; i < words.size(); ++i) REQUIRE(in.u8() == data[4 * i + plane]);
                CHECK(in.at_end());
            });
        }
}

TEST_CASE("float blocks: at an odd address the payload is the same") {
    for (const FloatUnit unit : {FloatUnit::bf16, FloatUnit::f32}) {
        const Bytes data = elements_of(weights(kRows * kColumns, kColumns, kBF16), unit);
        Bytes moved(data.size() + 1);
        std::copy(data.begin(), data.end(), moved.begin() + 1);
        CHECK(coded(ByteSpan(moved).subspan(1), unit, FloatCoder::balanced).payload == coded(data, unit, FloatCoder::balanced).payload);
    }
}

TEST_CASE("float blocks: what other forms may do better is left to them, its checksum known") {
    const Words bell = weights(kRows * kColumns, kColumns, kBF16);
    Words repeated = bell, few = bell;
    for (std::size_t i = kColumns; i < repeated.size(); ++i) repeated[i] = repeated[i % kColumns];
    for (std::size_t i = 0; i < few.size(); ++i) few[i] = static_cast<std::uint16_t>(0x3F80 + few[i] % 3);
    for (const Words& words : {Words(kRows * kColumns, 0x1234), repeated, few, random_words(kRows * kColumns)}) {
        const Bytes data = bytes_of(words);
        const Coded block = coded(data, FloatUnit::bf16, FloatCoder::balanced);
        CHECK(block.payload.empty());
        CHECK(block.crc == crc32c(data));
    }
}

TEST_CASE("float blocks: F32 rows with trailing zeros, or low halves of few values, are left to other forms") {
    const Words words = weights(kRows * kColumns, kColumns, kBF16);
    Bytes narrow = elements_of(words, FloatUnit::f32), few = narrow;
    for (std::size_t j = 0; j < kColumns; ++j) narrow[4 * (5 * kColumns + j)] &= 0xFE;
    for (std::size_t i = 0; i < words.size(); ++i) few[4 * i + 1] &= 15;
    CHECK(coded(narrow, FloatUnit::f32, FloatCoder::balanced).payload.empty());
    CHECK(!coded(narrow, FloatUnit::f32, FloatCoder::balanced, kRows, {7, false}).payload.empty());
    CHECK(coded(few, FloatUnit::f32, FloatCoder::balanced).payload.empty());
}

TEST_CASE("float blocks: too little memory gives no payload and touches nothing behind it") {
    const Bytes data = bytes_of(weights(kRows * kColumns, kColumns, kBF16));
    const std::size_t n = coded(data, FloatUnit::bf16, FloatCoder::fast).payload.size();
    for (const std::size_t room : {std::size_t{0}, std::size_t{1}, std::size_t{100}, n / 2, n - 1}) CHECK(coded(data, FloatUnit::bf16, FloatCoder::fast, kRows, kOptions, room).payload.empty());
    CHECK(!coded(data, FloatUnit::bf16, FloatCoder::fast, kRows, kOptions, float_block_room(data.size(), kRows)).payload.empty());
}

TEST_CASE("float blocks: counts of every second row are about half of all, doubled") {
    const Bytes data = bytes_of(weights(kRows * kColumns, kColumns, kBF16));
    FloatCounts all, half;
    const FloatBlock block{data, kRows, kColumns, FloatUnit::bf16};
    count_float_block(block, {kBF16, kColumns, 1, 1}, 1, all);
    count_float_block(block, {kBF16, kColumns, 1, 1}, 2, half);
    const auto sum = [](const FloatCounts& counts) {
        std::uint64_t n = 0;
        for (const auto& table : counts.balanced)
            for (const std::uint64_t count : table) n += count;
        return n;
    };
    CHECK(sum(all) == kRows * kColumns);
    CHECK(sum(half) == kRows * kColumns);
}

TEST_CASE("plane bits: bounds hold, and order 0 is met") {
    Bytes uniform(1 << 16), few(1 << 16);
    Random random;
    for (auto& byte : uniform) byte = static_cast<std::uint8_t>(random.next() >> 8);
    for (auto& byte : few) byte = static_cast<std::uint8_t>(random.next() >> 8 & 3);
    CHECK(plane_bits(uniform, 0, 1) > 7.9 * (1 << 16));
    CHECK(plane_bits(uniform, 0, 1) <= 8 * (1 << 16));
    CHECK(plane_bits(few, 1, 2) == doctest::Approx(2 * (1 << 15)).epsilon(0.02));
    CHECK(plane_bits({}, 0, 1) == 0);
    CHECK(plane_bits(ByteSpan(few).first(3), 0, 2) <= 8);
}
