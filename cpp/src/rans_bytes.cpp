#include "tersor/rans_bytes.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <numeric>

#include "tersor/alias_table.hpp"
#include "tersor/bytes.hpp"
#include "tersor/rans.hpp"

namespace tersor {
namespace {

// Bytes rarer than 1 in 16384 are cheaper as escapes than as table entries of 1 in 4096.
constexpr std::uint64_t kRare = 16384;

struct Alphabet {
    int symbols = 16;                     // K
    std::vector<std::uint8_t> bytes;      // byte of symbol 1, 2, ...
    std::array<std::uint8_t, 256> symbol_of{};
    AliasTable table;
    Bytes packed;
};

Alphabet choose_alphabet(std::span<const std::uint8_t> data) {
    std::array<std::uint64_t, 256> counts{};
    for (const std::uint8_t byte : data) ++counts[byte];
    std::array<int, 256> order;
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return counts[a] > counts[b]; });
    Alphabet alphabet;
    for (std::size_t i = 0; i < 127; ++i) {
        const std::uint64_t count = counts[static_cast<std::size_t>(order[i])];
        if (i > 0 && count * kRare <= data.size()) break;
        alphabet.bytes.push_back(static_cast<std::uint8_t>(order[i]));
    }
    while (static_cast<std::size_t>(alphabet.symbols) <= alphabet.bytes.size()) alphabet.symbols *= 2;
    std::vector<std::uint64_t> symbol_counts(static_cast<std::size_t>(alphabet.symbols));
    symbol_counts[0] = data.size();
    for (std::size_t i = 0; i < alphabet.bytes.size(); ++i) {
        alphabet.symbol_of[alphabet.bytes[i]] = static_cast<std::uint8_t>(i + 1);
        symbol_counts[i + 1] = counts[alphabet.bytes[i]];
        symbol_counts[0] -= symbol_counts[i + 1];
    }
    symbol_counts[0] = std::max<std::uint64_t>(symbol_counts[0], 1);
    std::vector<std::uint16_t> frequencies(symbol_counts.size());
    normalize(symbol_counts, A12::precision, frequencies);
    AliasTable::build(frequencies, A12::precision, alphabet.table);
    alphabet.packed = pack_frequencies(frequencies);
    return alphabet;
}

std::size_t lanes_for(std::size_t n) { return n < 512 ? 1 : n < 16384 ? 4 : 32; }

}  // namespace

Status rans_encode(std::span<const std::uint8_t> data, std::vector<std::uint8_t>& payload) {
    if (data.empty()) return Status::ok;
    const Alphabet alphabet = choose_alphabet(data);
    const std::size_t lanes = lanes_for(data.size());
    StreamEncoder<A12> stream(lanes);
    for (std::size_t i = data.size(); i-- > 0;) stream.put(i, alphabet.table, alphabet.symbol_of[data[i]]);
    Bytes escapes;
    for (const std::uint8_t byte : data)
        if (alphabet.symbol_of[byte] == 0) escapes.push_back(byte);
    payload.push_back(static_cast<std::uint8_t>(std::countr_zero(static_cast<unsigned>(alphabet.symbols))));
    payload.push_back(static_cast<std::uint8_t>(alphabet.bytes.size()));
    payload.insert(payload.end(), alphabet.bytes.begin(), alphabet.bytes.end());
    put_varint(payload, alphabet.packed.size());
    payload.insert(payload.end(), alphabet.packed.begin(), alphabet.packed.end());
    payload.push_back(static_cast<std::uint8_t>(std::countr_zero(lanes)));
    put_varint(payload, stream.n_words());
    put_varint(payload, escapes.size());
    stream.append_states(payload);
    payload.insert(payload.end(), escapes.begin(), escapes.end());
    stream.append_words(payload);
    return Status::ok;
}

Status rans_decode(std::span<const std::uint8_t> payload, std::span<std::uint8_t> out) {
    if (out.empty()) return payload.empty() ? Status::ok : Status::corrupt;
    ByteReader in(payload);
    const unsigned log_symbols = in.u8();
    const std::size_t n_bytes = in.u8();
    if (in.failed()) return Status::truncated;
    if (log_symbols < 4 || log_symbols > 7 || n_bytes == 0 || n_bytes >= std::size_t{1} << log_symbols) return Status::corrupt;
    const ByteSpan bytes = in.bytes(n_bytes);
    const ByteSpan packed = in.bytes(in.length(in.remaining()));
    const std::size_t log_lanes = in.u8();
    const std::size_t n_words = in.length(in.remaining() / 2), n_escapes = in.length(in.remaining());
    if (in.failed()) return Status::truncated;
    if (log_lanes > 5) return Status::corrupt;
    const std::size_t lanes = std::size_t{1} << log_lanes;
    const ByteSpan states = in.bytes(4 * lanes);
    ByteReader escapes(in.bytes(n_escapes));
    const ByteSpan words = in.bytes(2 * n_words);
    if (in.failed()) return Status::truncated;
    if (!in.at_end()) return Status::corrupt;

    const std::array<std::uint8_t, 1> no_raw_bits{0};
    TableSet set;
    if (const Status status = TableSet::build(1 << log_symbols, A12::precision, no_raw_bits, packed, 0, {}, set); status != Status::ok) return status;
    const AliasTable& table = set.tables[0];
    std::array<std::uint8_t, 128> byte_of{};
    std::array<bool, 256> seen{};
    for (std::size_t i = 0; i < n_bytes; ++i) {
        if (seen[bytes[i]]) return Status::corrupt;
        seen[bytes[i]] = true;
        byte_of[i + 1] = bytes[i];
    }
    for (std::size_t s = n_bytes + 1; s < table.frequency.size(); ++s)
        if (table.frequency[s]) return Status::corrupt;
    StreamDecoder<A12> stream(states, words, lanes);
    for (std::size_t i = 0; i < out.size(); ++i) {
        const std::uint32_t symbol = stream.next(i, table);
        out[i] = symbol ? byte_of[symbol] : escapes.u8();
    }
    return stream.finished() && !escapes.failed() && escapes.at_end() ? Status::ok : Status::corrupt;
}

}  // namespace tersor
