#include "tersor/crc32c.hpp"

#include <string_view>

#include "codec_checks.hpp"
#include "isa_checks.hpp"

using namespace tersor;
using namespace tersor::testing;

namespace {

Bytes bytes_of(std::string_view text) { return {text.begin(), text.end()}; }

// The definition, bit by bit.
std::uint32_t crc32c_by_bits(const Bytes& data) {
    std::uint32_t crc = 0xFFFFFFFF;
    for (const std::uint8_t byte : data) {
        crc ^= byte;
        for (int bit = 0; bit < 8; ++bit) crc = crc & 1 ? crc >> 1 ^ 0x82F63B78 : crc >> 1;
    }
    return ~crc;
}

Bytes counting(int first, int step) {
    Bytes data(32);
    for (int i = 0; i < 32; ++i) data[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(first + step * i);
    return data;
}

}  // namespace

TEST_CASE("crc32c: known vectors (RFC 3720 B.4 and the check value of the polynomial)") {
    CHECK(crc32c({}) == 0);
    CHECK(crc32c(bytes_of("123456789")) == 0xE3069283);
    CHECK(crc32c(Bytes(32, 0)) == 0x8A9136AA);
    CHECK(crc32c(Bytes(32, 255)) == 0x62A8AB43);
    CHECK(crc32c(counting(0, 1)) == 0x46DD794E);
    CHECK(crc32c(counting(31, -1)) == 0x113FDB5C);
}

TEST_CASE("crc32c: equals the definition at every length and alignment") {
    const Bytes data = uniform_bytes(80, 256);
    for (std::size_t begin = 0; begin < 8; ++begin)
        for (std::size_t end = begin; end <= data.size(); ++end) {
            const Bytes part(data.begin() + static_cast<std::ptrdiff_t>(begin), data.begin() + static_cast<std::ptrdiff_t>(end));
            CHECK(crc32c(std::span(data).subspan(begin, end - begin)) == crc32c_by_bits(part));
        }
}

TEST_CASE("crc32c: can be continued at any place") {
    const Bytes data = uniform_bytes(100, 256);
    for (std::size_t n = 0; n <= data.size(); ++n) CHECK(crc32c(std::span(data).subspan(n), crc32c(std::span(data).first(n))) == crc32c(data));
}

TEST_CASE("crc32c: every instruction set gives the same, in one piece or two") {
    const Bytes data = uniform_bytes(7777, 256);
    with_each_isa([&] {
        for (const std::size_t n : {255, 256, 257, 511, 512, 1024, 3071, 3072, 3073, 7000, 7777})
            for (const std::size_t begin : {0, 1, 7}) {
                if (begin + n > data.size()) continue;
                const std::span<const std::uint8_t> part = std::span(data).subspan(begin, n);
                const std::uint32_t expected = crc32c_by_bits(Bytes(part.begin(), part.end()));
                CHECK(crc32c(part) == expected);
                CHECK(crc32c(part.subspan(n / 3), crc32c(part.first(n / 3))) == expected);
            }
    });
}
