#include "tersor/dense_block.hpp"

#include <algorithm>
#include <cstring>
#include <optional>
#include <span>

#include "join_bytes.hpp"
#include "tersor/crc32c.hpp"
#include "tersor/float_max.hpp"
#include "tersor/float_rows.hpp"
#include "tersor/huffman.hpp"
#include "tersor/integers.hpp"
#include "tersor/narrow_rows.hpp"
#include "tersor/rans_bytes.hpp"

namespace tersor {
namespace {

enum Form : std::uint8_t { form_bytes = 0, form_planes = 1, form_float_rows = 2, form_narrow_rows = 3, form_differences = 6 };
enum Unit : std::uint8_t { unit_bf16 = 0, unit_f16 = 1, unit_f32 = 2 };
constexpr std::uint8_t kCoderMax = 2;
constexpr std::size_t kMaxZeros = 16;

using Output = std::span<std::uint8_t>;

// One plane of a block, or the whole of it, under a byte codec.
struct Plane {
    ByteCodec codec;
    std::size_t length;
    ByteSpan payload;
};

bool fill(const Plane& plane, Output out) {
    const ByteSpan payload = plane.payload;
    switch (plane.codec) {
        case ByteCodec::constant:
            if (payload.size() != std::min<std::size_t>(out.size(), 1)) return false;
            if (!out.empty()) std::memset(out.data(), payload[0], out.size());
            return true;
        case ByteCodec::raw:
            if (payload.size() != out.size()) return false;
            std::copy(payload.begin(), payload.end(), out.begin());
            return true;
        case ByteCodec::huffman: return huffman_decode(payload, out) == Status::ok;
        case ByteCodec::rans: return rans_decode(payload, out) == Status::ok;
        default: return false;
    }
}

// The n bytes of a plane: where they are stored if they are stored as they are, else in memory of its own.
class PlaneBytes {
public:
    PlaneBytes(const Plane& plane, std::size_t n) {
        if (plane.codec == ByteCodec::raw) {
            valid_ = plane.payload.size() == n;
            data_ = plane.payload.data();
        } else {
            decoded_.resize(n);
            valid_ = fill(plane, decoded_);
            data_ = decoded_.data();
        }
    }
    bool valid() const { return valid_; }  // false: damaged, or not decoded here
    const std::uint8_t* data() const { return data_; }

private:
    Bytes decoded_;
    const std::uint8_t* data_;
    bool valid_;
};

// Scales and shapes of a block's columns, those of every profile next to each other.
class MaxColumns {
public:
    MaxColumns(const DenseBlock& block, std::size_t columns) : all_(*block.tensor_columns), is_tile_(all_.scale.size() != all_.profiles * columns) {
        if (is_tile_) scale_ = tile(all_.scale, block.first_column, columns), shape_ = tile(all_.shape, block.first_column, columns);
    }
    std::size_t profiles() const { return all_.profiles; }
    std::span<const std::int32_t> scale() const { return is_tile_ ? scale_ : all_.scale; }
    std::span<const std::int32_t> shape() const { return is_tile_ ? shape_ : all_.shape; }

private:
    // All 0 if the tensor has none.
    std::vector<std::int32_t> tile(const std::vector<std::int32_t>& values, std::size_t first, std::size_t columns) const {
        const std::size_t width = values.size() / all_.profiles;
        std::vector<std::int32_t> part(all_.profiles * columns);
        for (std::size_t p = 0; p < all_.profiles && width > 0; ++p) std::copy_n(&values[p * width + first], columns, &part[p * columns]);
        return part;
    }
    const DenseColumns& all_;
    bool is_tile_;
    std::vector<std::int32_t> scale_, shape_;
};

// A block's payload on its way into `out`, the bytes of all its rows one after another.
class Decoder {
public:
    Decoder(const DenseBlock& block, const DenseTables& tables, Output out) : block_(block), tables_(tables), in_(block.payload), out_(out) {}

    bool decode() {
        switch (in_.u8()) {
            case form_bytes: return whole();
            case form_planes: return planes(in_.u8(), out_);
            case form_float_rows: return float_rows(in_.u8());
            case form_narrow_rows: return narrow_rows();
            case form_differences: return differences();
            default: return false;
        }
    }

private:
    Plane plane_head() {
        const std::size_t number = in_.u8();
        return {number < tables_.codecs.size() ? tables_.codecs[number] : ByteCodec::other, in_.length(in_.remaining()), {}};
    }
    void take(Plane& plane) { plane.payload = in_.bytes(plane.length); }
    bool ended() const { return !in_.failed() && in_.at_end(); }

    bool whole() {
        const std::size_t number = in_.u8();
        if (in_.failed() || number >= tables_.codecs.size()) return false;
        return fill({tables_.codecs[number], 0, in_.rest()}, out_);
    }

