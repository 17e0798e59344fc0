#include "tersor/alias_table.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace tersor {
namespace {

void fill_coded_run(const AliasTable& table, LaneTable& lanes) {
    const auto is_coded = [&](int s) { return s > 0 && table.frequency[static_cast<std::size_t>(s)] > 0; };
    int first = 0, n = 0, n_all = 0;
    for (int s = 0; s < table.symbols; ++s) n_all += is_coded(s);
    while (first < table.symbols && !is_coded(first)) ++first;
    while (first + n < table.symbols && is_coded(first + n)) ++n;
    lanes.first_coded = static_cast<std::uint8_t>(first);
    lanes.n_coded = static_cast<std::uint8_t>(n == n_all ? n : 0);
}

void fill_lanes(const AliasTable& table, LaneTable& lanes) {
    fill_coded_run(table, lanes);
    for (std::size_t s = 0; s < static_cast<std::size_t>(table.symbols); ++s) {
        const AliasTable::Bucket& bucket = table.bucket[s];
        const std::uint16_t frequency = table.frequency[s], adjust = static_cast<std::uint16_t>(bucket.adjust);
        lanes.threshold_alias[s] = static_cast<std::uint16_t>(bucket.threshold << 6 | bucket.alias);
        lanes.adjust[s] = adjust;
        lanes.frequency[s] = frequency;
        lanes.threshold[s] = static_cast<std::uint8_t>(std::min<std::uint16_t>(bucket.threshold, 255));
        lanes.alias[s] = static_cast<std::uint8_t>(bucket.alias);
        lanes.adjust_low[s] = static_cast<std::uint8_t>(adjust);
        lanes.adjust_high[s] = static_cast<std::uint8_t>(adjust >> 8);
        lanes.frequency_low[s] = static_cast<std::uint8_t>(frequency);
        lanes.frequency_high[s] = static_cast<std::uint8_t>(frequency >> 8);
        lanes.reciprocal16[s] = static_cast<std::uint16_t>(frequency > 1 ? 65536 / frequency : 65535);
        lanes.reciprocal_low[s] = static_cast<std::uint8_t>(lanes.reciprocal16[s]);
        lanes.reciprocal_high[s] = static_cast<std::uint8_t>(lanes.reciprocal16[s] >> 8);
        lanes.coded[s] = s > 0 && frequency > 0 ? 255 : 0;
        lanes.reciprocal[s] = frequency > 0 ? (1.0f - 3e-7f) / static_cast<float>(frequency) : 0;
        lanes.frequency_first[s] = static_cast<std::uint32_t>(frequency) << 12 | table.first[s];
    }
    if (table.precision != 8) return;
    for (std::size_t s = 0; s < 16; ++s) lanes.first[s] = static_cast<std::uint8_t>(table.first[s]);
    for (std::size_t i = 0; i < 256; ++i) lanes.slot[i] = static_cast<std::uint8_t>(table.slot[i]);
}

// All that decoding an element needs to know of its bucket, for vector code that gathers: threshold (9 bits), alias (7), adjust (16),
// frequencies of the bucket's own symbol and of the alias (12 each), raw bits (5).
std::uint64_t gather_entry(const AliasTable& table, std::size_t b) {
    const AliasTable::Bucket& bucket = table.bucket[b];
    return std::uint64_t{bucket.threshold} | std::uint64_t{bucket.alias} << 9 | std::uint64_t{static_cast<std::uint16_t>(bucket.adjust)} << 16 |
           std::uint64_t{table.frequency[b]} << 32 | std::uint64_t{table.frequency[bucket.alias]} << 44 | static_cast<std::uint64_t>(table.raw_bits) << 56;
}

// The same of a table of 128 symbols without raw bits, for the decoders of level max: threshold (6 bits), own frequency (12), alias (14),
// the alias's frequency (12) and adjust (mod 4096).
std::uint64_t max_entry(const AliasTable& table, std::size_t b) {
    const AliasTable::Bucket& bucket = table.bucket[b];
    const auto adjust = static_cast<std::uint64_t>(bucket.adjust & 4095);
    return bucket.threshold | static_cast<std::uint64_t>(table.frequency[b]) << 6 | static_cast<std::uint64_t>(bucket.alias) << 18 |
           static_cast<std::uint64_t>(table.frequency[bucket.alias]) << 32 | adjust << 44;
}

}  // namespace

Status AliasTable::build(std::span<const std::uint16_t> frequency, int precision, AliasTable& table) {
    const int symbols = static_cast<int>(frequency.size());
    const int total = 1 << precision;
    int sum = 0;
    for (const std::uint16_t f : frequency) {
        if (f >= total) return Status::corrupt;
        sum += f;
    }
    if (sum != total) return Status::corrupt;
    const int width = total / symbols;
    table.symbols = symbols;
    table.precision = precision;
    table.bucket_shift = std::countr_zero(static_cast<unsigned>(width));
    table.frequency.assign(frequency.begin(), frequency.end());
    table.bucket.resize(frequency.size());

    std::vector<int> rest(frequency.begin(), frequency.end());
    std::vector<int> small, large;
    for (int s = 0; s < symbols; ++s) {
        (rest[s] <= width ? small : large).push_back(s);
        table.bucket[s] = {static_cast<std::uint16_t>(width), static_cast<std::uint16_t>(s), 0};
    }
    while (!small.empty()) {
        const int s = small.back();
        small.pop_back();
        table.bucket[s].threshold = static_cast<std::uint16_t>(rest[s]);
        if (rest[s] == width) continue;
        const int a = large.back();  // exists: what is missing here is in excess elsewhere
        table.bucket[s].alias = static_cast<std::uint16_t>(a);
        rest[a] -= width - rest[s];
        if (rest[a] <= width) {
            large.pop_back();
            small.push_back(a);
        }
    }

    table.first.resize(frequency.size());
    table.slot.resize(static_cast<std::size_t>(total) + kSlotPadding);
    std::vector<int> used(frequency.size());
    int first = 0;
    for (int s = 0; s < symbols; ++s) {
        table.first[s] = static_cast<std::uint16_t>(first);
        used[s] = table.bucket[s].threshold;
        for (int w = 0; w < used[s]; ++w) table.slot[first + w] = static_cast<std::uint16_t>(s * width + w);
        first += frequency[s];
    }
    for (int b = 0; b < symbols; ++b) {
        const int threshold = table.bucket[b].threshold;
        if (threshold == width) continue;
        const int a = table.bucket[b].alias;
        table.bucket[b].adjust = used[a] - threshold;
        for (int w = threshold; w < width; ++w) table.slot[table.first[a] + used[a]++] = static_cast<std::uint16_t>(b * width + w);
    }
    if (symbols <= kLaneSymbols) fill_lanes(table, table.lanes);
    return Status::ok;
}

