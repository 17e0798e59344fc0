// Input: u8 rows, u8 columns (0 counts as 1: no block is empty, see DenseTensor::check), u8 log2 of the element's bytes (modulo 4), u8 flags (bit 0: rows of the output lie apart, bit 1: the tensor has scales
// and shapes of columns, bit 2: two profiles of them), then the payload of a dense block.
#include <algorithm>

#include "every_isa.hpp"
#include "tersor/crc32c.hpp"
#include "tersor/dense_block.hpp"
#include "tersor/float_max.hpp"
#include "tersor/float_rows.hpp"
#include "tersor/huffman.hpp"
#include "tersor/integers.hpp"
#include "tersor/narrow_rows.hpp"
#include "tersor/rans_bytes.hpp"

namespace tersor::fuzz {
namespace {

constexpr std::size_t kGap = 5;  // bytes between rows that lie apart
enum Codec : std::uint8_t { constant, raw, huffman, rans, other };

struct Tables {
    TableSet balanced = make_set(64, 12, 40, Bytes(kFloatTables)), fast = make_set(16, 8, 10, Bytes(kFloatTables)), max = make_set(128, 12, 40, Bytes(kMaxTableCount)),
             side = make_set(64, 12, 32, {0, 0, 0});
    DenseTables all() const {
        return {&balanced, &fast, &max, &side, 0, 1, 2, {ByteCodec::constant, ByteCodec::raw, ByteCodec::huffman, ByteCodec::rans, ByteCodec::other}};
    }
};

const Tables& tables() {
    static const Tables tables;
    return tables;
}

struct Front {
    std::size_t rows, columns, element_bytes;
    unsigned flags;
    DenseColumns head;

    explicit Front(ByteReader& in) : rows(std::max<std::size_t>(in.u8(), 1)), columns(std::max<std::size_t>(in.u8(), 1)), element_bytes(std::size_t{1} << in.u8() % 4), flags(in.u8()) {
        head.profiles = flags & 4 ? 2 : 1;
        if (flags & 2)
            for (std::size_t q = 0; q < head.profiles * columns; ++q)
                head.scale.push_back(static_cast<std::int32_t>(q % 7) - 3), head.shape.push_back(static_cast<std::int32_t>(q % (kMaxColumnShape + 1)));
    }
    std::size_t row_bytes() const { return columns * element_bytes; }
    std::size_t stride() const { return row_bytes() + (flags & 1 ? kGap : 0); }
    std::size_t n_out() const { return rows == 0 ? 0 : (rows - 1) * stride() + row_bytes(); }
};

DenseBlock block_of(const Front& front, ByteSpan payload, std::uint32_t crc, Bytes& out) {
    std::fill(out.begin(), out.end(), std::uint8_t{0xA5});  // so that two calls leave the same
    return {payload, out.data(), front.rows, front.columns, front.element_bytes, front.stride(), 0, &front.head, crc};
}

std::uint32_t crc_of_rows(const Front& front, const Bytes& out) {
    std::uint32_t crc = 0;
    for (std::size_t row = 0; row < front.rows; ++row) crc = crc32c(ByteSpan(out).subspan(row * front.stride(), front.row_bytes()), crc);
    return crc;
}

// What comes of a payload.
struct Decoded {
    bool done;
    std::uint32_t crc;
    Bytes out;

