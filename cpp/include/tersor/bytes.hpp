// Bounds-checked reading and appending of bytes, varints and bits; the only place that touches raw payload bytes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace tersor {

using Bytes = std::vector<std::uint8_t>;
using ByteSpan = std::span<const std::uint8_t>;

constexpr std::uint64_t zigzag(std::int64_t v) { return (static_cast<std::uint64_t>(v) << 1) ^ static_cast<std::uint64_t>(v >> 63); }
constexpr std::int64_t unzigzag(std::uint64_t v) { return static_cast<std::int64_t>(v >> 1) ^ -static_cast<std::int64_t>(v & 1); }

inline void put_varint(Bytes& out, std::uint64_t v) {
    for (; v >= 128; v >>= 7) out.push_back(static_cast<std::uint8_t>(v | 128));
    out.push_back(static_cast<std::uint8_t>(v));
}

template <class T>
void put_little_endian(Bytes& out, T v) {
    for (std::size_t i = 0; i < sizeof(T); ++i) out.push_back(static_cast<std::uint8_t>(v >> (8 * i)));
}

// Reads forward through a span. Once anything is missing, `failed()` stays true and every read gives 0.
class ByteReader {
public:
    explicit ByteReader(ByteSpan data) : data_(data) {}

    bool failed() const { return failed_; }
    bool at_end() const { return position_ == data_.size(); }
    std::size_t remaining() const { return data_.size() - position_; }

    std::uint8_t u8() {
        if (remaining() < 1) return fail(), std::uint8_t{0};
        return data_[position_++];
    }
    // Unsigned LEB128 in its shortest form; 64 bits at most.
    std::uint64_t varint() {
        std::uint64_t v = 0;
        for (int shift = 0; shift < 64; shift += 7) {
            const std::uint8_t b = u8();
            if (failed_ || (shift == 63 && b > 1) || (shift > 0 && b == 0)) break;
            v |= std::uint64_t{b & 127u} << shift;
            if (b < 128) return v;
        }
        fail();
        return 0;
    }
    // A varint that must not exceed `limit`.
    std::size_t length(std::size_t limit) {
        const std::uint64_t v = varint();
        if (v > limit) return fail(), std::size_t{0};
        return static_cast<std::size_t>(v);
    }
    std::uint32_t little_endian(std::size_t n_bytes) {
        const ByteSpan b = bytes(n_bytes);
        std::uint32_t v = 0;
        for (std::size_t i = 0; i < b.size(); ++i) v |= std::uint32_t{b[i]} << (8 * i);
        return v;
    }
    ByteSpan bytes(std::size_t n) {
        if (remaining() < n) return fail(), ByteSpan{};
        const ByteSpan result = data_.subspan(position_, n);
        position_ += n;
        return result;
    }
    ByteSpan rest() { return bytes(remaining()); }

private:
    void fail() { failed_ = true; }

    ByteSpan data_;
    std::size_t position_ = 0;
    bool failed_ = false;
};

// Bits are filled from the lowest bit of each byte.
class BitWriter {
public:
    explicit BitWriter(Bytes& out) : out_(out) {}
    void put(std::uint32_t value, int n_bits) {  // n_bits <= 32, value < 2^n_bits
        pending_ |= std::uint64_t{value} << n_pending_;
        for (n_pending_ += n_bits; n_pending_ >= 8; n_pending_ -= 8, pending_ >>= 8) out_.push_back(static_cast<std::uint8_t>(pending_));
    }
    void flush() {
        if (n_pending_ > 0) out_.push_back(static_cast<std::uint8_t>(pending_));
        pending_ = 0;
        n_pending_ = 0;
    }

private:
    Bytes& out_;
    std::uint64_t pending_ = 0;
    int n_pending_ = 0;
};

class BitReader {
public:
    explicit BitReader(ByteSpan data) : data_(data) {}
    bool failed() const { return failed_; }
    std::uint32_t get(int n_bits) {  // n_bits <= 32
        if (n_pending_ < n_bits && !refill(n_bits)) return 0;
        const std::uint32_t value = static_cast<std::uint32_t>(pending_ & ((std::uint64_t{1} << n_bits) - 1));
        pending_ >>= n_bits;
        n_pending_ -= n_bits;
        return value;
    }
    // All bytes used, and the unused bits of the last one are zero.
    bool finished() const { return !failed_ && position_ == data_.size() && n_pending_ < 8 && pending_ == 0; }

private:
    // Four bytes at a time where there are so many.
    bool refill(int n_bits) {
        if (data_.size() - position_ >= 4) {
            const std::uint8_t* p = data_.data() + position_;
            const std::uint32_t next = std::uint32_t{p[0]} | std::uint32_t{p[1]} << 8 | std::uint32_t{p[2]} << 16 | std::uint32_t{p[3]} << 24;
            pending_ |= std::uint64_t{next} << n_pending_;
            n_pending_ += 32;
            position_ += 4;
            return true;
        }
        for (; n_pending_ < n_bits; n_pending_ += 8) {
            if (position_ == data_.size()) return failed_ = true, false;
            pending_ |= std::uint64_t{data_[position_++]} << n_pending_;
        }
        return true;
    }

    ByteSpan data_;
    std::size_t position_ = 0;
    std::uint64_t pending_ = 0;
    int n_pending_ = 0;
    bool failed_ = false;
};

}  // namespace tersor
