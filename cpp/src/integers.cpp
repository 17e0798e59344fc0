#include "tersor/integers.hpp"

#include <algorithm>
#include <bit>
#include <vector>

#include "tersor/rans.hpp"

namespace tersor {
namespace {

// One lane costs four bytes and decodes slowly; more lanes pay only for long vectors.
std::size_t lanes_for(std::size_t n) { return n < 1024 ? 1 : 4; }

// Reach of an escape: the difference of two int32 takes 33 bits. With 16 raw bits the value stays far inside int64.
constexpr std::int64_t kMaxHigh = std::int64_t{1} << 33;

}  // namespace

std::int32_t integers_offset(std::span<const std::int32_t> values) {
    if (values.empty()) return 0;
    std::vector<std::int32_t> copy(values.begin(), values.end());
    const auto middle = copy.begin() + static_cast<std::ptrdiff_t>(copy.size() / 2);
    std::nth_element(copy.begin(), middle, copy.end());
    return *middle;
}

void encode_integers(std::span<const std::int32_t> values, const AliasTable& table, Bytes& out) {
    const std::int32_t offset = integers_offset(values);
    if (std::all_of(values.begin(), values.end(), [&](std::int32_t v) { return v == offset; })) {
        out.push_back(0);
        put_varint(out, zigzag(offset));
        return;
    }
    const std::size_t lanes = lanes_for(values.size());
    const int r = table.raw_bits;
    StreamEncoder<A12> stream(lanes);
    for (std::size_t i = values.size(); i-- > 0;) stream.put(i, table, symbol_of((std::int64_t{values[i]} - offset) >> r, table));
    Bytes raw, escapes;
    BitWriter bits(raw);
    for (const std::int32_t v : values) {
        const std::int64_t k = std::int64_t{v} - offset;
        bits.put(static_cast<std::uint32_t>(k & ((1 << r) - 1)), r);
        if (symbol_of(k >> r, table) == 0) put_varint(escapes, zigzag(k >> r));
    }
    bits.flush();
    out.push_back(static_cast<std::uint8_t>(1 + std::countr_zero(lanes)));
    put_varint(out, zigzag(offset));
    put_varint(out, stream.n_words());
    put_varint(out, escapes.size());
    stream.append_states(out);
    out.insert(out.end(), raw.begin(), raw.end());
    out.insert(out.end(), escapes.begin(), escapes.end());
    stream.append_words(out);
}

Status decode_integers(ByteReader& in, const AliasTable& table, std::int32_t low, std::int32_t high, std::span<std::int32_t> values) {
    if (table.precision != A12::precision) return Status::corrupt;  // a smaller table ends before the slots of an A12 state
    const unsigned mode = in.u8();
    const std::int64_t offset = unzigzag(in.varint());
    if (in.failed()) return Status::truncated;
    if (mode > 6) return Status::corrupt;
    if (values.empty()) return mode == 0 && offset == 0 ? Status::ok : Status::corrupt;
    if (offset < low || offset > high) return Status::corrupt;  // the sum below relies on it
    if (mode == 0) {
        std::fill(values.begin(), values.end(), static_cast<std::int32_t>(offset));
        return Status::ok;
    }
    const std::size_t lanes = std::size_t{1} << (mode - 1);
    const std::size_t n_words = in.length(in.remaining() / 2);
    const std::size_t n_escapes = in.length(in.remaining());
    const int r = table.raw_bits;
    const ByteSpan states = in.bytes(4 * lanes);
    const ByteSpan raw = in.bytes((values.size() * static_cast<std::size_t>(r) + 7) / 8);
    ByteReader escapes(in.bytes(n_escapes));
    const ByteSpan words = in.bytes(2 * n_words);
    if (in.failed()) return Status::truncated;
    StreamDecoder<A12> stream(states, words, lanes);
    BitReader bits(raw);
    for (std::size_t i = 0; i < values.size(); ++i) {
        const std::uint32_t symbol = stream.next(i, table);
        const std::int64_t h = symbol ? std::int64_t{symbol} - table.symbols / 2 : unzigzag(escapes.varint());
        if (h < -kMaxHigh || h > kMaxHigh) return Status::corrupt;
        const std::int64_t value = (h * (std::int64_t{1} << r) | bits.get(r)) + offset;
        if (value < low || value > high) return Status::corrupt;
        values[i] = static_cast<std::int32_t>(value);
    }
    return stream.finished() && bits.finished() && escapes.at_end() && !escapes.failed() ? Status::ok : Status::corrupt;
}

}  // namespace tersor
