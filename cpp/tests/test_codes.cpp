#include "tersor/codes.hpp"

#include <limits>

#include "isa_checks.hpp"

using namespace tersor;
using namespace tersor::testing;
using tersor::testing::Bytes;

namespace {

using Ints = std::vector<std::int32_t>;
constexpr std::int32_t kMin = std::numeric_limits<std::int32_t>::min(), kMax = std::numeric_limits<std::int32_t>::max();

// A matrix of codes with its classes; the spread of a code grows with its class.
struct Matrix {
    std::size_t rows, columns, trellis_rows;
    Ints codes, row_class, column_class;

    Matrix(std::size_t n_rows, std::size_t n_columns, std::size_t restart) : rows(n_rows), columns(n_columns), trellis_rows(restart), codes(rows * columns), row_class(rows), column_class(columns) {
        Random random;
        for (auto& c : row_class) c = static_cast<std::int32_t>(random.next() % 9) - 4;
        for (auto& c : column_class) c = static_cast<std::int32_t>(random.next() % 9) - 4;
        for (std::size_t i = 0; i < codes.size(); ++i) {
            const std::uint32_t spread = 2u << (row_class[i / columns] + column_class[i % columns] + 8) / 2;
            codes[i] = static_cast<std::int32_t>((random.next() % spread + random.next() % spread) / 2) - static_cast<std::int32_t>(spread / 2);
        }
    }
    CodeShape shape() const { return {rows, columns, row_class, column_class, trellis_rows}; }
};

// Two tables, narrow and wide with raw bits, over classes -3 .. 3; other tables for odd states.
TableSet grid_tables() {
    return make_set(64, 12, {bell(64, 12, 0.5), bell(64, 12, 0.9), bell(64, 12, 0.6), bell(64, 12, 0.8)},
                    {.raw_bits = {0, 3, 1, 16}, .first_class = -3, .class_map = {0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3}});
}

Bytes encoded(const Matrix& matrix, std::size_t n_streams, std::size_t lanes, const TableSet& tables) {
    Bytes payload = encode_codes(matrix.codes, matrix.shape(), n_streams, lanes, tables);
    payload.shrink_to_fit();
    return payload;
}

Status decode(const Bytes& payload, const CodeShape& shape, const TableSet& tables, Ints& codes) {
    ByteReader in{ByteSpan(payload)};
    return decode_codes(in, shape, tables, codes);
}

void check_matrix(const Matrix& matrix, std::size_t n_streams, std::size_t lanes) {
    const TableSet tables = grid_tables();
    Ints out(matrix.codes.size());
    REQUIRE(decode(encoded(matrix, n_streams, lanes, tables), matrix.shape(), tables, out) == Status::ok);
    CHECK(out == matrix.codes);
}

}  // namespace

TEST_CASE("codes: plain and trellis matrices of every shape round trip") {
    for (const auto& [rows, columns] : {std::pair<std::size_t, std::size_t>{1, 1}, {1, 300}, {300, 1}, {7, 33}, {65, 40}})
        for (const std::size_t trellis_rows : {0, 1, 2, 16, 64, 1000})
            for (const std::size_t n_streams : {1, 3, 8})
                for (const std::size_t lanes : {1, 2, 4, 8, 16, 32}) check_matrix({rows, columns, trellis_rows}, n_streams, lanes);
}

TEST_CASE("codes: matrices without rows or columns round trip") {
    for (const std::size_t trellis_rows : {0, 4})
        for (const std::size_t n_streams : {1, 8}) {
            check_matrix({0, 5, trellis_rows}, n_streams, 2);
            check_matrix({5, 0, trellis_rows}, n_streams, 2);
        }
}

TEST_CASE("codes: a restart after more rows than memory holds is no restart") {
    Matrix matrix(9, 5, std::numeric_limits<std::size_t>::max());
    check_matrix(matrix, 3, 4);
    const TableSet tables = grid_tables();
    const Bytes payload = encoded(matrix, 2, 1, tables);
    matrix.trellis_rows = 9;
    CHECK(payload == encoded(matrix, 2, 1, tables));
}

