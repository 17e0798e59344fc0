#include "tersor/float_blocks.hpp"

#include <algorithm>
#include <cstring>
#include <memory>

#include "float_probe.hpp"
#include "tersor/crc32c.hpp"

namespace tersor {
namespace {

constexpr std::uint8_t kFormFloatRows = 2;
// What an order-0 code of the bytes must promise of our size to be tried. Estimates from few words are rough, and there is little to gain.
constexpr double kWorthTrying = 0.99, kWorthTryingFew = 0.8;
constexpr std::size_t kFewWords = 4096;
constexpr double kLooksUniform = 7.96;     // bits a byte of a sampled plane
constexpr std::size_t kMaxPrefix = 2 + 10 + 2 * (1 + 10);

// The 16-bit words of a block: its own memory if that is aligned, else a copy in `memory`, which a thread keeps for its next block.
class WordBuffer {
public:
    std::span<const std::uint16_t> words_of(const FloatBlock& block) {
        const std::size_t n = block.rows * block.columns;
        if (block.unit != FloatUnit::f32 && reinterpret_cast<std::uintptr_t>(block.data.data()) % alignof(std::uint16_t) == 0)
            return {reinterpret_cast<const std::uint16_t*>(block.data.data()), n};
        if (n > size_) {
            memory_.reset(new std::uint16_t[n]);  // may throw: the size is true only after it
            size_ = n;
        }
        if (block.unit != FloatUnit::f32)
            std::memcpy(memory_.get(), block.data.data(), 2 * n);
        else
            for (std::size_t i = 0; i < n; ++i) std::memcpy(&memory_[i], block.data.data() + 4 * i + 2, 2);
        return {memory_.get(), n};
    }

private:
    std::unique_ptr<std::uint16_t[]> memory_;
    std::size_t size_ = 0;
};

// Whether some row's lowest mantissa bit is never used. Nearly all rows use it within a few elements.
bool has_narrow_rows(const FloatBlock& block) {
    for (std::size_t row = 0; row < block.rows; ++row) {
        const std::uint8_t* low = block.data.data() + 4 * row * block.columns;
        std::size_t j = 0;
        while (j < block.columns && (low[4 * j] & 1) == 0) ++j;
        if (j == block.columns) return true;
    }
    return false;
}

bool low_halves_look_uniform(const FloatBlock& block) {
    const double least = kLooksUniform * static_cast<double>(block.rows * block.columns);
    return plane_bits(block.data, 0, 4) >= least && plane_bits(block.data, 1, 4) >= least;
}

// Copies byte 0 of every element, then byte 1 of every element.
void copy_low_halves(ByteSpan data, std::uint8_t* out) {
    const std::size_t n = data.size() / 4;
    for (std::size_t i = 0; i < n; ++i) out[i] = data[4 * i];
    for (std::size_t i = 0; i < n; ++i) out[n + i] = data[4 * i + 1];
}

Bytes prefix_of(const FloatBlock& block, std::size_t n_upper, std::uint8_t raw_codec) {
    Bytes prefix{kFormFloatRows, static_cast<std::uint8_t>(block.unit)};
    if (block.unit != FloatUnit::f32) return prefix;
    put_varint(prefix, n_upper);
    for (int plane = 0; plane < 2; ++plane) {
        prefix.push_back(raw_codec);
        put_varint(prefix, block.rows * block.columns);
    }
    return prefix;
}

// Whether coding the two bytes of every word apart might do better than `n_payload` bytes.
bool bytes_may_do_better(std::span<const std::uint16_t> words, std::size_t n_payload) {
    const ByteSpan bytes{reinterpret_cast<const std::uint8_t*>(words.data()), 2 * words.size()};
    const double share = words.size() < kFewWords ? kWorthTryingFew : kWorthTrying;
    return plane_bits(bytes, 0, 2) + plane_bits(bytes, 1, 2) < share * 8 * static_cast<double>(n_payload);
}

}  // namespace

std::size_t float_block_room(std::size_t n_bytes, std::size_t n_rows) { return n_bytes + 2 * n_rows + 4096; }

void count_float_block(const FloatBlock& block, const FloatRowsOptions& options, std::size_t stride, FloatCounts& counts) {
    thread_local WordBuffer buffer;
    count_float_rows(buffer.words_of(block), options, stride, counts);
}

EncodedFloatBlock encode_float_block(const FloatBlock& block, const WordEncoder& encode_words, const FloatBlockOptions& options, std::span<std::uint8_t> out) {
    thread_local WordBuffer buffer;
    EncodedFloatBlock result{{}, crc32c(block.data, 0)};
    const std::size_t size = size_of(block.unit), n = block.rows * block.columns;
    const bool is_f32 = block.unit == FloatUnit::f32;
    if (all_equal(block.data, size) || has_repeats(block.data, block.columns * size)) return result;
    if (is_f32 && ((options.narrow_rows && has_narrow_rows(block)) || !low_halves_look_uniform(block))) return result;
    const std::span<const std::uint16_t> words = buffer.words_of(block);
    const std::span<std::uint8_t> upper = encode_words(words, kMaxPrefix, out);
    if (upper.empty() || bytes_may_do_better(words, upper.size())) return result;

    const Bytes prefix = prefix_of(block, upper.size(), options.raw_codec);
    std::uint8_t* const begin = upper.data() - prefix.size();
    std::uint8_t* end = upper.data() + upper.size();
    if (is_f32) {
        if (static_cast<std::size_t>(out.data() + out.size() - end) < 2 * n) return result;
        copy_low_halves(block.data, end);
        end += 2 * n;
    }
    if (static_cast<std::size_t>(end - begin) > block.data.size()) return result;  // raw is smaller
    std::copy(prefix.begin(), prefix.end(), begin);
    result.payload = {begin, end};
    return result;
}

}  // namespace tersor
