// What the encoder and the decoder of float rows share: how a word becomes symbol, raw bits and escape.
#pragma once
#include "tersor/float_rows.hpp"
#include "tersor/rans.hpp"

namespace tersor {

// The geometry of one coder (t = top mantissa bits in the symbol) over one float format.
struct FloatSplit {
    FloatFormat format;
    int top_bits;  // t
    int symbols;   // K

    constexpr int low_bits() const { return format.mantissa_bits - top_bits; }
    constexpr int raw_bits() const { return low_bits() + 1; }
    constexpr std::uint32_t field_mask() const { return (1u << (format.exponent_bits + top_bits)) - 1; }

    // What is subtracted from the words of a row of class `row_class`.
    constexpr std::uint16_t addend(std::int64_t base, std::int64_t row_class) const {
        const std::int64_t exponent = format.bias + base + (row_class >> 2) - 12;
        return static_cast<std::uint16_t>(static_cast<std::uint64_t>(exponent) << format.mantissa_bits);
    }
    constexpr std::uint32_t field(std::uint16_t u) const { return u >> low_bits() & field_mask(); }
    constexpr std::uint32_t raw(std::uint16_t u) const {
        return (u & ((1u << low_bits()) - 1)) | static_cast<std::uint32_t>(u >> 15) << low_bits();
    }
    constexpr std::uint16_t join(std::uint32_t field, std::uint32_t raw) const {
        return static_cast<std::uint16_t>((raw >> low_bits()) << 15 | field << low_bits() | (raw & ((1u << low_bits()) - 1)));
    }
    std::uint32_t symbol(std::uint32_t field, const AliasTable& table) const {
        return field < static_cast<std::uint32_t>(symbols) && table.frequency[field] ? field : 0;
    }
    void put_escape(std::uint32_t field, Bytes& out) const {
        if (top_bits == 0) return out.push_back(static_cast<std::uint8_t>(field));
        const std::uint32_t d = (0u - (field >> 2)) & ((1u << format.exponent_bits) - 1);
        out.push_back(static_cast<std::uint8_t>((d < 63 ? d : 63) << 2 | (field & 3)));
        if (d >= 63) out.push_back(static_cast<std::uint8_t>(d));
    }
    // False if `in` ends or holds what no encoder writes.
    bool get_escape(ByteReader& in, std::uint32_t& field) const {
        const std::uint32_t first = in.u8();
        if (top_bits == 0) {
            field = first;
            return !in.failed() && field <= field_mask();
        }
        std::uint32_t d = first >> 2;
        if (d == 63) {
            d = in.u8();
            if (d < 63) return false;
        }
        field = ((0u - d) << 2 | (first & 3)) & field_mask();
        return !in.failed() && d >> format.exponent_bits == 0;
    }
};

constexpr FloatSplit split_of(FloatFormat format, FloatCoder coder) {
    return coder == FloatCoder::balanced ? FloatSplit{format, 2, 64} : FloatSplit{format, 0, 16};
}

constexpr std::size_t rows_of(std::size_t n, std::size_t row_length) { return (n + row_length - 1) / row_length; }

}  // namespace tersor
