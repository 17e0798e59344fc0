// Input: u8 (bit 0: F16 instead of BF16, bit 1: two column profiles), u8 columns - 1, u8 rows, then the payload; scales and shapes of
// the columns are fixed.
#include "fuzz.hpp"
#include "tersor/float_max.hpp"
#include "tersor/isa.hpp"

namespace tersor::fuzz {
namespace {

struct Tables {
    TableSet max = make_set(128, 12, 40, Bytes(kMaxTableCount)), side = make_set(64, 12, 32, {0, 0});
    MaxSideTables sides() const { return {&side.tables[0], &side.tables[1]}; }
};

const Tables& tables() {
    static const Tables all;
    return all;
}

// A model with all shapes and every quarter octave.
struct Model {
    Model(std::size_t rows, std::size_t columns, std::size_t n_profiles) : profiles(n_profiles), n_columns(columns) {
        for (std::size_t i = 0; i < rows; ++i) row_class.push_back(static_cast<std::int32_t>(i % 9) - 4), row_profile.push_back(static_cast<std::int32_t>(i % profiles));
        for (std::size_t q = 0; q < profiles * columns; ++q) scale.push_back(static_cast<std::int32_t>(q % 7) - 3), shape.push_back(static_cast<std::int32_t>(q % (kMaxColumnShape + 1)));
    }
    Bytes encode(std::span<const std::uint16_t> words, FloatFormat format, std::size_t n_streams, std::size_t lanes) const {
        return encode_float_max(words, format, {2, -3, profiles, n_columns, row_class, row_profile, scale, shape}, n_streams, lanes, tables().max, tables().sides());
    }
    Status decode(ByteSpan payload, FloatFormat format, std::span<std::uint16_t> words) const {
        return decode_float_max({payload, format, row_class.size(), n_columns, profiles, scale, shape, &tables().max, tables().sides(), words});
    }
    std::size_t profiles, n_columns;
    std::vector<std::int32_t> row_class, row_profile, scale, shape;
};

// Decodes the input's bytes as words after encoding them.
void round_trip(ByteSpan bytes, FloatFormat format, std::size_t profiles) {
    const std::size_t columns = bytes.size() < 200 ? 3 : 32, rows = bytes.size() / 2 / columns;
    const Model model(rows, columns, profiles);
    std::vector<std::uint16_t> words(rows * columns), back(words.size());
    for (std::size_t i = 0; i < words.size(); ++i) words[i] = static_cast<std::uint16_t>(bytes[2 * i] | bytes[2 * i + 1] << 8);
    const Bytes payload = own(model.encode(words, format, 2, 32));
    require(model.decode(payload, format, back) == Status::ok && back == words, "what was encoded decodes to the same");
}

}  // namespace

void fuzz(ByteSpan input) {
    ByteReader front(input);
    const std::uint8_t flags = front.u8();
    const FloatFormat format = flags & 1 ? kF16 : kBF16;
    const std::size_t profiles = flags & 2 ? 2 : 1, columns = front.u8() + std::size_t{1}, rows = front.u8();
    const Bytes payload = own(front.rest());
    const Model model(rows, columns, profiles);
    std::vector<std::uint16_t> first;
    for (const Isa each : available_isas()) {
        require(use_isa(name_of(each)) == Status::ok, "the machine has it");
        std::vector<std::uint16_t> words(rows * columns);
        const Status status = model.decode(payload, format, words);
        require(status != Status::bad_argument, "damage is no bad argument");
        if (status != Status::ok) words.assign(1, 0);
        if (each == available_isas().front()) first = words;
        require(words == first, "every instruction set decodes the same");
    }
    round_trip(payload, format, profiles);
}

std::vector<Bytes> seeds() {
    std::vector<Bytes> seeds;
    Random random;
    for (const std::uint8_t flags : {0, 1, 2, 3})
        for (const std::size_t columns : {1, 31, 32, 64, 256})
            for (const std::size_t rows : {1, 3, 60})
                for (const std::size_t n_streams : {1, 2}) {
                    std::vector<std::uint16_t> words(rows * columns);
                    const int m = flags & 1 ? 10 : 7, middle = flags & 1 ? 9 : 120;
                    for (auto& word : words) word = static_cast<std::uint16_t>((random.next() & 1) << 15 | static_cast<std::uint32_t>(middle + random.bell(8)) << m | (random.next() & 127));
                    const Bytes payload = Model(rows, columns, flags & 2 ? 2 : 1).encode(words, flags & 1 ? kF16 : kBF16, n_streams, 32);
                    Bytes seed = {flags, static_cast<std::uint8_t>(columns - 1), static_cast<std::uint8_t>(rows)};
                    seed.insert(seed.end(), payload.begin(), payload.end());
                    seeds.push_back(seed);
                }
    return seeds;
}

}  // namespace tersor::fuzz