TEST_CASE("codes: classes at the ends of int16 and beyond the map take its ends") {
    Matrix matrix(6, 4, 0);
    matrix.row_class = {-32768, 32767, -32768, 32767, 0, 0};
    matrix.column_class = {-32768, 32767, -3, 4};
    check_matrix(matrix, 2, 2);
    matrix.trellis_rows = 3;
    check_matrix(matrix, 2, 2);
}

TEST_CASE("codes: the extremes of int32 round trip as escapes") {
    for (const std::size_t trellis_rows : {0, 2}) {
        Matrix matrix(4, 6, trellis_rows);
        matrix.codes[0] = matrix.codes[9] = kMin;
        matrix.codes[5] = matrix.codes[23] = kMax;
        matrix.codes[7] = kMin + 1;
        check_matrix(matrix, 2, 1);
    }
}

TEST_CASE("codes: a code outside int32 is refused") {
    const TableSet tables = make_set(64, 12, {bell(64, 12, 0.5)}, {.raw_bits = {16}, .first_class = 0, .class_map = {0}});
    Matrix matrix(1, 1, 0);
    matrix.codes[0] = kMax;
    const Bytes good = encoded(matrix, 1, 1, tables);
    Bytes old_escape, out_of_range, huge;
    put_varint(old_escape, zigzag(kMax >> 16));
    const auto at = std::search(good.begin(), good.end(), old_escape.begin(), old_escape.end());
    REQUIRE(at != good.end());
    for (const std::int64_t h : {std::int64_t{1} << 15, -(std::int64_t{1} << 15) - 1, std::int64_t{1} << 47, INT64_MAX, INT64_MIN}) {
        Bytes escape;
        put_varint(escape, zigzag(h));
        Bytes damaged(good.begin(), at);
        damaged.insert(damaged.end(), escape.begin(), escape.end());
        damaged.insert(damaged.end(), at + static_cast<std::ptrdiff_t>(old_escape.size()), good.end());
        damaged[3] = static_cast<std::uint8_t>(escape.size());  // streams, lanes, words, escapes
        Ints out(1);
        CHECK(decode(damaged, matrix.shape(), tables, out) == Status::corrupt);
    }
}

TEST_CASE("codes: tables that cannot code them are refused") {
    const Matrix matrix(3, 3, 0), trellis(3, 3, 1);
    const TableSet tables = grid_tables();
    const Bytes payload = encoded(matrix, 1, 1, tables);
    Ints out(9);
    const std::vector<Frequencies> one = {bell(64, 12, 0.5)};
    CHECK(decode(payload, matrix.shape(), make_set(64, 12, one), out) == Status::corrupt);  // no class map
    CHECK(decode(payload, matrix.shape(), TableSet{}, out) == Status::corrupt);
    CHECK(decode(payload, matrix.shape(), make_set(16, 8, {bell(16, 8, 0.5)}, {.raw_bits = {}, .first_class = 0, .class_map = {0}}), out) == Status::corrupt);
    CHECK(decode(payload, trellis.shape(), make_set(64, 12, one, {.raw_bits = {}, .first_class = 0, .class_map = {0}}), out) == Status::corrupt);
    CHECK(decode(payload, trellis.shape(), make_set(64, 12, one, {.raw_bits = {}, .first_class = 0, .class_map = {0, 0, 0}}), out) == Status::corrupt);
}

TEST_CASE("codes: numbers of streams and lanes outside the format are refused") {
    const Matrix matrix(3, 3, 0);
    const TableSet tables = grid_tables();
    const Bytes payload = encoded(matrix, 1, 1, tables);
    Ints out(9);
    for (const auto& [at, value] : {std::pair{0, 0}, {0, 9}, {0, 255}, {1, 6}, {1, 255}}) {
        Bytes damaged = payload;
        damaged[static_cast<std::size_t>(at)] = static_cast<std::uint8_t>(value);
        CHECK(decode(damaged, matrix.shape(), tables, out) == Status::corrupt);
    }
}

