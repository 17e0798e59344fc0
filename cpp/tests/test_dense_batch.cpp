#include "tersor/dense_batch.hpp"

#include <thread>

#include "float_words.hpp"
#include "isa_checks.hpp"
#include "tersor/crc32c.hpp"
#include "tersor/float_max.hpp"
#include "tersor/float_rows.hpp"
#include "tersor/integers.hpp"

using namespace tersor;
using namespace tersor::testing;

namespace {

constexpr std::uint8_t kRaw = 0, kConstant = 1;

DenseTables byte_tables() {
    DenseTables tables;
    tables.codecs = {ByteCodec::raw, ByteCodec::constant};
    return tables;
}

// A tensor of bytes whose blocks are stored as they are.
struct RawTensor {
    std::vector<std::uint8_t> matrix, payload;
    DenseTensor tensor;

    RawTensor(const DenseTables& tables, std::size_t rows, std::size_t columns, std::size_t block_rows, std::size_t block_columns)
        : matrix(uniform_bytes(rows * columns, 256)), tensor{&tables, {}, rows, columns, 1, block_rows, block_columns, {7}, {}} {
        for (std::size_t row = 0; row < rows; row += block_rows)
            for (std::size_t column = 0; column < columns; column += block_columns) {
                payload.insert(payload.end(), {0, kRaw});
                std::uint32_t crc = 0;
                for (std::size_t i = row; i < std::min(row + block_rows, rows); ++i) {
                    const auto part = std::span(matrix).subspan(i * columns + column, std::min(block_columns, columns - column));
                    payload.insert(payload.end(), part.begin(), part.end());
                    crc = crc32c(part, crc);
                }
                tensor.offsets.push_back(7 + payload.size());
                tensor.checksums.push_back(crc);
            }
    }
};

}  // namespace

TEST_CASE("dense batch: blocks go to their places, however many threads share them out") {
    const DenseTables tables = byte_tables();
    const RawTensor tall(tables, 50, 64, 8, 64), tiled(tables, 13, 100, 4, 32), line(tables, 1, 999, 1, 96);
    for (const std::size_t n_threads : {1, 3}) {
        DenseBatch batch;
        std::vector<std::vector<std::uint8_t>> outs;
        for (const RawTensor* raw : {&tall, &tiled, &line}) {
            REQUIRE(raw->tensor.check() == Status::ok);
            outs.emplace_back(raw->matrix.size());
        }
        std::size_t k = 0;
        for (const RawTensor* raw : {&tall, &tiled, &line}) REQUIRE(batch.add(raw->tensor, 0, raw->tensor.n_blocks(), raw->payload, outs[k++]) == Status::ok);
        batch.arrange(n_threads > 1);
        std::vector<std::thread> threads;
        for (std::size_t i = 0; i < n_threads; ++i) threads.emplace_back([&] { batch.run(); });
        for (auto& thread : threads) thread.join();
        CHECK(batch.left().empty());
        CHECK(outs[0] == tall.matrix);
        CHECK(outs[1] == tiled.matrix);
        CHECK(outs[2] == line.matrix);
    }
}

TEST_CASE("dense batch: damaged and foreign blocks are left, in order, and the rest is decoded") {
    const DenseTables tables = byte_tables();
    RawTensor raw(tables, 50, 64, 8, 64);
    raw.payload[raw.tensor.offsets[5] - 7 + 9] ^= 1;   // an element of block 5
    raw.payload[raw.tensor.offsets[2] - 7] = 4;        // block 2 is of another form
    raw.payload[raw.tensor.offsets[3] - 7 + 1] = 200;  // no such codec
    std::vector<std::uint8_t> out(raw.matrix.size());
    DenseBatch batch;
    REQUIRE(batch.add(raw.tensor, 0, raw.tensor.n_blocks(), raw.payload, out) == Status::ok);
    batch.arrange(true);
    batch.run();
    using Left = std::vector<std::pair<std::size_t, std::size_t>>;
    CHECK(batch.left() == Left{{0, 2}, {0, 3}, {0, 5}});
    CHECK(std::equal(out.begin(), out.begin() + 2 * 8 * 64, raw.matrix.begin()));
    CHECK(std::equal(out.begin() + 6 * 8 * 64, out.end(), raw.matrix.begin() + 6 * 8 * 64));
}

