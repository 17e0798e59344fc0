#include "tersor/alias_table.hpp"

#include <map>
#include <numeric>

#include "entropy_checks.hpp"
#include "tersor/rans.hpp"

using namespace tersor;
using namespace tersor::testing;
using tersor::testing::Bytes;

namespace {

// Frequencies of many forms: flat, steep, M - 1 beside 1 at all places, two symbols, random with gaps.
std::vector<Frequencies> cases(int symbols, int precision) {
    const auto k = static_cast<std::size_t>(symbols);
    const auto total = static_cast<std::uint16_t>(1 << precision);
    std::vector<Frequencies> result = {Frequencies(k, static_cast<std::uint16_t>(total / symbols)), bell(symbols, precision, 0.5), bell(symbols, precision, 0.95)};
    for (std::size_t s = 0; s < k; ++s) {
        Frequencies extreme(k);
        extreme[s] = static_cast<std::uint16_t>(total - 1);
        extreme[(s * 7 + 1) % k == s ? (s + 1) % k : (s * 7 + 1) % k] = 1;
        result.push_back(extreme);
        Frequencies ones(k, 1);
        ones[s] = static_cast<std::uint16_t>(total - (symbols - 1));
        result.push_back(ones);
    }
    Frequencies halves(k);
    halves.front() = halves.back() = static_cast<std::uint16_t>(total / 2);
    result.push_back(halves);
    Random random;
    for (int trial = 0; trial < 50; ++trial) {
        std::vector<std::uint64_t> counts(k);
        for (auto& count : counts) count = random.next() % 3 ? random.next() % (1u << random.next() % 20) : 0;
        counts[0] = 1;
        result.push_back(normalized(counts, precision));
    }
    return result;
}

// What docs/format.md 5.1 makes of a slot.
std::pair<std::uint32_t, std::int32_t> symbol_and_offset(const AliasTable& table, std::uint32_t slot) {
    const std::uint32_t b = slot >> table.bucket_shift;
    const auto w = static_cast<std::int32_t>(slot - (b << table.bucket_shift));
    const AliasTable::Bucket& bucket = table.bucket[b];
    return w < bucket.threshold ? std::pair{b, w} : std::pair{std::uint32_t{bucket.alias}, w + bucket.adjust};
}

void check_bijection(const AliasTable& table) {
    std::vector<std::vector<int>> seen(table.frequency.size());
    for (std::size_t s = 0; s < seen.size(); ++s) seen[s].assign(table.frequency[s], 0);
    const std::uint32_t total = 1u << table.precision;
    for (std::uint32_t slot = 0; slot < total; ++slot) {
        const auto [symbol, offset] = symbol_and_offset(table, slot);
        REQUIRE(offset >= 0);
        REQUIRE(offset < table.frequency[symbol]);
        ++seen[symbol][static_cast<std::size_t>(offset)];
        REQUIRE(table.slot[table.first[symbol] + static_cast<std::size_t>(offset)] == slot);
    }
    for (const auto& offsets : seen)
        for (const int n : offsets) REQUIRE(n == 1);
}

template <class Format>
void check_stream(const AliasTable& table, std::size_t n, std::size_t lanes) {
    Random random;
    std::vector<std::uint32_t> symbols(n);
    for (auto& s : symbols) s = symbol_and_offset(table, random.next() % (1u << table.precision)).first;
    StreamEncoder<Format> encoder(lanes);
    for (std::size_t i = n; i-- > 0;) encoder.put(i, table, symbols[i]);
    Bytes states, words;
    encoder.append_states(states);
    encoder.append_words(words);
    StreamDecoder<Format> decoder(states, words, lanes);
    for (std::size_t i = 0; i < n; ++i) REQUIRE(decoder.next(i, table) == symbols[i]);
    CHECK(decoder.finished());
}

Status build(int symbols, int precision, const Bytes& raw_bits, const Bytes& frequencies, int first_class = 0, const Bytes& class_map = {}) {
    TableSet set;
    return TableSet::build(symbols, precision, raw_bits, frequencies, first_class, class_map, set);
}

}  // namespace

