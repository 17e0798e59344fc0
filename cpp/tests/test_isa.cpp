// Vector code equals the portable code bit for bit, and stays inside its buffers, with every instruction set of this machine.
#include "tersor/isa.hpp"

#include <string>

#include "float_words.hpp"
#include "isa_checks.hpp"
#include "tersor/crc32c.hpp"

using namespace tersor;
using namespace tersor::testing;
using tersor::testing::Bytes;

namespace {

struct Shape {
    std::size_t n, row_length, n_streams;
};
// Rows of one group, several and many; streams of unequal length; a last row that is shorter; streams without rows.
constexpr Shape kShapes[] = {{32, 32, 1},    {64, 64, 1},       {4096, 64, 1},     {4096, 64, 2},     {8192, 256, 4},   {8192 + 40, 256, 4}, {6400, 64, 3},
                             {10016, 32, 8}, {32 * 7, 32, 8},   {65536, 4096, 4},  {65536, 4096, 5},  {96 * 50, 96, 6}, {1000, 512, 2},      {512, 512, 4}};

Words mixed_words(std::size_t n, FloatFormat format) {
    Words words = weights(n, 96, format);
    const Words special = special_words(format);
    for (std::size_t i = 0; i < n; i += 29) words[i] = special[i % special.size()];
    return words;
}

}  // namespace

TEST_CASE("isa: names are known, unknown ones refused") {
    const std::string before = name_of(isa());
    for (const Isa each : available_isas()) {
        CHECK(use_isa(name_of(each)) == Status::ok);
        CHECK(isa() == each);
    }
    for (const char* name : {"", "AVX2", "avx", "sse42"}) CHECK(use_isa(name) == Status::bad_argument);
    CHECK(use_isa("scalar") == Status::ok);
    CHECK(use_isa(before) == Status::ok);
}

TEST_CASE("isa: float rows are the same bytes and decode to the same words everywhere") {
    for_each_kind([](FloatFormat format, FloatCoder coder) {
        for (const Shape& shape : kShapes)
            for (const Words& words : {weights(shape.n, shape.row_length, format), mixed_words(shape.n, format), random_words(shape.n), Words(shape.n, 0x3C00)}) {
                const FloatRowsOptions options{format, shape.row_length, shape.n_streams, 32};
                const Tables tables = tables_for(words, options);
                REQUIRE(use_isa("scalar") == Status::ok);
                const Bytes portable = encoded(words, coder, options, tables);
                with_each_isa([&] {
                    CHECK(encoded(words, coder, options, tables) == portable);
                    Words out(words.size());
                    CHECK(decode(portable, format, tables, out) == Status::ok);
                    CHECK(out == words);
                });
            }
    });
}

TEST_CASE("isa: histograms are the same everywhere") {
    for (const FloatFormat format : {kBF16, kF16}) {
        const Words words = mixed_words(10000, format);
        REQUIRE(use_isa("scalar") == Status::ok);
        FloatCounts portable;
        count_float_rows(words, {format, 96, 1, 1}, 1, portable);
        with_each_isa([&] {
            FloatCounts counts;
            count_float_rows(words, {format, 96, 1, 1}, 1, counts);
            CHECK(counts.balanced == portable.balanced);
            CHECK(counts.fast == portable.fast);
            CHECK(counts.row_classes == portable.row_classes);
        });
    }
}

TEST_CASE("isa: rows of the tiniest and the greatest numbers are the same bytes everywhere") {
    Words words(64 * 255);
    for (std::size_t i = 0; i < words.size(); ++i) words[i] = static_cast<std::uint16_t>((i / 64) << 7 | (i * 37 & 127));
    REQUIRE(use_isa("scalar") == Status::ok);
    const FloatRowsOptions options{kBF16, 64, 4, 32};
    const Bytes portable = encoded(words, FloatCoder::fast, options, common_tables());
    with_each_isa([&] { CHECK(encoded(words, FloatCoder::fast, options, common_tables()) == portable); });
}

TEST_CASE("isa: every truncation of a vector payload is an error") {
    for_each_kind([](FloatFormat format, FloatCoder coder) {
        Words words = mixed_words(1024, format), out(words.size());
        Bytes payload = encoded(words, coder, {format, 64, 2, 32}, common_tables());
        with_each_isa([&] {
            for_each_truncation(payload, [&](const Bytes& cut) { CHECK(decode(cut, format, common_tables(), out) != Status::ok); });
            Bytes longer = payload;
            longer.push_back(0);
            CHECK(decode(longer, format, common_tables(), out) != Status::ok);
        });
    });
}

TEST_CASE("isa: damaged vector payloads stay inside their buffers and are judged alike") {
    for_each_kind([](FloatFormat format, FloatCoder coder) {
        const Words words = mixed_words(2048, format);
        const Bytes payload = encoded(words, coder, {format, 128, 4, 32}, common_tables());
        const auto check = [&](const Bytes& damaged) {
            Words portable(words.size());
            REQUIRE(use_isa("scalar") == Status::ok);
            const Status expected = decode(damaged, format, common_tables(), portable);
            for (const Isa each : available_isas()) {
                REQUIRE(use_isa(name_of(each)) == Status::ok);
                Words out(words.size());
                const Status status = decode(damaged, format, common_tables(), out);
                CHECK((status == Status::ok) == (expected == Status::ok));
                if (status == Status::ok) CHECK(out == portable);
            }
        };
        const std::string before = name_of(isa());
        for_random_damage(payload, 1500, check);
        Bytes header(payload.begin(), payload.begin() + std::min<std::ptrdiff_t>(120, static_cast<std::ptrdiff_t>(payload.size())));
        for (std::size_t bit = 0; bit < 8 * header.size(); ++bit) {
            Bytes damaged = payload;
            damaged[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
            check(damaged);
        }
        REQUIRE(use_isa(before) == Status::ok);
    });
}

TEST_CASE("isa: CRC-32C is the same everywhere, at all lengths and offsets") {
    Random random;
    Bytes data(20000);
    for (auto& byte : data) byte = static_cast<std::uint8_t>(random.next());
    for (const std::size_t begin : {0, 1, 7})
        for (const std::size_t n : {0, 1, 7, 8, 100, 3071, 3072, 3073, 6144, 9999, 19000}) {
            const std::span part(data.data() + begin, n);
            REQUIRE(use_isa("scalar") == Status::ok);
            const std::uint32_t portable = crc32c(part, 123);
            with_each_isa([&] { CHECK(crc32c(part, 123) == portable); });
        }
}

TEST_CASE("LaneTable: quotients by reciprocals are exact or one too small, for every frequency") {
    for (std::uint32_t f = 1; f < 256; ++f) {
        const std::uint32_t reciprocal = f > 1 ? 65536 / f : 65535;
        for (std::uint32_t x = 0; x < f << 8; ++x) {
            const std::uint32_t quotient = x * reciprocal >> 16;
            REQUIRE(quotient <= x / f);
            REQUIRE(quotient + 1 >= x / f);
        }
    }
    for (std::uint32_t f = 1; f < 4096; ++f) {
        const float reciprocal = (1.0f - 3e-7f) / static_cast<float>(f);
        for (std::uint64_t q = 1; q <= 1u << 20; q = q * 9 / 8 + 1)
            for (const std::uint64_t x : {q * f - 1, q * f, q * f + f - 1}) {
                if (x >= std::uint64_t{f} << 20) continue;
                const auto quotient = static_cast<std::uint32_t>(static_cast<float>(static_cast<std::uint32_t>(x)) * reciprocal);
                REQUIRE(quotient <= x / f);
                REQUIRE(quotient + 1 >= x / f);
            }
    }
}