    Decoded(Front front, ByteSpan payload) {
        front.flags &= ~1u;
        out.resize(front.n_out());
        decode_dense_block(block_of(front, payload, 0, out), tables().all());  // damage or not: what it leaves tells the checksum that a sound block has
        crc = crc_of_rows(front, out);
        done = decode_dense_block(block_of(front, payload, crc, out), tables().all());
    }
};

void require_same(const Front& front, const Decoded& expected, bool done, const Bytes& out) {
    require(done == expected.done, "one way decodes what the other does");
    require(!done || crc_of_rows(front, out) == expected.crc, "what passes has the checksum");
}

// Two blocks at a time: the input and one of half as many rows with the same payload.
void decode_pair(const Front& front, ByteSpan payload, const Decoded& expected) {
    Front half = front;
    half.rows = (front.rows + 1) / 2;
    const Decoded expected_half(half, payload);
    Bytes out(front.n_out()), half_out(half.n_out());
    const auto done = decode_two_dense_blocks(block_of(front, payload, expected.crc, out), block_of(half, payload, expected_half.crc, half_out), tables().all());
    require_same(front, expected, done[0], out);
    require_same(half, expected_half, done[1], half_out);
}

}  // namespace

void fuzz(ByteSpan input) {
    ByteReader in(input);
    const Front front(in);
    const Bytes payload = own(in.rest());
    require(use_isa(name_of(available_isas().front())) == Status::ok, "an available instruction set can be chosen");
    const Decoded first(front, payload);
    for (const Isa each : available_isas()) {
        require(use_isa(name_of(each)) == Status::ok, "an available instruction set can be chosen");
        const Decoded whole(front, payload);
        require(whole.done == first.done && (!whole.done || whole.out == first.out), "all instruction sets decode to the same");
        Bytes out(front.n_out());
        const bool done = decode_dense_block(block_of(front, payload, whole.crc, out), tables().all());
        require_same(front, whole, done, out);
        decode_pair(front, payload, whole);
    }
}

namespace {

Bytes coded(Codec codec, const Bytes& bytes) {
    Bytes payload = bytes;
    if (codec == huffman) require(huffman_encode(bytes, payload = {}) == Status::ok, "seeds encode");
    if (codec == rans) require(rans_encode(bytes, payload = {}) == Status::ok, "seeds encode");
    if (codec == constant) payload.resize(bytes.empty() ? 0 : 1);
    return payload;
}

void append(Bytes& to, const Bytes& bytes) { to.insert(to.end(), bytes.begin(), bytes.end()); }

// Heads of planes, then their payloads.
void append_planes(Bytes& seed, const std::vector<std::pair<Codec, Bytes>>& planes, const std::vector<Bytes>& between = {}) {
    std::vector<Bytes> payloads;
    for (const auto& [codec, bytes] : planes) {
        payloads.push_back(coded(codec, bytes));
        seed.push_back(codec);
        put_varint(seed, payloads.back().size());
    }
    for (const Bytes& bytes : between) append(seed, bytes);
    for (const Bytes& payload : payloads) append(seed, payload);
}

Bytes small_bytes(std::size_t n, Random& random) {
    Bytes bytes(n);
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random.bell(20));
    return bytes;
}

std::vector<std::uint16_t> weights(std::size_t n, bool f16, Random& random) {
    std::vector<std::uint16_t> words(n);
    for (auto& word : words)
        word = static_cast<std::uint16_t>((random.next() & 1) << 15 | static_cast<std::uint32_t>((f16 ? 9 : 120) + random.bell(8)) << (f16 ? 10 : 7) | (random.next() & 127));
    return words;
}

Bytes float_rows(std::size_t columns, const std::vector<std::uint16_t>& words, bool f16, FloatCoder coder) {
    const FloatRowsOptions options{f16 ? kF16 : kBF16, columns, 2, 32};
    return encode_float_rows(words, coder, options, coder == FloatCoder::balanced ? tables().balanced : tables().fast, tables().side.tables[0]);
}

Bytes front_of(std::uint8_t rows, std::uint8_t columns, std::uint8_t log_element, std::uint8_t flags) { return {rows, columns, log_element, flags}; }

Bytes max_rows(const Bytes& front_bytes, const std::vector<std::uint16_t>& words) {
    ByteReader in{ByteSpan(front_bytes)};
    const Front front(in);
    const std::vector<std::int32_t> row_class(front.rows, 1), row_profile(front.rows, 0);
    const MaxSideTables sides{&tables().side.tables[0], &tables().side.tables[1]};
    return encode_float_max(words, kBF16, {2, -3, front.head.profiles, front.columns, row_class, row_profile, front.head.scale, front.head.shape}, 2, 32, tables().max, sides);
}

std::vector<Bytes> byte_seeds(Random& random) {
    std::vector<Bytes> seeds;
    for (const Codec codec : {constant, raw, huffman, rans}) {
        const Bytes data = codec == constant ? Bytes(200, 7) : small_bytes(200, random);
        Bytes whole = front_of(10, 20, 0, 1), planes = front_of(10, 10, 1, 0), differences = front_of(10, 5, 2, 0);
        append(whole, {0, codec}), append(whole, coded(codec, data));
        const Bytes half(data.begin(), data.begin() + 100), quarter(data.begin(), data.begin() + 50);
        append(planes, {1, 2}), append_planes(planes, {{codec, half}, {codec, half}});
        append(differences, {6, 4, 1}), append_planes(differences, {{codec, quarter}, {raw, quarter}, {constant, Bytes(50)}, {codec, quarter}});
        for (const Bytes& seed : {whole, planes, differences}) seeds.push_back(seed);
    }
    return seeds;
}

std::vector<Bytes> float_seeds(Random& random) {
    std::vector<Bytes> seeds;
    for (const bool f16 : {false, true})
        for (const FloatCoder coder : {FloatCoder::balanced, FloatCoder::fast}) {
            Bytes seed = front_of(40, 96, 1, 1);
            append(seed, {2, f16}), append(seed, float_rows(96, weights(40 * 96, f16, random), f16, coder));
            seeds.push_back(seed);
        }
    for (const std::uint8_t flags : {2, 6}) {
        Bytes seed = front_of(30, 64, 1, flags);
        append(seed, {2, 0}), append(seed, max_rows(front_of(30, 64, 1, flags), weights(30 * 64, false, random)));
        seeds.push_back(seed);
    }
    const std::size_t n = 20 * 64;
    const Bytes upper = float_rows(64, weights(n, false, random), false, FloatCoder::balanced);
    Bytes halves = front_of(20, 64, 2, 0);
    append(halves, {2, 2}), put_varint(halves, upper.size()), append_planes(halves, {{raw, small_bytes(n, random)}, {rans, small_bytes(n, random)}}, {upper});
    seeds.push_back(halves);

    std::vector<std::int32_t> zeros(20);
    Bytes zero_bytes(20), flags;
    for (std::size_t row = 0; row < 20; ++row) zeros[row] = static_cast<std::int32_t>(row % 3 * 8), zero_bytes[row] = static_cast<std::uint8_t>(row % 3 * 8);
    encode_integers(zeros, tables().side.tables[2], flags);
    std::vector<std::uint16_t> low(n);
    for (std::size_t i = 0; i < n; ++i) low[i] = static_cast<std::uint16_t>(random.next() << zeros[i / 64]);
    const std::size_t n_wide = 7 * 64;
    Bytes narrow = front_of(20, 64, 2, 0);
    append(narrow, {3}), put_varint(narrow, upper.size()), put_varint(narrow, flags.size());
    append_planes(narrow, {{raw, small_bytes(n_wide, random)}, {huffman, small_bytes(n_wide, random)}}, {upper, flags});
    append(narrow, pack_narrow_rows(low, 64, zero_bytes));
    seeds.push_back(narrow);
    return seeds;
}

}  // namespace

std::vector<Bytes> seeds() {
    Random random;
    std::vector<Bytes> all = byte_seeds(random);
    for (const Bytes& seed : float_seeds(random)) all.push_back(seed);
    for (const Bytes& seed : all) {
        ByteReader in{ByteSpan(seed)};
        const Front front(in);
        require(Decoded(front, own(in.rest())).done, "seeds decode");
    }
    return all;
}

}  // namespace tersor::fuzz