TEST_CASE("alias table: every slot stands for one symbol and offset, and the encoder inverts it") {
    for (const auto& [symbols, precision] : {std::pair{16, 8}, {16, 12}, {32, 12}, {64, 12}, {128, 12}})
        for (const Frequencies& frequencies : cases(symbols, precision)) {
            AliasTable table;
            REQUIRE(AliasTable::build(frequencies, precision, table) == Status::ok);
            check_bijection(table);
        }
}

TEST_CASE("alias table: streams of both formats and all lanes round trip") {
    for (const auto& [symbols, precision] : {std::pair{16, 8}, {16, 12}, {32, 12}, {64, 12}, {128, 12}})
        for (const Frequencies& frequencies : cases(symbols, precision)) {
            AliasTable table;
            REQUIRE(AliasTable::build(frequencies, precision, table) == Status::ok);
            for (const std::size_t lanes : {1, 2, 4, 8, 16, 32})
                for (const std::size_t n : {0, 1, 33, 500}) precision == 12 ? check_stream<A12>(table, n, lanes) : check_stream<A8>(table, n, lanes);
        }
}

TEST_CASE("alias table: frequencies that do not add up are refused") {
    AliasTable table;
    Frequencies frequencies = bell(64, 12, 0.8);
    ++frequencies[3];
    CHECK(AliasTable::build(frequencies, 12, table) == Status::corrupt);
    frequencies[3] = static_cast<std::uint16_t>(frequencies[3] - 2);
    CHECK(AliasTable::build(frequencies, 12, table) == Status::corrupt);
    Frequencies one_symbol(64);
    one_symbol[5] = 4096;
    CHECK(AliasTable::build(one_symbol, 12, table) == Status::corrupt);
    CHECK(AliasTable::build(Frequencies(64), 12, table) == Status::corrupt);
    CHECK(AliasTable::build(Frequencies(128, 65535), 12, table) == Status::corrupt);
}

TEST_CASE("table set: frequencies round trip through their bit stream") {
    for (const auto& [symbols, precision] : {std::pair{16, 8}, {16, 12}, {128, 12}}) {
        const std::vector<Frequencies> tables = cases(symbols, precision);
        const TableSet set = make_set(symbols, precision, {tables.begin(), tables.begin() + 20});
        for (std::size_t t = 0; t < 20; ++t) CHECK(set.tables[t].frequency == tables[t]);
    }
}

TEST_CASE("table set: only the formats A12 and A8 exist") {
    const Bytes flat = pack_frequencies(Frequencies(16, 16));
    CHECK(build(16, 8, {0}, flat) == Status::ok);
    for (const auto& [symbols, precision] : {std::pair{16, 10}, {32, 8}, {17, 12}, {256, 12}, {0, 12}, {-16, 8}, {8, 8}, {16, 0}, {16, 31}})
        CHECK(build(symbols, precision, {0}, flat) == Status::corrupt);
}

TEST_CASE("table set: raw bits, classes and lengths are checked") {
    const Bytes flat = pack_frequencies(Frequencies(16, 16));
    CHECK(build(16, 8, {16}, flat) == Status::ok);
    CHECK(build(16, 8, {17}, flat) == Status::corrupt);
    CHECK(build(16, 8, {0}, flat, 0, {0, 1}) == Status::corrupt);
    CHECK(build(16, 8, {0}, flat, 1 << 20, {0}) == Status::corrupt);
    CHECK(build(16, 8, {0}, flat, -(1 << 20), {0}) == Status::corrupt);
    CHECK(build(16, 8, {}, {}, 0, {0}) == Status::corrupt);
    CHECK(build(16, 8, {}, {}) == Status::ok);
    Bytes longer = flat;
    longer.push_back(0);
    CHECK(build(16, 8, {0}, longer) == Status::corrupt);
}

