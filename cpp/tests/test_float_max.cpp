#include "tersor/float_max.hpp"

#include <bit>
#include <cmath>
#include <utility>

#include "entropy_checks.hpp"
#include "tersor/isa.hpp"

using namespace tersor;
using namespace tersor::testing;
using tersor::testing::Bytes;

namespace {

using Words = std::vector<std::uint16_t>;

std::uint16_t word_of(float value, FloatFormat format) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    if (format.exponent_bits == 8) return static_cast<std::uint16_t>(bits >> 16);
    return static_cast<std::uint16_t>(bits >> 31 << 15 | std::bit_cast<std::uint32_t>(std::abs(value) * 0x1p-112f) >> 13);
}

struct Matrix {
    Words words;
    std::size_t rows, columns;
    WordMatrix view() const { return {words.data(), rows, columns, columns, 1}; }
};

// Rows and columns have scales of their own, columns lean to one side or the other; the first rows follow a mean vector.
Matrix weights(std::size_t rows, std::size_t columns, FloatFormat format, std::size_t leaning_rows = 0) {
    Random random;
    Matrix matrix{Words(rows * columns), rows, columns};
    for (std::size_t i = 0; i < rows; ++i) {
        const float row_scale = std::exp2(static_cast<float>(random.next() % 1024) / 256 - 6);
        for (std::size_t j = 0; j < columns; ++j) {
            float value = -4;
            for (int k = 0; k < 8; ++k) value += static_cast<float>(random.next() % 4096) / 4096;
            value += leaning_rows == 0 ? static_cast<float>(j % 7) - 3 : i < leaning_rows ? static_cast<float>(j * 5 % 7) - 3 : 0;
            matrix.words[i * columns + j] = word_of(value * row_scale * std::exp2(static_cast<float>(j % 5) - 2), format);
        }
    }
    return matrix;
}

Matrix noise(std::size_t rows, std::size_t columns) {
    Random random;
    Matrix matrix{Words(rows * columns), rows, columns};
    for (auto& word : matrix.words) word = static_cast<std::uint16_t>(random.next());
    return matrix;
}

FloatBlockModel whole(const FloatModel& model, std::size_t columns) {
    return {model.shape, model.base, model.profiles, columns, model.row_class, model.row_profile, model.column_scale, model.column_shape};
}

struct Tables {
    TableSet max, side;
    MaxSideTables sides() const { return {&side.tables[0], &side.tables[1]}; }
};

Tables tables_for(const Matrix& matrix, FloatFormat format, const FloatModel& model) {
    std::vector<std::uint64_t> counts(kMaxTableCount * kMaxSymbols);
    if (matrix.rows > 0) count_float_max(matrix.view(), format, whole(model, matrix.columns), 1, counts);
    std::vector<Frequencies> tables;
    for (std::size_t t = 0; t < kMaxTableCount; ++t) {
        std::vector<std::uint64_t> table(counts.begin() + static_cast<std::ptrdiff_t>(t * kMaxSymbols), counts.begin() + static_cast<std::ptrdiff_t>((t + 1) * kMaxSymbols));
        table[0] = std::max<std::uint64_t>(table[0], 1);
        tables.push_back(normalized(table, 12));
    }
    return {make_set(128, 12, tables), make_set(64, 12, {bell(64, 12, 0.8), bell(64, 12, 0.3)})};
}

const Tables& common_tables() {
    static const Tables tables = [] {
        const Matrix matrix = weights(256, 64, kBF16);
        return tables_for(matrix, kBF16, fit_float_model(matrix.view(), kBF16));
    }();
    return tables;
}

Bytes encoded(const Matrix& matrix, FloatFormat format, const FloatModel& model, std::size_t n_streams, std::size_t lanes, const Tables& tables) {
    Bytes payload = encode_float_max(matrix.words, format, whole(model, matrix.columns), n_streams, lanes, tables.max, tables.sides());
    payload.shrink_to_fit();
    return payload;
}

Status decode(const Bytes& payload, FloatFormat format, const Matrix& matrix, const FloatModel& model, const Tables& tables, Words& out) {
    return decode_float_max({payload, format, matrix.rows, matrix.columns, model.profiles, model.column_scale, model.column_shape, &tables.max, tables.sides(), out});
}

// Calls check() with every instruction set that the machine has.
template <class Check>
void on_every_isa(Check check) {
    const Isa before = isa();
    for (const Isa each : available_isas()) {
        REQUIRE(use_isa(name_of(each)) == Status::ok);
        CAPTURE(name_of(each));
        check();
    }
    REQUIRE(use_isa(name_of(before)) == Status::ok);
}

