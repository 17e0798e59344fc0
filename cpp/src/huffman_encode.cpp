#include <algorithm>
#include <bit>

#include "huffman_code.hpp"
#include "huffman_lengths.hpp"
#include "tersor/huffman.hpp"
#include "tersor/little_endian.hpp"

namespace tersor {

namespace {

using namespace huffman;
using Bytes = std::vector<std::uint8_t>;

// Below this many symbols four streams cost more bytes (up to 6) than their speed is worth.
constexpr std::size_t four_streams_from = 1024;
constexpr unsigned max_streams = 4;

// One table of counts per stream: the exact size of each stream follows, and four tables
// side by side keep runs of one symbol from waiting for their own store.
std::array<Counts, max_streams> count_streams(std::span<const std::uint8_t> data, unsigned n_streams) {
    std::array<Counts, max_streams> counts{};
    for (unsigned k = 0; k < n_streams; ++k) {
        const std::size_t begin = stream_begin(data.size(), k, n_streams);
        const std::size_t end = stream_begin(data.size(), k + 1, n_streams);
        std::array<Counts, 4> lanes{};
        std::size_t i = begin;
        for (; i + 4 <= end; i += 4)
            for (std::size_t lane = 0; lane < 4; ++lane) ++lanes[lane][data[i + lane]];
        for (; i < end; ++i) ++lanes[0][data[i]];
        for (const Counts& lane : lanes)
            for (int symbol = 0; symbol < n_symbols; ++symbol) counts[k][symbol] += lane[symbol];
    }
    return counts;
}

Counts sum(const std::array<Counts, max_streams>& streams) {
    Counts total{};
    for (const Counts& counts : streams)
        for (int symbol = 0; symbol < n_symbols; ++symbol) total[symbol] += counts[symbol];
    return total;
}

std::size_t coded_bytes(const Counts& counts, const Lengths& lengths) {
    std::uint64_t n_bits = 0;
    for (int symbol = 0; symbol < n_symbols; ++symbol) n_bits += counts[symbol] * lengths[symbol];
    return static_cast<std::size_t>(n_bits / 8 + 1);  // the bit that marks the end included
}

class NibbleWriter {
  public:
    explicit NibbleWriter(Bytes& bytes) : bytes_(bytes) {}

    void put(unsigned nibble) {
        if (half_)
            bytes_.back() |= static_cast<std::uint8_t>(nibble << 4);
        else
            bytes_.push_back(static_cast<std::uint8_t>(nibble));
        half_ = !half_;
    }

  private:
    Bytes& bytes_;
    bool half_ = false;
};

void put_gap(NibbleWriter& nibbles, unsigned n_unused) {
    if (n_unused >= long_gap_base) {
        nibbles.put(long_gap);
        nibbles.put((n_unused - long_gap_base) & 15);
        nibbles.put((n_unused - long_gap_base) >> 4);
    } else if (n_unused >= short_gap_base) {
        nibbles.put(short_gap);
        nibbles.put(n_unused - short_gap_base);
    } else if (n_unused == 1) {
        nibbles.put(0);
    }
}

// Ends at the last used symbol: there the code is complete, and a reader sees it.
void put_lengths(Bytes& payload, const Lengths& lengths) {
    NibbleWriter nibbles(payload);
    unsigned n_unused = 0;
    for (const std::uint8_t length : lengths) {
        if (length == 0) {
            ++n_unused;
            continue;
        }
        put_gap(nibbles, n_unused);
        nibbles.put(length);
        n_unused = 0;
    }
}

void put_varint(Bytes& payload, std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) payload.push_back(static_cast<std::uint8_t>(value | 0x80));
    payload.push_back(static_cast<std::uint8_t>(value));
}

struct CodeTable {
    struct Entry {
        std::uint16_t code, length;
    };
    std::array<Entry, n_symbols> entries;

    explicit CodeTable(const Lengths& lengths) {
        const Codes codes = canonical_codes(lengths);
        for (int symbol = 0; symbol < n_symbols; ++symbol) entries[symbol] = {codes[symbol], lengths[symbol]};
    }
};

// `to` is exactly as long as the coded symbols and the bit that marks the end.
void put_stream(std::span<const std::uint8_t> symbols, const CodeTable& table, std::span<std::uint8_t> to) {
    std::uint64_t bits = 0;
    unsigned n_bits = 0;
    const auto append = [&](std::uint8_t symbol) {
        const CodeTable::Entry entry = table.entries[symbol];
        bits |= static_cast<std::uint64_t>(entry.code) << n_bits;
        n_bits += entry.length;
    };
    std::uint8_t* next = to.data();
    std::uint8_t* const end = next + to.size();
    std::size_t i = 0;
    while (i + 4 <= symbols.size() && end - next >= 8) {
        for (std::size_t k = 0; k < 4; ++k) append(symbols[i + k]);  // 7 + 4 * 12 <= 64 bits
        i += 4;
        store_u64(next, bits);
        next += n_bits >> 3;
        bits >>= n_bits & ~7u;
        n_bits &= 7;
    }
    for (; i < symbols.size(); ++i) {
        append(symbols[i]);
        for (; n_bits >= 8; n_bits -= 8, bits >>= 8) *next++ = static_cast<std::uint8_t>(bits);
    }
    *next = static_cast<std::uint8_t>(bits | std::uint64_t{1} << n_bits);
}

void put_streams(Bytes& payload, std::span<const std::uint8_t> data, const Lengths& lengths,
                 const std::array<Counts, max_streams>& counts, unsigned n_streams) {
    std::array<std::size_t, max_streams> sizes{};
    std::size_t total = 0;
    for (unsigned k = 0; k < n_streams; ++k) total += sizes[k] = coded_bytes(counts[k], lengths);
    for (unsigned k = 0; k + 1 < n_streams; ++k) put_varint(payload, sizes[k]);

    std::size_t at = payload.size();
    payload.resize(at + total);
    const CodeTable table(lengths);
    for (unsigned k = 0; k < n_streams; ++k) {
        const std::size_t begin = stream_begin(data.size(), k, n_streams);
        const std::size_t end = stream_begin(data.size(), k + 1, n_streams);
        put_stream(data.subspan(begin, end - begin), table, std::span(payload).subspan(at, sizes[k]));
        at += sizes[k];
    }
}

}  // namespace

Status huffman_encode(std::span<const std::uint8_t> data, Bytes& payload) {
    payload.clear();
    if (data.empty()) return Status::ok;
    const unsigned n_streams = data.size() < four_streams_from ? 1 : max_streams;
    const auto counts = count_streams(data, n_streams);
    const Counts total = sum(counts);
    if (total[data[0]] == data.size()) {
        payload = {form_constant, data[0]};
        return Status::ok;
    }
    const Lengths lengths = optimal_lengths(total);
    payload.push_back(n_streams == 1 ? form_one_stream : form_four_streams);
    put_lengths(payload, lengths);
    put_streams(payload, data, lengths, counts, n_streams);
    return Status::ok;
}

}  // namespace tersor
