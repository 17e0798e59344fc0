// Interleaved rANS with alias tables (docs/format.md 5.1): one encoder and one decoder for both stream formats, A12 and A8.
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "tersor/alias_table.hpp"
#include "tersor/bytes.hpp"

namespace tersor {

struct A12 {
    using Word = std::uint16_t;
    static constexpr int precision = 12, state_bytes = 4, word_bits = 16;
    static constexpr std::uint32_t lower = 1u << 16;
};
struct A8 {
    using Word = std::uint8_t;
    static constexpr int precision = 8, state_bytes = 2, word_bits = 8;
    static constexpr std::uint32_t lower = 1u << 8;
};

constexpr std::size_t kMaxLanes = 32;
constexpr std::size_t kMaxStreams = 8;

// First item of part `part` when `n` items are cut into `parts`: docs/format.md 5.5 and 5.6.
constexpr std::size_t cut(std::size_t n, std::size_t part, std::size_t parts) { return part * n / parts; }

// Codes elements from last to first: call `put` for i = n-1 .. 0, then `finish`.
template <class Format>
class StreamEncoder {
public:
    explicit StreamEncoder(std::size_t lanes) : lanes_(lanes) { states_.fill(Format::lower); }

    void put(std::size_t i, const AliasTable& table, std::uint32_t symbol) {
        std::uint32_t& x = states_[i & (lanes_ - 1)];
        const std::uint32_t f = table.frequency[symbol];
        if (x >= std::uint64_t{f} << (2 * Format::word_bits - Format::precision)) {
            words_.push_back(static_cast<typename Format::Word>(x));
            x >>= Format::word_bits;
        }
        x = (x / f) << Format::precision | table.slot[table.first[symbol] + x % f];
    }
    std::size_t n_words() const { return words_.size(); }
    std::array<std::uint32_t, kMaxLanes>& states() { return states_; }
    void append_states(Bytes& out) const {
        for (std::size_t lane = 0; lane < lanes_; ++lane)
            for (int b = 0; b < Format::state_bytes; ++b) out.push_back(static_cast<std::uint8_t>(states_[lane] >> (8 * b)));
    }
    void append_words(Bytes& out) const {
        for (auto word = words_.rbegin(); word != words_.rend(); ++word) put_little_endian(out, *word);
    }

private:
    std::array<std::uint32_t, kMaxLanes> states_{};
    std::size_t lanes_;
    std::vector<typename Format::Word> words_;
};

// Decodes elements from first to last. Missing words read as 0 and are remembered; `finished` tells all.
template <class Format>
class StreamDecoder {
public:
    StreamDecoder(ByteSpan states, ByteSpan words, std::size_t lanes) : lanes_(lanes), words_(words) {
        for (std::size_t lane = 0; lane < lanes; ++lane) {
            for (int b = 0; b < Format::state_bytes; ++b) states_[lane] |= std::uint32_t{states[lane * Format::state_bytes + b]} << (8 * b);
            invalid_ = invalid_ || states_[lane] < Format::lower;
        }
    }
    // The states and where the words go on, for code that decodes many elements at once and hands the rest back.
    const std::array<std::uint32_t, kMaxLanes>& states() const { return states_; }
    void resume(const std::uint32_t* states, std::size_t position) {
        std::copy(states, states + lanes_, states_.begin());
        invalid_ = invalid_ || position > words_.size();
        position_ = std::min(position, words_.size());
    }
    // Without branches on the data: whether an alias is taken and whether a word is needed are as good as random.
    std::uint32_t next(std::size_t i, const AliasTable& table) {
        std::uint32_t& x = states_[i & (lanes_ - 1)];
        const std::uint32_t slot = x & ((1u << Format::precision) - 1), own = slot >> table.bucket_shift;
        const std::int32_t place = static_cast<std::int32_t>(slot & ((1u << table.bucket_shift) - 1));
        const AliasTable::Bucket& bucket = table.bucket[own];
        const std::uint32_t aliased = place >= bucket.threshold ? ~0u : 0u;
        const std::uint32_t symbol = (own & ~aliased) | (bucket.alias & aliased);
        const std::uint32_t offset = static_cast<std::uint32_t>(place) + (static_cast<std::uint32_t>(bucket.adjust) & aliased);
        x = (x >> Format::precision) * table.frequency[symbol] + offset;
        const std::uint32_t hungry = x < Format::lower ? ~0u : 0u;
        x = x << (hungry & Format::word_bits) | (word(hungry) & hungry);
        return symbol;
    }
    // Stored states valid, every word used, none missing, every lane back at its initial state.
    bool finished() const {
        bool ok = !invalid_ && position_ == words_.size();
        for (std::size_t lane = 0; lane < lanes_; ++lane) ok = ok && states_[lane] == Format::lower;
        return ok;
    }

private:
    // The next word, 0 if there is none; it counts as read if `hungry` is all ones.
    std::uint32_t word(std::uint32_t hungry) {
        constexpr std::size_t size = sizeof(typename Format::Word);
        if (words_.size() - position_ < size) {
            invalid_ = invalid_ || hungry != 0;
            return 0;
        }
        std::uint32_t value = words_[position_];
        if constexpr (size == 2) value |= std::uint32_t{words_[position_ + 1]} << 8;
        position_ += size & hungry;
        return value;
    }

    std::array<std::uint32_t, kMaxLanes> states_{};
    std::size_t lanes_;
    ByteSpan words_;
    std::size_t position_ = 0;
    bool invalid_ = false;
};

}  // namespace tersor