TEST_CASE("dense batch: sizes that do not fit are refused") {
    const DenseTables tables = byte_tables();
    const RawTensor raw(tables, 50, 64, 8, 64);
    std::vector<std::uint8_t> out(raw.matrix.size());
    DenseBatch batch;
    const ByteSpan payload = raw.payload;
    CHECK(batch.add(raw.tensor, 0, 8, payload, out) == Status::bad_argument);
    CHECK(batch.add(raw.tensor, 2, 1, payload, out) == Status::bad_argument);
    CHECK(batch.add(raw.tensor, 0, 7, payload.first(payload.size() - 1), out) == Status::bad_argument);
    CHECK(batch.add(raw.tensor, 0, 7, payload, std::span(out).first(out.size() - 1)) == Status::bad_argument);
    DenseTensor wrong = raw.tensor;
    wrong.offsets[3] = 0;
    CHECK(wrong.check() == Status::bad_argument);
    wrong = raw.tensor;
    wrong.head.scale.assign(63, 0);
    CHECK(wrong.check() == Status::bad_argument);
}

TEST_CASE("dense block: rows may lie apart, and what is between them is left alone") {
    const DenseTables tables = byte_tables();
    const Bytes payload = {0, kConstant, 9};
    const Bytes block(6, 9);
    Bytes out(13, 1);
    REQUIRE(decode_dense_block({payload, out.data(), 3, 2, 1, 5, 0, nullptr, crc32c(block)}, tables));
    CHECK(out == Bytes{9, 9, 1, 1, 1, 9, 9, 1, 1, 1, 9, 9, 1});
}

TEST_CASE("dense block: two blocks of level max at a time are what each is alone, whichever of them is damaged") {
    const std::size_t rows = 70, columns = 96;
    std::vector<std::uint64_t> counts(kMaxTableCount * kMaxSymbols);
    const Words all = weights(2 * rows * columns, columns, kBF16);
    std::vector<Words> words;
    std::vector<FloatModel> models;
    for (std::size_t k = 0; k < 2; ++k) {
        const auto part = std::span(all).subspan(k * rows * columns, rows * columns);
        words.emplace_back(part.begin(), part.end());
        const WordMatrix matrix{words[k].data(), rows, columns, columns, 1};
        FloatModel model = fit_float_model(matrix, kBF16);
        model.profiles = 1;
        model.column_scale.assign(columns, 0), model.column_shape.assign(columns, 0), model.row_profile.assign(rows, 0);
        count_float_max(matrix, kBF16, {model.shape, model.base, 1, columns, model.row_class, model.row_profile, model.column_scale, model.column_shape}, 1, counts);
        models.push_back(model);
    }
    std::vector<Frequencies> frequencies;
    for (std::size_t t = 0; t < kMaxTableCount; ++t) {
        counts[t * kMaxSymbols] += 1;
        frequencies.push_back(normalized({counts.begin() + static_cast<std::ptrdiff_t>(t * kMaxSymbols), counts.begin() + static_cast<std::ptrdiff_t>((t + 1) * kMaxSymbols)}, 12));
    }
    const TableSet max = make_set(128, 12, frequencies), side = make_set(64, 12, {bell(64, 12, 0.8), bell(64, 12, 0.3)});
    DenseTables tables;
    tables.max = &max, tables.side = &side, tables.class_table = 0, tables.profile_table = 1;
    const DenseColumns no_columns;
    std::vector<Bytes> payloads;
    std::vector<std::uint32_t> sums;
    for (std::size_t k = 0; k < 2; ++k) {
        const FloatModel& m = models[k];
        const FloatBlockModel block{m.shape, m.base, 1, columns, m.row_class, m.row_profile, m.column_scale, m.column_shape};
        Bytes payload = encode_float_max(words[k], kBF16, block, 1, 32, max, {&side.tables[0], &side.tables[1]});
        payload.insert(payload.begin(), {2, 0});
        payloads.push_back(payload);
        sums.push_back(crc32c({reinterpret_cast<const std::uint8_t*>(words[k].data()), 2 * words[k].size()}));
    }
    with_each_isa([&] {
        for (int damaged = -1; damaged < 2; ++damaged) {
            std::vector<Bytes> stored = payloads;
            if (damaged >= 0) stored[static_cast<std::size_t>(damaged)][stored[0].size() / 2] ^= 64;
            std::vector<Words> out(2, Words(rows * columns));
            const auto block = [&](std::size_t k) {
                return DenseBlock{stored[k], reinterpret_cast<std::uint8_t*>(out[k].data()), rows, columns, 2, 2 * columns, 0, &no_columns, sums[k]};
            };
            REQUIRE(has_max_words(block(0)));
            const auto done = decode_two_dense_blocks(block(0), block(1), tables);
            for (int k = 0; k < 2; ++k) {
                CHECK(done[static_cast<std::size_t>(k)] == (k != damaged));
                if (k != damaged) CHECK(out[static_cast<std::size_t>(k)] == words[static_cast<std::size_t>(k)]);
            }
        }
    });
}