TEST_CASE("codes: every truncation and every byte behind the end is an error") {
    const TableSet tables = grid_tables();
    for (const std::size_t trellis_rows : {0, 4}) {
        const Matrix matrix(11, 13, trellis_rows);
        Ints out(matrix.codes.size());
        Bytes payload = encoded(matrix, 2, 2, tables);
        for_each_truncation(payload, [&](const Bytes& cut) { CHECK(decode(cut, matrix.shape(), tables, out) != Status::ok); });
        payload.push_back(0);
        CHECK(decode(payload, matrix.shape(), tables, out) == Status::corrupt);
    }
}

TEST_CASE("codes: damaged payloads stay inside their buffers") {
    const TableSet tables = grid_tables();
    for (const std::size_t trellis_rows : {0, 4}) {
        const Matrix matrix(11, 13, trellis_rows);
        Ints out(matrix.codes.size());
        const Bytes payload = encoded(matrix, 3, 2, tables);
        const auto check = [&](const Bytes& damaged) { CHECK(decode(damaged, matrix.shape(), tables, out) != Status::bad_argument); };
        for_each_flipped_bit(payload, check);
        for_random_damage(payload, 4000, check);
        for_noise(300, 3000, check);
    }
}

TEST_CASE("count_codes: counts every code once, by half and clamped class") {
    Matrix matrix(20, 10, 4);
    matrix.codes[3] = kMin, matrix.codes[150] = kMax;
    constexpr int range = 5, n_classes = 3;
    std::vector<std::uint64_t> counts(2 * n_classes * (2 * range + 1)), outside(2 * n_classes);
    count_codes(matrix.codes, matrix.shape(), -1, n_classes, range, counts, outside);
    std::uint64_t total = 0, expected_outside = 0, n_outside = 0;
    for (const auto n : counts) total += n;
    for (const auto n : outside) n_outside += n;
    for (const auto code : matrix.codes) expected_outside += code < -range || code > range;
    CHECK(n_outside == expected_outside);
    CHECK(total + n_outside == matrix.codes.size());
}

TEST_CASE("trellis: levels follow the state machine of the format") {
    const Ints codes = {1, 3, -2, -1, 1};  // states 0 -1-> 2 -1-> 3 -0-> 6 -1-> 1, then a restart
    std::vector<float> levels(5);
    trellis_levels(codes, 5, 1, 4, levels);
    CHECK(levels == std::vector<float>{2, 6, -3, -2, 2});
    trellis_levels(codes, 5, 1, 5, levels);
    CHECK(levels == std::vector<float>{2, 6, -3, -2, 1});
}

TEST_CASE("trellis: each column has a state of its own") {
    const Ints codes = {1, 2, 1, 3, 4, 3};
    std::vector<float> pairs(6), column(3);
    trellis_levels(codes, 3, 2, 16, pairs);
    trellis_levels(Ints{1, 1, 4}, 3, 1, 16, column);
    CHECK(std::vector<float>{pairs[0], pairs[2], pairs[4]} == column);
}

TEST_CASE("trellis: levels of the extremes of int32 do not overflow") {
    const Ints codes = {kMin, kMax, 1, kMax};  // one column: states 0, 0, 2, 3
    std::vector<float> levels(4);
    trellis_levels(codes, 4, 1, 4, levels);
    CHECK(levels == std::vector<float>{-0x1p32f, 0x1p32f, 2, 0x1p32f});
}