void check_matrix(const Matrix& matrix, FloatFormat format, std::size_t n_streams, std::size_t lanes, const Tables& tables = common_tables()) {
    const FloatModel model = fit_float_model(matrix.view(), format);
    const Bytes payload = encoded(matrix, format, model, n_streams, lanes, tables);
    on_every_isa([&] {
        Words out(matrix.words.size());
        REQUIRE(decode(payload, format, matrix, model, tables, out) == Status::ok);
        CHECK(out == matrix.words);
    });
}

}  // namespace

TEST_CASE("float max: weights and noise of every shape round trip on every instruction set") {
    for (const FloatFormat format : {kBF16, kF16})
        for (const std::size_t rows : {1, 2, 5, 40})
            for (const std::size_t columns : {1, 7, 32, 64, 96, 100})
                for (const auto& [n_streams, lanes] : {std::pair<std::size_t, std::size_t>{1, 32}, {3, 32}, {8, 1}, {2, 4}}) {
                    check_matrix(weights(rows, columns, format), format, n_streams, lanes);
                    check_matrix(noise(rows, columns), format, n_streams, lanes);
                }
}

TEST_CASE("float max: every one of the 65536 words round trips") {
    Matrix matrix{Words(65536), 512, 128};
    for (std::size_t i = 0; i < matrix.words.size(); ++i) matrix.words[i] = static_cast<std::uint16_t>(i * 40503);
    for (const FloatFormat format : {kBF16, kF16}) check_matrix(matrix, format, 1, 32);
}

TEST_CASE("float max: constant matrices, rows of zeros and an empty matrix round trip") {
    for (const FloatFormat format : {kBF16, kF16}) {
        for (const std::uint16_t word : {0, 0x8000, 0x3F80, 0x7F80, 0x7FFF, 0xFFFF}) check_matrix({Words(50 * 32, word), 50, 32}, format, 1, 32);
        Matrix matrix = weights(50, 64, format);
        std::fill(matrix.words.begin(), matrix.words.begin() + 640, std::uint16_t{0});
        check_matrix(matrix, format, 1, 32);
        check_matrix({{}, 0, 64}, format, 1, 32);
    }
}

TEST_CASE("float max: tables of its own with frequencies from 1 to 4095 round trip") {
    Matrix matrix = weights(300, 64, kBF16);
    for (std::size_t i = 0; i < matrix.words.size(); ++i)
        if (i % 64 > 2) matrix.words[i] = 0x3F80;
    const FloatModel model = fit_float_model(matrix.view(), kBF16);
    check_matrix(matrix, kBF16, 1, 32, tables_for(matrix, kBF16, model));
}

TEST_CASE("fit_float_model: finds skews of both signs, and two profiles where half of the rows lean") {
    const Matrix skewed = weights(300, 35, kBF16);
    const FloatModel model = fit_float_model(skewed.view(), kBF16);
    CHECK(model.column_shape[0] % 2 == 1);
    CHECK(model.column_shape[3] == 0);
    CHECK(model.column_shape[6] % 2 == 0);
    CHECK(model.column_shape[6] > 4);
    const Matrix half = weights(600, 64, kBF16, 300);
    const FloatModel two = fit_float_model(half.view(), kBF16);
    CHECK(two.profiles == 2);
    check_matrix(half, kBF16, 1, 32);
}

TEST_CASE("refinement: never makes the bits under the given costs more, and gives the same from strided words") {
    const Matrix matrix = weights(200, 48, kBF16);
    Words wide(2 * matrix.words.size());
    for (std::size_t i = 0; i < matrix.words.size(); ++i) wide[2 * i + 1] = matrix.words[i];
    const WordMatrix strided{wide.data() + 1, matrix.rows, matrix.columns, 2 * matrix.columns, 2};
    FloatModel model = fit_float_model(matrix.view(), kBF16), other = fit_float_model(strided, kBF16);
    std::vector<std::uint64_t> counts(kMaxTableCount * kMaxSymbols);
    count_float_max(matrix.view(), kBF16, whole(model, matrix.columns), 1, counts);
    std::vector<float> cost(counts.size());
    for (std::size_t i = 0; i < cost.size(); ++i) cost[i] = 14 - std::log2(1 + static_cast<float>(counts[i])) + (i % kMaxSymbols == 0 ? 11.0f : 0.0f);
    const auto bits = [&](const FloatModel& of) {
        std::vector<std::uint64_t> now(counts.size());
        count_float_max(matrix.view(), kBF16, whole(of, matrix.columns), 1, now);
        double sum = 0;
        for (std::size_t i = 0; i < now.size(); ++i) sum += static_cast<double>(now[i]) * static_cast<double>(cost[i]);
        return sum;
    };
    const double before = bits(model);
    refine_row_classes(matrix.view(), kBF16, cost, 2, model);
    CHECK(bits(model) <= before);
    refine_row_classes(strided, kBF16, cost, 2, other);
    CHECK(model.row_class == other.row_class);
    CHECK(model.column_scale == other.column_scale);
    CHECK(model.column_shape == other.column_shape);
    for (const std::int32_t shape : model.column_shape) CHECK((shape >= 0 && shape <= kMaxColumnShape && shape != 1));
    check_matrix(matrix, kBF16, 1, 32);
}

