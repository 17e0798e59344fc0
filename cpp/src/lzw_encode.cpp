#include <algorithm>
#include <bit>
#include <cstddef>

#include "lzw_code.hpp"
#include "tersor/lzw.hpp"

namespace tersor {

namespace {

using namespace lzw;

// Codes packed from the lowest bit of each byte upwards.
class CodeWriter {
  public:
    explicit CodeWriter(std::vector<std::uint8_t>& bytes) : bytes_(bytes) {}

    void put(std::uint32_t code, unsigned width) {
        bits_ |= static_cast<std::uint64_t>(code) << n_bits_;
        n_bits_ += width;
        for (; n_bits_ >= 8; n_bits_ -= 8, bits_ >>= 8) bytes_.push_back(static_cast<std::uint8_t>(bits_));
    }

    void finish() {
        if (n_bits_ > 0) bytes_.push_back(static_cast<std::uint8_t>(bits_));
    }

    std::uint64_t n_bits() const { return 8 * static_cast<std::uint64_t>(bytes_.size()) + n_bits_; }

  private:
    std::vector<std::uint8_t>& bytes_;
    std::uint64_t bits_ = 0;
    unsigned n_bits_ = 0;
};

// (code of a phrase, next byte) -> code of the longer phrase. Open addressing, at most half full.
class Dictionary {
  public:
    explicit Dictionary(std::size_t n_data)
        : slots_(std::bit_ceil(2 * std::min<std::size_t>(n_data + 1, max_code - first_phrase + 1))),
          shift_(32 - static_cast<unsigned>(std::countr_zero(slots_.size()))) {}

    void clear() { std::fill(slots_.begin(), slots_.end(), Slot{}); }

    // Code of the longer phrase, or 0 after noting where `add` would put it.
    std::uint32_t find(std::uint32_t code, std::uint8_t byte) {
        key_ = code << 8 | byte;
        position_ = key_ * 0x9e3779b1u >> shift_;
        while (slots_[position_].code != 0 && slots_[position_].key != key_)
            position_ = (position_ + 1) & (slots_.size() - 1);
        return slots_[position_].code;
    }

    void add(std::uint32_t code) { slots_[position_] = {key_, code}; }

  private:
    struct Slot {
        std::uint32_t key = 0;
        std::uint32_t code = 0;  // 0: empty (no phrase has the code of a literal)
    };
    std::vector<Slot> slots_;
    unsigned shift_;
    std::uint32_t key_ = 0;
    std::size_t position_ = 0;
};

// Says when a full dictionary no longer fits the data: a stretch of 16 KiB or more took over 1/32 more bits per
// byte than the best stretch since the dictionary was full, or than the 8 bits of the data itself.
// Measured against "reset as soon as full": 1% to 4% fewer bytes on planes of weights and on text;
// "never reset" took four times the bytes on data that changes.
class ResetRule {
  public:
    void restart() { *this = ResetRule{}; }

    // To be asked while the dictionary is full, with what was read and written so far.
    bool says_reset(std::uint64_t n_bytes, std::uint64_t n_bits) {
        if (!started_) start_stretch(n_bytes, n_bits);
        if (n_bytes - first_byte_ < window) return false;
        const std::uint64_t rate = (n_bits - first_bit_) * 1024 / (n_bytes - first_byte_);
        start_stretch(n_bytes, n_bits);
        best_rate_ = std::min(best_rate_, rate);
        return rate > best_rate_ + best_rate_ / 32;
    }

  private:
    static constexpr std::uint64_t window = 16384;
    bool started_ = false;
    std::uint64_t first_byte_ = 0, first_bit_ = 0;  // of the stretch
    std::uint64_t best_rate_ = 8 * 1024;            // bits per 1024 bytes

    void start_stretch(std::uint64_t n_bytes, std::uint64_t n_bits) {
        started_ = true;
        first_byte_ = n_bytes;
        first_bit_ = n_bits;
    }
};

}  // namespace

Status lzw_encode(std::span<const std::uint8_t> data, std::vector<std::uint8_t>& payload) {
    payload.clear();
    if (data.empty()) return Status::ok;
    CodeWriter codes(payload);
    Dictionary dictionary(data.size());
    ResetRule rule;
    std::uint64_t n_codes = 0;  // since the last reset
    std::uint32_t phrase = data[0];
    for (std::size_t i = 1; i < data.size(); ++i) {
        if (const std::uint32_t longer = dictionary.find(phrase, data[i]); longer != 0) {
            phrase = longer;
            continue;
        }
        codes.put(phrase, code_width(largest_code(n_codes++)));
        phrase = data[i];
        if (reset_code + n_codes <= max_code) {
            dictionary.add(largest_code(n_codes));
        } else if (rule.says_reset(i, codes.n_bits())) {
            codes.put(reset_code, code_width(largest_code(n_codes)));
            dictionary.clear();
            rule.restart();
            n_codes = 0;
        }
    }
    codes.put(phrase, code_width(largest_code(n_codes)));
    codes.finish();
    return Status::ok;
}

}  // namespace tersor
