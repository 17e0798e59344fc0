#include <algorithm>
#include <cstddef>
#include <cstring>

#include "lzw_code.hpp"
#include "tersor/little_endian.hpp"
#include "tersor/lzw.hpp"

namespace tersor {

namespace {

using namespace lzw;

// Codes packed from the lowest bit of each byte upwards.
class CodeReader {
  public:
    explicit CodeReader(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

    // False if fewer than `width` bits (at most 16) are left.
    bool get(unsigned width, std::uint32_t& code) {
        if (n_bits_left() < width) return false;
        code = static_cast<std::uint32_t>(peek()) & ((1u << width) - 1);
        position_ += width;
        return true;
    }

    bool only_padding_left() const { return n_bits_left() < 8 && peek() == 0; }

  private:
    std::uint64_t n_bits_left() const { return 8 * static_cast<std::uint64_t>(bytes_.size()) - position_; }

    // The bits from `position_` on, at least 16 of them, zeros after the end.
    std::uint64_t peek() const {
        const auto byte = static_cast<std::size_t>(position_ / 8);
        if (bytes_.size() >= byte + 8) return load_u64(&bytes_[byte]) >> position_ % 8;
        std::uint64_t bits = 0;
        for (std::size_t k = byte; k < bytes_.size(); ++k) bits |= std::uint64_t{bytes_[k]} << 8 * (k - byte);
        return bits >> position_ % 8;
    }

    std::span<const std::uint8_t> bytes_;
    std::uint64_t position_ = 0;  // in bits
};

// A phrase is bytes that are already in the output, counted from the last reset. 32 bits are enough: until the
// dictionary is full there are 65,279 phrases, each at most one byte longer than the longest before, 2^31 bytes in all.
struct Phrase {
    std::uint32_t begin, length;
};

// Copy `length` bytes forward inside the output; a phrase that names itself overlaps by one byte.
void copy_phrase(std::uint8_t* to, const std::uint8_t* from, std::size_t length, const std::uint8_t* end) {
    const bool apart = from + length <= to;
    if (apart && static_cast<std::size_t>(end - to) >= length + 7) {
        for (std::size_t k = 0; k < length; k += 8) std::memcpy(to + k, from + k, 8);  // may write 7 bytes too many
    } else {
        for (std::size_t k = 0; k < length; ++k) to[k] = from[k];
    }
}

class Decoder {
  public:
    Decoder(std::span<const std::uint8_t> payload, std::span<std::uint8_t> out)
        : codes_(payload), out_(out), phrases_(std::min<std::size_t>(out.size(), max_code - first_phrase + 1)) {}

    Status run() {
        while (written_ < out_.size()) {
            const std::uint32_t largest = largest_code(n_codes_);
            std::uint32_t code = 0;
            if (!codes_.get(code_width(largest), code)) return Status::truncated;
            if (code > largest || (code == reset_code && n_codes_ == 0)) return Status::corrupt;
            if (code == reset_code) {
                reset();
            } else if (!write(code)) {
                return Status::corrupt;
            }
        }
        return codes_.only_padding_left() ? Status::ok : Status::corrupt;
    }

  private:
    void reset() {
        start_ = written_;
        n_codes_ = 0;
    }

    // Phrase of the code before this one plus the first byte of this one, which is about to be written behind it.
    void learn() {
        if (n_codes_ > 0 && n_codes_ <= max_code - reset_code)
            phrases_[static_cast<std::size_t>(n_codes_ - 1)] = {previous_.begin, previous_.length + 1};
    }

    // False if the phrase is longer than the room that is left.
    bool write(std::uint32_t code) {
        learn();
        const auto begin = static_cast<std::uint32_t>(written_ - start_);
        std::uint32_t length = 1;
        if (code < n_literals) {
            out_[written_] = static_cast<std::uint8_t>(code);
        } else {
            const Phrase phrase = phrases_[code - first_phrase];
            length = phrase.length;
            if (length > out_.size() - written_) return false;
            copy_phrase(&out_[written_], &out_[start_ + phrase.begin], length, out_.data() + out_.size());
        }
        previous_ = {begin, length};
        written_ += length;
        ++n_codes_;
        return true;
    }

    CodeReader codes_;
    std::span<std::uint8_t> out_;
    std::vector<Phrase> phrases_;
    std::size_t written_ = 0;
    std::size_t start_ = 0;      // where the output stood at the last reset
    std::uint64_t n_codes_ = 0;  // since the last reset
    Phrase previous_{};
};

}  // namespace

Status lzw_decode(std::span<const std::uint8_t> payload, std::span<std::uint8_t> out) {
    if (out.empty()) return payload.empty() ? Status::ok : Status::corrupt;
    return Decoder(payload, out).run();
}

}  // namespace tersor