    bool planes(std::size_t stride, Output out) {
        if (stride < 2) return false;
        std::vector<Plane> heads;
        for (std::size_t p = 0; p < stride; ++p) heads.push_back(plane_head());
        const std::size_t n = out.size() / stride;
        for (std::size_t p = 0; p < stride; ++p) {
            take(heads[p]);
            if (in_.failed()) return false;
            const PlaneBytes plane(heads[p], n);
            if (!plane.valid()) return false;
            for (std::size_t i = 0; i < n; ++i) out[i * stride + p] = plane.data()[i];
        }
        return tail(out.subspan(n * stride));
    }
    bool tail(Output out) {
        const ByteSpan stored = in_.bytes(out.size());
        if (!ended()) return false;
        std::copy(stored.begin(), stored.end(), out.begin());
        return true;
    }

    bool float_rows(std::uint8_t unit) {
        if (in_.failed() || unit > unit_f32) return false;
        if (unit == unit_f32) return float_halves();
        const std::size_t n_tail = out_.size() % 2, n = out_.size() - n_tail;
        if (in_.remaining() < n_tail) return false;
        return words(in_.bytes(in_.remaining() - n_tail), unit, out_.first(n)) && tail(out_.subspan(n));
    }
    bool float_halves() {
        const std::size_t n = out_.size() / 4, n_upper = in_.length(in_.remaining());
        Plane low = plane_head(), middle = plane_head();
        const ByteSpan upper = in_.bytes(n_upper);
        take(low), take(middle);
        if (in_.failed()) return false;
        const PlaneBytes low_bytes(low, n), middle_bytes(middle, n);  // first: their codec may be one that is not decoded here
        if (!low_bytes.valid() || !middle_bytes.valid() || !words(upper, unit_bf16, out_.subspan(2 * n, 2 * n))) return false;
        join_planes(low_bytes.data(), middle_bytes.data(), out_.data(), n);
        return tail(out_.subspan(4 * n));
    }

    bool narrow_rows() {
        const std::size_t columns = block_.columns;
        if (columns == 0 || out_.size() % (4 * columns) != 0) return false;
        const std::size_t n = out_.size() / 4, n_upper = in_.length(in_.remaining()), n_flags = in_.length(in_.remaining());
        Plane low = plane_head(), middle = plane_head();
        const ByteSpan upper = in_.bytes(n_upper), flags = in_.bytes(n_flags);
        take(low), take(middle);
        std::vector<std::uint8_t> zeros(n / columns);
        std::vector<std::uint16_t> halves(n);
        if (in_.failed() || !trailing_zeros(flags, zeros) || !wide_rows(low, middle, zeros, halves)) return false;
        if (!words(upper, unit_bf16, out_.subspan(2 * n, 2 * n))) return false;
        if (unpack_narrow_rows(in_.rest(), columns, zeros, halves) != Status::ok) return false;
        join_halves(halves.data(), out_.data(), n);
        return true;
    }
    bool trailing_zeros(ByteSpan flags, std::span<std::uint8_t> zeros) const {
        const AliasTable* table = tables_.side_table(tables_.zeros_table);
        std::vector<std::int32_t> values(zeros.size());
        ByteReader in(flags);
        if (table == nullptr || decode_integers(in, *table, 0, kMaxZeros, values) != Status::ok || !in.at_end()) return false;
        std::transform(values.begin(), values.end(), zeros.begin(), [](std::int32_t z) { return static_cast<std::uint8_t>(z); });
        return true;
    }
    // The lower halves of the rows without trailing zeros.
    bool wide_rows(const Plane& low, const Plane& middle, std::span<const std::uint8_t> zeros, std::span<std::uint16_t> halves) const {
        const std::size_t columns = block_.columns, n = columns * static_cast<std::size_t>(std::count(zeros.begin(), zeros.end(), 0));
        const PlaneBytes low_bytes(low, n), middle_bytes(middle, n);
        if (!low_bytes.valid() || !middle_bytes.valid()) return false;
        const std::uint8_t *a = low_bytes.data(), *b = middle_bytes.data();
        for (std::size_t row = 0; row < zeros.size(); ++row) {
            if (zeros[row] != 0) continue;
            std::uint16_t* to = &halves[row * columns];
            for (std::size_t j = 0; j < columns; ++j) to[j] = static_cast<std::uint16_t>(a[j] | b[j] << 8);
            a += columns, b += columns;
        }
        return true;
    }

    bool differences() {
        const std::size_t width = in_.u8(), order = in_.u8();
        if (in_.failed() || order > 1 || out_.size() % (width == 0 ? 1 : width) != 0) return false;
        if (!(width == 2 || width == 4 || width == 8) || !planes(width, out_)) return false;
        if (width == 2) return restore<std::uint16_t>(order == 1);
        return width == 4 ? restore<std::uint32_t>(order == 1) : restore<std::uint64_t>(order == 1);
    }
    template <class Unsigned>
    bool restore(bool summed) {
        Unsigned before = 0;
        for (std::size_t at = 0; at < out_.size(); at += sizeof(Unsigned)) {
            Unsigned z;
            std::memcpy(&z, &out_[at], sizeof z);
            const auto value = static_cast<Unsigned>((z >> 1 ^ (0 - (z & 1))) + (summed ? before : 0));
            before = value;
            std::memcpy(&out_[at], &value, sizeof value);
        }
        return true;
    }

