#include <algorithm>
#include <bit>

#include "huffman_code.hpp"
#include "tersor/huffman.hpp"
#include "tersor/little_endian.hpp"

namespace tersor {

namespace {

using namespace huffman;
using Input = std::span<const std::uint8_t>;
using Output = std::span<std::uint8_t>;

// Reads the nibbles of the table of lengths, low half of a byte first.
class NibbleReader {
  public:
    explicit NibbleReader(Input bytes) : bytes_(bytes) {}

    // False at the end of the bytes.
    bool get(unsigned& nibble) {
        if (position_ / 2 >= bytes_.size()) return false;
        nibble = bytes_[position_ / 2] >> 4 * (position_ % 2) & 15;
        ++position_;
        return true;
    }

    std::size_t n_bytes() const { return (position_ + 1) / 2; }
    bool padding_is_zero() const { return position_ % 2 == 0 || bytes_[position_ / 2] >> 4 == 0; }

  private:
    Input bytes_;
    std::size_t position_ = 0;
};

// Number of unused symbols that `nibble` and what follows it stand for.
Status read_gap(NibbleReader& nibbles, unsigned nibble, unsigned& n_unused) {
    unsigned low = 0, high = 0;
    if (nibble == 0) {
        n_unused = 1;
    } else if (nibble == short_gap) {
        if (!nibbles.get(low)) return Status::truncated;
        n_unused = short_gap_base + low;
    } else if (nibble == long_gap) {
        if (!nibbles.get(low) || !nibbles.get(high)) return Status::truncated;
        n_unused = long_gap_base + (high << 4 | low);
    } else {
        return Status::corrupt;
    }
    return Status::ok;
}

// Read the table of lengths and drop it from `input`. Only a complete code is accepted.
Status read_lengths(Input& input, Lengths& lengths) {
    constexpr unsigned complete = 1u << max_length;
    NibbleReader nibbles(input);
    unsigned symbol = 0, used = 0;
    while (used < complete) {
        unsigned nibble = 0;
        if (symbol >= n_symbols) return Status::corrupt;  // every symbol read, codes left over
        if (!nibbles.get(nibble)) return Status::truncated;
        if (nibble >= 1 && nibble <= max_length) {
            lengths[symbol++] = static_cast<std::uint8_t>(nibble);
            used += complete >> nibble;
        } else {
            unsigned n_unused = 0;
            if (const Status status = read_gap(nibbles, nibble, n_unused); status != Status::ok) return status;
            symbol += n_unused;
        }
    }
    if (used > complete || !nibbles.padding_is_zero()) return Status::corrupt;
    input = input.subspan(nibbles.n_bytes());
    return Status::ok;
}

// LEB128 of at most 9 bytes, in its shortest form.
Status read_varint(Input& input, std::uint64_t& value) {
    value = 0;
    for (std::size_t k = 0; k < 9; ++k) {
        if (k == input.size()) return Status::truncated;
        const std::uint8_t byte = input[k];
        value |= static_cast<std::uint64_t>(byte & 0x7f) << 7 * k;
        if (byte < 0x80) {
            input = input.subspan(k + 1);
            return byte == 0 && k > 0 ? Status::corrupt : Status::ok;
        }
    }
    return Status::corrupt;
}

// Indexed by the next `width` bits of a stream; low byte: length, high byte: symbol.
struct DecodeTable {
    std::array<std::uint16_t, std::size_t{1} << max_length> entries;
    unsigned width;