namespace {

struct NamedTables {
    const char* name;
    TableSet set;
};

// Every way in which vector code looks tables up: in registers by number of symbols, or one for each lane; with and without raw bits.
std::vector<NamedTables> tables_of_every_kind() {
    const auto one = [](int symbols, std::uint8_t raw_bits) { return make_set(symbols, 12, {bell(symbols, 12, 0.7)}, {.raw_bits = {raw_bits}, .first_class = 0, .class_map = {0, 0}}); };
    const TableSet wide = make_set(128, 12, {bell(128, 12, 0.9), bell(128, 12, 0.5)}, {.raw_bits = {0, 0}, .first_class = 0, .class_map = {0, 1}});
    // The table that all classes take need not be the first.
    const TableSet second = make_set(32, 12, {bell(32, 12, 0.3), bell(32, 12, 0.8)}, {.raw_bits = {3, 0}, .first_class = 0, .class_map = {1, 1}});
    // Slots without an alias, and symbols that fill buckets of their own.
    Frequencies flat(16, 256);
    return {{"several", grid_tables()}, {"16", one(16, 0)}, {"16 raw", one(16, 2)}, {"32", one(32, 0)}, {"32 raw", one(32, 16)}, {"64", one(64, 0)}, {"64 raw", one(64, 1)},
            {"one of 128", one(128, 0)}, {"128", wide}, {"second", second}, {"flat", make_set(16, 12, {flat}, {.raw_bits = {0}, .first_class = 0, .class_map = {0, 0}})}};
}

}  // namespace

TEST_CASE("codes: vector code decodes what the portable code does") {
    for (const NamedTables& tables : tables_of_every_kind())
        for (const auto& [rows, columns] : {std::pair<std::size_t, std::size_t>{1, 32}, {7, 64}, {64, 96}, {65, 256}})
            for (const std::size_t trellis_rows : {0, 1, 16, 64})
                for (const std::size_t n_streams : {1, 2, 3, 8}) {
                    INFO("tables ", tables.name, ", ", rows, " x ", columns, ", trellis rows ", trellis_rows, ", streams ", n_streams);
                    Matrix matrix(rows, columns, trellis_rows);
                    for (std::size_t i = 5; i < matrix.codes.size(); i += 97) matrix.codes[i] = i % 2 ? kMax - static_cast<std::int32_t>(i) : kMin + static_cast<std::int32_t>(i);
                    const Bytes payload = encoded(matrix, n_streams, 32, tables.set);
                    with_each_isa([&] {
                        Ints out(matrix.codes.size());
                        REQUIRE(decode(payload, matrix.shape(), tables.set, out) == Status::ok);
                        CHECK(out == matrix.codes);
                    });
                }
}

TEST_CASE("codes: damaged vector payloads stay inside their buffers and are judged alike") {
    const std::string before = name_of(isa());
    for (const NamedTables& tables : tables_of_every_kind())
        for (const std::size_t trellis_rows : {0, 16}) {
            INFO("tables ", tables.name, ", trellis rows ", trellis_rows);
            Matrix matrix(32, 64, trellis_rows);
            for (std::size_t i = 5; i < matrix.codes.size(); i += 97) matrix.codes[i] = kMax - static_cast<std::int32_t>(i);
            const Bytes payload = encoded(matrix, 2, 32, tables.set);
            const auto check = [&](const Bytes& damaged) {
                Ints portable(matrix.codes.size());
                REQUIRE(use_isa("scalar") == Status::ok);
                const Status expected = decode(damaged, matrix.shape(), tables.set, portable);
                with_each_isa([&] {
                    Ints out(matrix.codes.size());
                    const Status status = decode(damaged, matrix.shape(), tables.set, out);
                    CHECK((status == Status::ok) == (expected == Status::ok));
                    if (status == Status::ok) CHECK(out == portable);
                });
            };
            for_random_damage(payload, 300, check);
            for (std::size_t n = 0; n < payload.size(); n += 11) check(Bytes(payload.begin(), payload.begin() + static_cast<std::ptrdiff_t>(n)));
        }
    REQUIRE(use_isa(before) == Status::ok);
}
