#include "tersor/bytes.hpp"

#include <limits>

#include "codec_checks.hpp"

using tersor::BitReader;
using tersor::BitWriter;
using tersor::ByteReader;
using tersor::ByteSpan;
using tersor::put_varint;
using tersor::unzigzag;
using tersor::zigzag;
using namespace tersor::testing;

namespace {

constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();

bool refuses_varint(const Bytes& data) {
    ByteReader in{ByteSpan(data)};
    return in.varint() == 0 && in.failed();
}

}  // namespace

TEST_CASE("zigzag: is its own definition and can be undone") {
    CHECK(zigzag(0) == 0);
    CHECK(zigzag(-1) == 1);
    CHECK(zigzag(1) == 2);
    for (const std::int64_t v : {INT64_MIN, INT64_MIN + 1, std::int64_t{-300}, std::int64_t{300}, INT64_MAX}) CHECK(unzigzag(zigzag(v)) == v);
    CHECK(zigzag(INT64_MIN) == kMax);
}

TEST_CASE("varint: every bit length round trips in its shortest form") {
    for (int bits = 0; bits < 64; ++bits)
        for (const std::uint64_t v : {(std::uint64_t{1} << bits) - 1, std::uint64_t{1} << bits, kMax >> (63 - bits)}) {
            Bytes data;
            put_varint(data, v);
            ByteReader in{ByteSpan(data)};
            CHECK(in.varint() == v);
            CHECK(in.at_end());
            CHECK(!in.failed());
        }
}

TEST_CASE("varint: long, cut and oversized forms are refused") {
    CHECK(refuses_varint({}));
    CHECK(refuses_varint({0x80}));
    CHECK(refuses_varint({0x80, 0x00}));  // 0 in two bytes
    CHECK(refuses_varint({0xFF, 0x80, 0x00}));
    CHECK(refuses_varint({0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02}));  // 2^64 and more
    CHECK(refuses_varint({0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01}));
}

TEST_CASE("byte reader: a failure lasts, and gives zeros") {
    const Bytes data = {1, 2, 3};
    ByteReader in{ByteSpan(data)};
    CHECK(in.u8() == 1);
    CHECK(in.bytes(3).empty());
    CHECK(in.failed());
    CHECK(in.remaining() == 2);
    CHECK(in.bytes(std::numeric_limits<std::size_t>::max()).empty());
    CHECK(in.little_endian(2) == 0x0302);  // what is there can still be read, the failure stays
    CHECK(in.failed());
}

TEST_CASE("byte reader: a length beyond its limit is a failure") {
    const Bytes data = {5, 5};
    ByteReader in{ByteSpan(data)};
    CHECK(in.length(5) == 5);
    CHECK(in.length(4) == 0);
    CHECK(in.failed());
}

TEST_CASE("bits: numbers of 0 to 32 bits round trip, lowest bit first") {
    Bytes data;
    BitWriter out(data);
    for (int n = 0; n <= 32; ++n) out.put(n == 32 ? 0xDEADBEEF : 0xDEADBEEF & ((1u << n) - 1), n);
    out.flush();
    CHECK(data.size() == (32 * 33 / 2 + 7) / 8);
    CHECK((data[0] & 1) == 1);
    BitReader in{ByteSpan(data)};
    for (int n = 0; n <= 32; ++n) CHECK(in.get(n) == (n == 32 ? 0xDEADBEEF : 0xDEADBEEF & ((1u << n) - 1)));
    CHECK(in.finished());
}

TEST_CASE("bits: a stream that ends early, late or in a one is not finished") {
    const auto finished_after = [](int n_bits, const Bytes& data) {
        BitReader in{ByteSpan(data)};
        in.get(n_bits);
        return in.finished();
    };
    CHECK(finished_after(9, {0xFF, 0x01}));
    CHECK(!finished_after(8, {0xFF, 0x01}));
    CHECK(!finished_after(17, {0xFF, 0x01}));
    CHECK(!finished_after(9, {0xFF, 0x81}));
    CHECK(!finished_after(9, {0xFF, 0x01, 0x00}));
}
