// Tables that the file itself brings, and streams coded with them. Input: u8 log2 of the symbols, u8 precision, u8 tables, u8 classes, u16 bytes
// of frequencies, i32 first class; raw bits, class map, frequencies; then a payload that every decoder gets.
#include "fuzz.hpp"
#include "tersor/codes.hpp"
#include "tersor/float_rows.hpp"
#include "tersor/integers.hpp"

namespace tersor::fuzz {
namespace {

constexpr std::size_t kRows = 6, kColumns = 40;

Bytes join(int symbols, int precision, const Bytes& raw_bits, int first_class, const Bytes& class_map, const Bytes& frequencies) {
    Bytes seed;
    std::uint8_t log_symbols = 0;
    while (1 << log_symbols < symbols) ++log_symbols;
    seed.insert(seed.end(), {log_symbols, static_cast<std::uint8_t>(precision), static_cast<std::uint8_t>(raw_bits.size()), static_cast<std::uint8_t>(class_map.size())});
    put_little_endian(seed, static_cast<std::uint16_t>(frequencies.size()));
    put_little_endian(seed, static_cast<std::uint32_t>(first_class));
    for (const Bytes* part : {&raw_bits, &class_map, &frequencies}) seed.insert(seed.end(), part->begin(), part->end());
    return seed;
}

void check_alias_table(const AliasTable& table) {
    std::uint32_t sum = 0;
    for (const std::uint16_t f : table.frequency) sum += f;
    require(sum == 1u << table.precision, "frequencies of an accepted table add up to 2^precision");
    for (const AliasTable::Bucket& bucket : table.bucket) require(bucket.alias < table.symbols, "an alias is a symbol");
}

void decode_with(const TableSet& set, ByteSpan payload) {
    std::vector<std::int32_t> values(kRows * kColumns), classes(kColumns, 1);
    std::vector<std::uint16_t> words(values.size());
    for (const AliasTable& table : set.tables) {
        check_alias_table(table);
        ByteReader in(payload);
        decode_integers(in, table, -32768, 32767, values);
    }
    for (const std::size_t trellis_rows : {0, 4}) {
        ByteReader in(payload);
        decode_codes(in, {kRows, kColumns, std::span(classes).first(kRows), classes, trellis_rows}, set, values);
    }
    if (!set.tables.empty()) decode_float_rows(payload, kBF16, &set, &set, set.tables[0], words);
}

}  // namespace

void fuzz(ByteSpan input) {
    ByteReader in(input);
    const int symbols = 1 << in.u8() % 10, precision = in.u8();
    const std::size_t n_tables = in.u8(), n_classes = in.u8(), n_frequencies = in.little_endian(2);
    const auto first_class = static_cast<std::int32_t>(in.little_endian(4));
    const Bytes raw_bits = own(in.bytes(n_tables)), class_map = own(in.bytes(n_classes)), frequencies = own(in.bytes(n_frequencies));
    TableSet set;
    const Status status = TableSet::build(symbols, precision, raw_bits, frequencies, first_class, class_map, set);
    require(status != Status::bad_argument, "damage is no bad argument");
    if (status == Status::ok) decode_with(set, own(in.rest()));
}

std::vector<Bytes> seeds() {
    std::vector<Bytes> seeds;
    Random random;
    std::vector<std::int32_t> values(kRows * kColumns);
    for (auto& value : values) value = random.bell(20);
    for (const int symbols : {16, 32, 64, 128})
        for (const int precision : {8, 12})
            for (const std::size_t n_tables : {1, 4, 16}) {
                if (precision == 8 && symbols != 16) continue;
                std::vector<std::uint16_t> all;
                for (std::size_t t = 0; t < n_tables; ++t) {
                    const auto table = bell_frequencies(symbols, precision, symbols / 2, 0.5 + 0.02 * static_cast<double>(t));
                    all.insert(all.end(), table.begin(), table.end());
                }
                const Bytes raw_bits(n_tables, 1), class_map(8, 0), frequencies = pack_frequencies(all);
                Bytes seed = join(symbols, precision, raw_bits, -4, class_map, frequencies);
                TableSet set;
                require(TableSet::build(symbols, precision, raw_bits, frequencies, -4, class_map, set) == Status::ok, "seeds build");
                if (precision == 12) encode_integers(values, set.tables[0], seed);
                seeds.push_back(seed);
            }
    return seeds;
}

}  // namespace tersor::fuzz