Status TableSet::build(int symbols, int precision, ByteSpan raw_bits, ByteSpan frequencies, int first_class, ByteSpan class_map, TableSet& set) {
    const bool a12 = precision == 12 && (symbols == 16 || symbols == 32 || symbols == 64 || symbols == 128);
    const bool a8 = precision == 8 && symbols == 16;
    if (!a12 && !a8) return Status::corrupt;
    if (first_class < -(1 << 17) || first_class > (1 << 17)) return Status::corrupt;
    if (raw_bits.size() > kMaxTables) return Status::limit;
    const std::size_t least_bits = 4 * raw_bits.size() * static_cast<std::size_t>(symbols);
    if (frequencies.size() < (least_bits + 7) / 8) return Status::truncated;  // before the tables are allocated: each takes 8 KiB
    set.symbols = symbols;
    set.precision = precision;
    set.first_class = first_class;
    set.class_map.assign(class_map.begin(), class_map.end());
    set.tables.resize(raw_bits.size());
    set.entries.clear();
    for (const std::uint8_t number : class_map)
        if (number >= raw_bits.size()) return Status::corrupt;
    BitReader bits(frequencies);
    std::vector<std::uint16_t> frequency(static_cast<std::size_t>(symbols));
    for (std::size_t t = 0; t < raw_bits.size(); ++t) {
        for (auto& f : frequency) {
            const int n_bits = static_cast<int>(bits.get(4));
            f = static_cast<std::uint16_t>(n_bits == 0 ? 0 : 1u << (n_bits - 1) | (n_bits > 1 ? bits.get(n_bits - 1) : 0));
        }
        if (bits.failed() || raw_bits[t] > 16) return Status::corrupt;
        if (const Status status = AliasTable::build(frequency, precision, set.tables[t]); status != Status::ok) return status;
        set.tables[t].raw_bits = raw_bits[t];
        if (!class_map.empty())
            for (std::size_t b = 0; b < frequency.size(); ++b) set.entries.push_back(gather_entry(set.tables[t], b));
    }
    set.max_entries.clear();
    if (symbols == 128)
        for (const AliasTable& table : set.tables)
            for (std::size_t b = 0; b < 128; ++b) set.max_entries.push_back(max_entry(table, b));
    return bits.finished() ? Status::ok : Status::corrupt;
}

bool TableSet::has_escapes() const {
    return std::all_of(tables.begin(), tables.end(), [](const AliasTable& table) { return table.frequency[0] > 0; });
}

Bytes pack_frequencies(std::span<const std::uint16_t> frequencies) {
    Bytes out;
    BitWriter bits(out);
    for (const std::uint16_t f : frequencies) {
        const int n_bits = std::bit_width(f);
        bits.put(static_cast<std::uint32_t>(n_bits), 4);
        if (n_bits > 1) bits.put(f & ((1u << (n_bits - 1)) - 1), n_bits - 1);
    }
    bits.flush();
    return out;
}

void normalize(std::span<const std::uint64_t> counts, int precision, std::span<std::uint16_t> frequencies) {
    const int total = 1 << precision;
    double count_sum = 0;
    for (const std::uint64_t c : counts) count_sum += static_cast<double>(c);
    int sum = 0, n_used = 0;
    for (std::size_t s = 0; s < counts.size(); ++s) {
        const double share = counts[s] ? std::floor(static_cast<double>(counts[s]) / count_sum * total) : 0;
        frequencies[s] = static_cast<std::uint16_t>(counts[s] ? std::clamp(share, 1.0, total - 1.0) : 0);
        sum += frequencies[s];
        n_used += frequencies[s] > 0;
    }
    for (std::size_t s = 0; n_used < 2; ++s)  // a frequency must stay below 2^p
        if (frequencies[s] == 0) {
            frequencies[s] = 1;
            ++sum;
            ++n_used;
        }
    while (sum != total) {  // one step at a time, where it helps most or hurts least
        const bool grow = sum < total;
        std::size_t best = counts.size();
        double best_gain = -INFINITY;
        for (std::size_t s = 0; s < counts.size(); ++s) {
            const double f = frequencies[s];
            if (f == 0 || (grow && f >= total - 1) || (!grow && f <= 1)) continue;
            const double count = static_cast<double>(counts[s]);
            const double gain = grow ? count * std::log2((f + 1) / f) : -count * std::log2(f / (f - 1));
            if (gain > best_gain) best = s, best_gain = gain;
        }
        frequencies[best] = static_cast<std::uint16_t>(frequencies[best] + (grow ? 1 : -1));
        sum += grow ? 1 : -1;
    }
}

}  // namespace tersor
