#include "float_words.hpp"

using namespace tersor;
using namespace tersor::testing;
using tersor::testing::Bytes;

TEST_CASE("float rows: weights, noise and single values round trip at all lengths, streams and lanes") {
    for_each_kind([](FloatFormat format, FloatCoder coder) {
        for (const std::size_t n : {0, 1, 2, 63, 64, 65, 1000, 2049})
            for (const std::size_t n_streams : {1, 2, 3, 8})
                for (const std::size_t lanes : {1, 2, 4, 8, 16, 32}) {
                    check_words(weights(n, 64, format), coder, {format, 64, n_streams, lanes});
                    check_words(random_words(n), coder, {format, 61, n_streams, lanes});
                }
        for (const std::size_t row_length : {1, 7, 4096}) check_words(weights(999, 50, format), coder, {format, row_length, 4, 4});
    });
}

TEST_CASE("float rows: special values round trip alone and among weights") {
    for_each_kind([](FloatFormat format, FloatCoder coder) {
        const Words special = special_words(format);
        for (const std::uint16_t word : special) check_words(Words(130, word), coder, {format, 64, 2, 2});
        Words mixed = weights(640, 64, format);
        for (std::size_t i = 0; i < special.size(); ++i) mixed[40 * i + 3] = special[i];
        std::copy(special.begin(), special.end(), mixed.begin() + 256);
        std::fill(mixed.begin() + 320, mixed.begin() + 384, std::uint16_t{0});  // a row of zeros
        check_words(mixed, coder, {format, 64, 2, 8});
        check_words(mixed, coder, {format, 64, 2, 8}, tables_for(mixed, {format, 64, 1, 1}));
    });
}

TEST_CASE("float rows: every one of the 65536 words round trips") {
    for_each_kind([](FloatFormat format, FloatCoder coder) {
        Words words(65536);
        for (std::size_t i = 0; i < words.size(); ++i) words[i] = static_cast<std::uint16_t>(i * 40503);
        check_words(words, coder, {format, 512, 4, 32});
    });
}

TEST_CASE("float rows: scales from the smallest to the greatest number round trip") {
    Words words(64 * 255);
    for (std::size_t i = 0; i < words.size(); ++i) words[i] = static_cast<std::uint16_t>((i / 64) << 7 | (i * 37 & 127));
    for (const FloatCoder coder : {FloatCoder::balanced, FloatCoder::fast}) check_words(words, coder, {kBF16, 64, 2, 4});
}

TEST_CASE("float rows: weights shrink") {
    const Words words = weights(1 << 16, 256, kBF16);
    const FloatRowsOptions options{kBF16, 256, 1, 32};
    const Tables tables = tables_for(words, options);
    const std::size_t balanced = encoded(words, FloatCoder::balanced, options, tables).size(), fast = encoded(words, FloatCoder::fast, options, tables).size();
    CHECK(balanced < 0.68 * 2 * static_cast<double>(words.size()));
    CHECK(fast < 0.69 * 2 * static_cast<double>(words.size()));
    CHECK(balanced < fast);
}

TEST_CASE("float rows: tables of another file only cost bytes") {
    for_each_kind([](FloatFormat format, FloatCoder coder) {
        const Tables tables = tables_for(Words(500, 0), {format, 64, 1, 1});
        check_words(weights(1000, 64, format), coder, {format, 64, 2, 2}, tables);
    });
}

TEST_CASE("float rows: missing or wrong tables are an error") {
    const Words words = weights(300, 64, kBF16);
    const Tables& tables = common_tables();
    for (const FloatCoder coder : {FloatCoder::balanced, FloatCoder::fast}) {
        const Bytes payload = encoded(words, coder, {kBF16, 64, 1, 1}, tables);
        Words out(words.size());
        CHECK(decode_float_rows(payload, kBF16, nullptr, nullptr, tables.side.tables[0], out) == Status::corrupt);
        CHECK(decode_float_rows(payload, kBF16, &tables.fast, &tables.balanced, tables.side.tables[0], out) == Status::corrupt);
        CHECK(decode_float_rows(payload, kBF16, &tables.side, &tables.side, tables.side.tables[0], out) == Status::corrupt);
        CHECK(decode_float_rows(payload, kBF16, &tables.balanced, &tables.fast, tables.fast.tables[0], out) == Status::corrupt);
    }
}