TEST_CASE("float max: fields outside the format are refused") {
    const Matrix matrix = weights(3, 32, kBF16);
    const FloatModel model = fit_float_model(matrix.view(), kBF16);
    const Bytes payload = encoded(matrix, kBF16, model, 1, 1, common_tables());
    Words out(matrix.words.size());
    // 0 coder, 1 shape class, 2 base (one byte), 3 streams, 4 log2(lanes)
    for (const auto& [at, value] : {std::pair{0, 1}, {0, 3}, {1, 4}, {1, 255}, {3, 0}, {3, 9}, {4, 6}, {4, 255}}) {
        Bytes damaged = payload;
        damaged[static_cast<std::size_t>(at)] = static_cast<std::uint8_t>(value);
        CHECK(decode(damaged, kBF16, matrix, model, common_tables(), out) == Status::corrupt);
    }
    Tables wrong = common_tables();
    wrong.max = wrong.side;
    CHECK(decode(payload, kBF16, matrix, model, wrong, out) == Status::corrupt);
}

TEST_CASE("float max: every truncation and every byte behind the end is an error") {
    for (const FloatFormat format : {kBF16, kF16}) {
        const Matrix matrix = weights(12, 32, format);
        const FloatModel model = fit_float_model(matrix.view(), format);
        Bytes payload = encoded(matrix, format, model, 2, 32, common_tables());
        Words out(matrix.words.size());
        on_every_isa([&] {
            for_each_truncation(payload, [&](const Bytes& cut) { CHECK(decode(cut, format, matrix, model, common_tables(), out) != Status::ok); });
            Bytes longer = payload;
            longer.push_back(0);
            CHECK(decode(longer, format, matrix, model, common_tables(), out) != Status::ok);
        });
    }
}

TEST_CASE("float max: damaged payloads stay inside their buffers and give the same on every instruction set") {
    for (const FloatFormat format : {kBF16, kF16}) {
        Matrix matrix = weights(16, 64, format);
        for (std::size_t i = 0; i < matrix.words.size(); i += 37) matrix.words[i] = static_cast<std::uint16_t>(i * 9973);  // escapes
        const FloatModel model = fit_float_model(matrix.view(), format);
        const Bytes payload = encoded(matrix, format, model, 2, 32, common_tables());
        const auto check = [&](const Bytes& damaged) {
            bool first = true;
            Words expected;
            on_every_isa([&] {
                Words out(matrix.words.size());
                const Status status = decode(damaged, format, matrix, model, common_tables(), out);
                CHECK(status != Status::bad_argument);
                if (status != Status::ok) out.assign(1, 0xDEAD);
                if (std::exchange(first, false)) expected = out;
                CHECK(out == expected);
            });
        };
        for_each_flipped_bit(payload, check);
        for_random_damage(payload, 1000, check);
        for_noise(300, 500, check);
    }
}

TEST_CASE("float max: a payload for other sizes is refused or harmless") {
    const Matrix matrix = weights(16, 64, kBF16);
    const FloatModel model = fit_float_model(matrix.view(), kBF16);
    const Bytes payload = encoded(matrix, kBF16, model, 1, 32, common_tables());
    for (const std::size_t rows : {0, 1, 15, 17, 500})
        for (const std::size_t columns : {1, 32, 33, 64, 128}) {
            const std::vector<std::int32_t> scale(columns, 3), shape(columns, 9);
            on_every_isa([&] {
                Words out(rows * columns);
                CHECK(decode_float_max({payload, kBF16, rows, columns, 1, scale, shape, &common_tables().max, common_tables().sides(), out}) != Status::ok);
            });
        }
}