TEST_CASE("table set: more tables than their bytes can hold are refused before they are allocated") {
    CHECK(build(16, 12, Bytes(256), Bytes(100)) == Status::truncated);
    CHECK(build(16, 12, Bytes(1 << 20), Bytes(1 << 24)) == Status::limit);
}

TEST_CASE("table set: every truncation is an error, damage is an error or a valid table") {
    const Frequencies frequencies = bell(64, 12, 0.8);
    const Bytes packed = pack_frequencies(frequencies);
    for_each_truncation(packed, [](const Bytes& cut) { CHECK(build(64, 12, {0}, cut) != Status::ok); });
    const auto check = [](const Bytes& damaged) {
        TableSet set;
        if (TableSet::build(64, 12, Bytes{0}, damaged, 0, {}, set) == Status::ok) check_bijection(set.tables[0]);
    };
    for_each_flipped_bit(packed, check);
    for_random_damage(packed, 2000, check);
    for_noise(300, 2000, check);
}

TEST_CASE("table set: classes beyond the ends of the map take its ends, for each half") {
    const TableSet set = make_set(16, 12, std::vector<Frequencies>(4, bell(16, 12, 0.5)), {.raw_bits = {}, .first_class = -2, .class_map = {0, 1, 2, 3, 1, 0}});
    for (const auto& [c, number] : std::map<int, int>{{-65536, 0}, {-2, 0}, {-1, 1}, {0, 2}, {3, 0}, {65534, 0}}) CHECK(set.number_of_class(c, 0, false) == number);
    for (const auto& [c, number] : std::map<int, int>{{-65536, 0}, {0, 2}, {1, 2}, {65534, 2}}) CHECK(set.number_of_class(c, 0, true) == number);
    for (const auto& [c, number] : std::map<int, int>{{-65536, 3}, {-2, 3}, {-1, 1}, {0, 0}, {65534, 0}}) CHECK(set.number_of_class(c, 1, true) == number);
}

TEST_CASE("table set: says whether all tables can code the escape") {
    Frequencies no_escape(16);
    no_escape[1] = no_escape[2] = 2048;
    CHECK(make_set(16, 12, {bell(16, 12, 0.5)}).has_escapes());
    CHECK(!make_set(16, 12, {bell(16, 12, 0.5), no_escape}).has_escapes());
}

TEST_CASE("normalize: adds up, keeps every symbol that occurs and gives nothing to the others") {
    Random random;
    for (int trial = 0; trial < 300; ++trial) {
        const int precision = trial % 2 ? 12 : 8;
        std::vector<std::uint64_t> counts(std::size_t{1} << (4 + trial % 4));
        for (auto& count : counts) count = random.next() % 2 ? std::uint64_t{random.next()} << random.next() % 30 : 0;
        counts[1] = 1, counts[2] = 5;
        const Frequencies frequencies = normalized(counts, precision);
        CHECK(std::accumulate(frequencies.begin(), frequencies.end(), 0) == 1 << precision);
        for (std::size_t s = 0; s < counts.size(); ++s) CHECK((counts[s] > 0) == (frequencies[s] > 0));
    }
}

TEST_CASE("normalize: a single symbol gets a partner, since no frequency may be 2^p") {
    for (const std::size_t used : {0, 1, 15}) {
        std::vector<std::uint64_t> counts(16);
        counts[used] = 1000;
        const Frequencies frequencies = normalized(counts, 12);
        CHECK(frequencies[used] == 4095);
        CHECK(std::accumulate(frequencies.begin(), frequencies.end(), 0) == 4096);
    }
}

TEST_CASE("normalize: comes near the shares of the counts") {
    const Frequencies frequencies = normalized({1000, 3000, 4000, 8000}, 12);
    CHECK(frequencies == Frequencies{256, 768, 1024, 2048});
}