TEST_CASE("float rows: fields outside the format are refused") {
    const Words words(3, 0x3F80);  // one row: base and class are one byte each
    const Bytes payload = encoded(words, FloatCoder::fast, {kBF16, 3, 1, 1}, common_tables());
    REQUIRE(payload.size() > 7);
    Words out(words.size());
    // 0 coder, 1 shape class, 2 base, 3 row length, 4 streams, 5 log2(lanes)
    for (const auto& [at, value] : {std::pair{0, 2}, {0, 255}, {1, 4}, {1, 255}, {3, 0}, {4, 0}, {4, 9}, {5, 6}, {5, 255}}) {
        Bytes damaged = payload;
        damaged[static_cast<std::size_t>(at)] = static_cast<std::uint8_t>(value);
        CHECK(decode(damaged, kBF16, common_tables(), out) == Status::corrupt);
    }
}

TEST_CASE("float rows: a base or a row length of any size is refused or harmless") {
    const Words words(3, 0x3F80);
    const Bytes payload = encoded(words, FloatCoder::fast, {kBF16, 3, 1, 1}, common_tables());
    for (const std::size_t at : {2, 3})
        for (int bits = 0; bits < 64; ++bits) {
            Bytes damaged(payload.begin(), payload.begin() + static_cast<std::ptrdiff_t>(at));
            put_varint(damaged, (std::uint64_t{2} << bits) - 1);
            damaged.insert(damaged.end(), payload.begin() + static_cast<std::ptrdiff_t>(at) + 1, payload.end());
            Words out(words.size());
            const Status status = decode(damaged, kBF16, common_tables(), out);
            CHECK(status != Status::bad_argument);
            if (bits > 40) CHECK(status != Status::ok);
        }
}

TEST_CASE("float rows: every truncation and every byte behind the end is an error") {
    for_each_kind([](FloatFormat format, FloatCoder coder) {
        Words words = weights(300, 64, format), out(words.size());
        words[10] = 0, words[299] = 0x7FFF;
        Bytes payload = encoded(words, coder, {format, 64, 2, 2}, common_tables());
        for_each_truncation(payload, [&](const Bytes& cut) { CHECK(decode(cut, format, common_tables(), out) != Status::ok); });
        payload.push_back(0);
        CHECK(decode(payload, format, common_tables(), out) != Status::ok);
    });
}

TEST_CASE("float rows: damaged payloads stay inside their buffers") {
    for_each_kind([](FloatFormat format, FloatCoder coder) {
        Words words = weights(200, 32, format), out(words.size());
        words[10] = 0, words[150] = 0x7FFF;
        const Bytes payload = encoded(words, coder, {format, 32, 3, 2}, common_tables());
        const auto check = [&](const Bytes& damaged) { CHECK(decode(damaged, format, common_tables(), out) != Status::bad_argument); };
        for_each_flipped_bit(payload, check);
        for_random_damage(payload, 3000, check);
        for_noise(200, 2000, check);
    });
}

TEST_CASE("count_float_rows: counts every word in both histograms, every row once") {
    const Words words = weights(1000, 64, kBF16);
    FloatCounts counts;
    count_float_rows(words, {kBF16, 64, 1, 1}, 1, counts);
    std::uint64_t n_balanced = 0, n_fast = 0, n_rows = 0;
    for (const auto& table : counts.balanced)
        for (const auto n : table) n_balanced += n;
    for (const auto& table : counts.fast)
        for (const auto n : table) n_fast += n;
    for (const auto n : counts.row_classes) n_rows += n;
    CHECK(n_balanced == 1000);
    CHECK(n_fast == 1000);
    CHECK(n_rows == 16);
}
