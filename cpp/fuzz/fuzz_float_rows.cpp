// Input: u8 (bit 0: F16 instead of BF16), u16 number of words, then the payload; both coders' tables are there.
#include "every_isa.hpp"
#include "tersor/float_rows.hpp"

namespace tersor::fuzz {
namespace {

struct Tables {
    TableSet balanced = make_set(64, 12, 40, Bytes(kFloatTables)), fast = make_set(16, 8, 10, Bytes(kFloatTables)), side = make_set(64, 12, 32, {0});
};

const Tables& tables() {
    static const Tables all;
    return all;
}

Status decode(ByteSpan payload, FloatFormat format, std::span<std::uint16_t> words) {
    return decode_float_rows(payload, format, &tables().balanced, &tables().fast, tables().side.tables[0], words);
}

Bytes encode(std::span<const std::uint16_t> words, FloatCoder coder, const FloatRowsOptions& options) {
    return encode_float_rows(words, coder, options, coder == FloatCoder::balanced ? tables().balanced : tables().fast, tables().side.tables[0]);
}

// Decodes the input as a payload, then encodes its bytes as words and decodes those.
void round_trip(ByteSpan bytes, FloatFormat format) {
    std::vector<std::uint16_t> words(bytes.size() / 2);
    for (std::size_t i = 0; i < words.size(); ++i) words[i] = static_cast<std::uint16_t>(bytes[2 * i] | bytes[2 * i + 1] << 8);
    for (const FloatCoder coder : {FloatCoder::balanced, FloatCoder::fast}) {
        const Bytes payload = own(encode(words, coder, {format, 64, 2, 32}));
        std::vector<std::uint16_t> back(words.size());
        const Status status = decode_with_every_isa(back, [&](std::span<std::uint16_t> out) { return decode(payload, format, out); });
        require(status == Status::ok && back == words, "what was encoded decodes to the same");
    }
}

}  // namespace

void fuzz(ByteSpan input) {
    ByteReader front(input);
    const FloatFormat format = front.u8() & 1 ? kF16 : kBF16;
    std::vector<std::uint16_t> words(front.little_endian(2));
    const Bytes payload = own(front.rest());
    decode_with_every_isa(words, [&](std::span<std::uint16_t> out) { return decode(payload, format, out); });
    round_trip(payload, format);
}

std::vector<Bytes> seeds() {
    std::vector<Bytes> seeds;
    Random random;
    for (const std::uint8_t f16 : {0, 1})
        for (const FloatCoder coder : {FloatCoder::balanced, FloatCoder::fast})
            for (const std::uint32_t n : {1u, 64u, 1000u, 8192u, 40000u})
                for (const std::size_t n_streams : {1, 2, 4}) {
                    std::vector<std::uint16_t> words(n);
                    const int m = f16 ? 10 : 7, middle = f16 ? 9 : 120;
                    for (auto& word : words) word = static_cast<std::uint16_t>((random.next() & 1) << 15 | static_cast<std::uint32_t>(middle + random.bell(8)) << m | (random.next() & 127));
                    const Bytes payload = encode(words, coder, {f16 ? kF16 : kBF16, 256, n_streams, n < 1000 ? std::size_t{2} : std::size_t{32}});
                    Bytes seed = {f16};
                    put_little_endian(seed, static_cast<std::uint16_t>(n));
                    seed.insert(seed.end(), payload.begin(), payload.end());
                    seeds.push_back(seed);
                }
    return seeds;
}

}  // namespace tersor::fuzz