    explicit DecodeTable(const Lengths& lengths) : width(*std::max_element(lengths.begin(), lengths.end())) {
        const Codes codes = canonical_codes(lengths);
        for (unsigned symbol = 0; symbol < n_symbols; ++symbol) {
            const unsigned length = lengths[symbol];
            if (length == 0) continue;
            const auto entry = static_cast<std::uint16_t>(symbol << 8 | length);
            for (std::size_t k = codes[symbol]; k < std::size_t{1} << width; k += std::size_t{1} << length)
                entries[k] = entry;
        }
    }
};

struct Stream {
    Input bytes;
    Output out;
    std::size_t position = 0;   // in bits, of the next code
    std::size_t n_decoded = 0;
};

// Up to 24 bits from `position` on, of which at least 17 are of the stream or zero.
unsigned peek(Input bytes, std::size_t position) {
    unsigned bits = 0;
    for (std::size_t k = 0; k < 3; ++k)
        if (position / 8 + k < bytes.size()) bits |= static_cast<unsigned>(bytes[position / 8 + k]) << 8 * k;
    return bits >> position % 8;
}

// Decode the rest of one stream, each bit checked, and see that the stream ends there.
Status finish_stream(const DecodeTable& table, Stream& stream) {
    const std::size_t n_bits = 8 * stream.bytes.size();
    const unsigned mask = (1u << table.width) - 1;
    while (stream.n_decoded < stream.out.size()) {
        const std::uint16_t entry = table.entries[peek(stream.bytes, stream.position) & mask];
        stream.position += entry & 0xff;
        if (stream.position > n_bits) return Status::truncated;
        stream.out[stream.n_decoded++] = static_cast<std::uint8_t>(entry >> 8);
    }
    const bool in_last_byte = n_bits - stream.position <= 8;
    return in_last_byte && peek(stream.bytes, stream.position) == end_mark ? Status::ok : Status::corrupt;
}

// Decode side by side while every stream has 8 bytes to load and room for PerLoad symbols.
// `bits` holds the bits to come with a one above them, so the leading zeros count the bits used;
// 56 bits are there after each load, so PerLoad * table.width <= 56 must hold.
template <std::size_t NStreams, std::size_t PerLoad>
void decode_together(const DecodeTable& table, std::span<Stream, NStreams> streams) {
    constexpr std::uint64_t sentinel = std::uint64_t{1} << 63;
    const std::uint64_t mask = (std::uint64_t{1} << table.width) - 1;
    const std::uint16_t* const entries = table.entries.data();
    const std::uint8_t* next[NStreams];
    const std::uint8_t* last[NStreams];
    std::uint8_t* out[NStreams];
    std::uint64_t bits[NStreams];
    int n_used[NStreams];  // bits of *next that are used, 0..7
    std::size_t n_loads = SIZE_MAX;
    for (std::size_t s = 0; s < NStreams; ++s) {
        if (streams[s].bytes.size() < 8) return;
        next[s] = streams[s].bytes.data();
        last[s] = next[s] + streams[s].bytes.size() - 8;
        out[s] = streams[s].out.data();
        bits[s] = sentinel;
        n_loads = std::min(n_loads, streams[s].out.size() / PerLoad);
    }
    for (std::size_t load = 0;; ++load) {
        bool more = load < n_loads;
        for (std::size_t s = 0; s < NStreams; ++s) {
            n_used[s] = std::countl_zero(bits[s]);
            next[s] += n_used[s] >> 3;
            n_used[s] &= 7;
            more &= next[s] <= last[s];
        }
        if (!more) break;
        for (std::size_t s = 0; s < NStreams; ++s) bits[s] = (load_u64(next[s]) | sentinel) >> n_used[s];
        for (std::size_t k = 0; k < PerLoad; ++k)
            for (std::size_t s = 0; s < NStreams; ++s) {
                const std::uint16_t entry = entries[bits[s] & mask];
                bits[s] >>= entry & 63;
                out[s][k] = static_cast<std::uint8_t>(entry >> 8);
            }
        for (std::size_t s = 0; s < NStreams; ++s) out[s] += PerLoad;
    }
    for (std::size_t s = 0; s < NStreams; ++s) {
        const auto n_bytes = static_cast<std::size_t>(next[s] - streams[s].bytes.data());
        streams[s].position = 8 * n_bytes + static_cast<std::size_t>(n_used[s]);
        streams[s].n_decoded = static_cast<std::size_t>(out[s] - streams[s].out.data());
    }
}

template <std::size_t NStreams>
Status decode_streams(const DecodeTable& table, std::span<Stream, NStreams> streams) {
    if (table.width <= 8)
        decode_together<NStreams, 7>(table, streams);
    else if (table.width <= 11)
        decode_together<NStreams, 5>(table, streams);
    else
        decode_together<NStreams, 4>(table, streams);
    for (Stream& stream : streams)
        if (const Status status = finish_stream(table, stream); status != Status::ok) return status;
    return Status::ok;
}

template <std::size_t NStreams>
Status decode_coded(Input input, Output out) {
    Lengths lengths{};
    if (const Status status = read_lengths(input, lengths); status != Status::ok) return status;
    std::array<std::uint64_t, NStreams> sizes{};
    for (std::size_t k = 0; k + 1 < NStreams; ++k)
        if (const Status status = read_varint(input, sizes[k]); status != Status::ok) return status;

    std::array<Stream, NStreams> streams{};
    for (unsigned k = 0; k < NStreams; ++k) {
        if (k + 1 == NStreams) sizes[k] = input.size();
        if (sizes[k] > input.size()) return Status::truncated;
        const std::size_t begin = stream_begin(out.size(), k, NStreams);
        const std::size_t end = stream_begin(out.size(), k + 1, NStreams);
        streams[k].bytes = input.first(static_cast<std::size_t>(sizes[k]));
        streams[k].out = out.subspan(begin, end - begin);
        input = input.subspan(static_cast<std::size_t>(sizes[k]));
    }
    return decode_streams<NStreams>(DecodeTable(lengths), streams);
}

Status decode_constant(Input input, Output out) {
    if (input.empty()) return Status::truncated;
    if (input.size() > 1) return Status::corrupt;
    std::fill(out.begin(), out.end(), input[0]);
    return Status::ok;
}

}  // namespace

Status huffman_decode(Input payload, Output out) {
    if (out.empty()) return payload.empty() ? Status::ok : Status::corrupt;
    if (payload.empty()) return Status::truncated;
    const Input rest = payload.subspan(1);
    switch (payload[0]) {
        case form_constant: return decode_constant(rest, out);
        case form_one_stream: return decode_coded<1>(rest, out);
        case form_four_streams: return decode_coded<4>(rest, out);
        default: return Status::corrupt;
    }
}

}  // namespace tersor