    // The 16-bit words of `bytes`, docs/format.md 5.5.
    bool words(ByteSpan payload, std::uint8_t unit, Output bytes) const {
        const AliasTable* classes = tables_.side_table(tables_.class_table);
        if (payload.empty() || classes == nullptr || reinterpret_cast<std::uintptr_t>(bytes.data()) % alignof(std::uint16_t) != 0) return false;
        const std::span<std::uint16_t> words(reinterpret_cast<std::uint16_t*>(bytes.data()), bytes.size() / 2);
        const FloatFormat format = unit == unit_f16 ? kF16 : kBF16;
        if (payload[0] == kCoderMax) return words_of_max(payload, format, *classes, words);
        return decode_float_rows(payload, format, tables_.balanced, tables_.fast, *classes, words) == Status::ok;
    }
    bool words_of_max(ByteSpan payload, FloatFormat format, const AliasTable& classes, std::span<std::uint16_t> words) const {
        const AliasTable* row_profiles = tables_.side_table(tables_.profile_table);
        const std::size_t columns = block_.columns;
        if (tables_.max == nullptr || row_profiles == nullptr || columns == 0 || words.size() % columns != 0) return false;
        const MaxColumns of_block(block_, columns);
        return decode_float_max({payload, format, words.size() / columns, columns, of_block.profiles(), of_block.scale(), of_block.shape(), tables_.max, {&classes, row_profiles}, words}) ==
               Status::ok;
    }

    const DenseBlock& block_;
    const DenseTables& tables_;
    ByteReader in_;
    Output out_;
};

// The payload of a block that is nothing but 16-bit floats of level max, in memory that is in order.
std::optional<MaxPayload> max_payload(const DenseBlock& block, const DenseTables& tables, const MaxColumns& columns) {
    const std::size_t n = block.rows * block.columns;
    const bool is_in_order = block.rows <= 1 || block.row_stride == block.columns * block.element_bytes;
    const AliasTable *classes = tables.side_table(tables.class_table), *row_profiles = tables.side_table(tables.profile_table);
    if (!has_max_words(block) || !is_in_order || tables.max == nullptr || classes == nullptr || row_profiles == nullptr) return std::nullopt;
    if (reinterpret_cast<std::uintptr_t>(block.out) % alignof(std::uint16_t) != 0) return std::nullopt;
    const std::span<std::uint16_t> words(reinterpret_cast<std::uint16_t*>(block.out), n);
    return MaxPayload{block.payload.subspan(2), block.payload[1] == unit_f16 ? kF16 : kBF16, block.rows, block.columns, columns.profiles(), columns.scale(), columns.shape(), tables.max,
                      {classes, row_profiles}, words};
}

bool decode_whole(const DenseBlock& block, const DenseTables& tables, Output out) { return Decoder(block, tables, out).decode() && crc32c(out) == block.crc; }

}  // namespace

bool has_max_words(const DenseBlock& block) {
    const ByteSpan p = block.payload;
    return block.element_bytes == 2 && block.columns > 0 && p.size() > 2 && p[0] == form_float_rows && p[1] <= unit_f16 && p[2] == kCoderMax;
}

std::array<bool, 2> decode_two_dense_blocks(const DenseBlock& first, const DenseBlock& second, const DenseTables& tables) {
    const MaxColumns first_columns(first, first.columns), second_columns(second, second.columns);
    const auto one = max_payload(first, tables, first_columns), two = max_payload(second, tables, second_columns);
    if (!one || !two) return {decode_dense_block(first, tables), decode_dense_block(second, tables)};
    const std::array<Status, 2> statuses = decode_two_float_max({*one, *two});
    const auto is_sound = [](Status status, const DenseBlock& block) {
        return status == Status::ok && crc32c({block.out, block.rows * block.columns * block.element_bytes}) == block.crc;
    };
    return {is_sound(statuses[0], first), is_sound(statuses[1], second)};
}

bool decode_dense_block(const DenseBlock& block, const DenseTables& tables) {
    const std::size_t row_bytes = block.columns * block.element_bytes;
    if (block.rows <= 1 || block.row_stride == row_bytes) return decode_whole(block, tables, {block.out, block.rows * row_bytes});
    Bytes together(block.rows * row_bytes);
    if (!decode_whole(block, tables, together)) return false;
    for (std::size_t row = 0; row < block.rows; ++row) std::memcpy(block.out + row * block.row_stride, &together[row * row_bytes], row_bytes);
    return true;
}

}  // namespace tersor
