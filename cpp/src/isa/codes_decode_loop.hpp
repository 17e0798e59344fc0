// Decoding of codes: the walk through rows and groups of 32 columns that all instruction sets share. The file of a set brings
// `Lanes`, the 32 lanes of a stream, and makes kernels of them with `kernels_of_lanes`.
#pragma once
#include "../codes_kernels.hpp"

namespace tersor {
namespace {

constexpr std::size_t kCodeGroup = 32;     // elements of a group: one of each lane
constexpr std::size_t kGroupWordBytes = 64;  // at most so many bytes of words feed a group
constexpr std::size_t kWordReach = 64;     // loads of words reach at most so far behind them

// next[2 * state + code mod 2], the machine of docs/format.md 5.6.
alignas(16) constexpr std::uint8_t kNextState[16] = {0, 2, 5, 7, 1, 3, 6, 4, 2, 0, 4, 6, 3, 1, 7, 5};

// A cursor on its way through groups of one row.
struct CodePlace {
    const std::uint32_t* even;  // where the entries of each column's table begin, for even states; null with one table
    const std::uint32_t* odd;   // the same for odd states
    std::uint8_t* column_states;
    std::int32_t* out;
    const std::uint8_t* words;
};

// Groups of its row that a cursor can decode without coming too near to the payload's end.
inline std::size_t safe_code_groups(const CodeCursor& cursor, const CodeJob& job) {
    if (cursor.row == cursor.end_row) return 0;
    const auto left = static_cast<std::size_t>(job.payload_end - cursor.words), wanted = job.groups_per_row - cursor.group;
    const std::size_t n = left < kWordReach ? 0 : (left - kWordReach) / kGroupWordBytes;
    return n < wanted ? n : wanted;
}

// Moves a cursor behind its next groups and says where they are.
template <class Lanes>
inline CodePlace take_groups(CodeCursor& cursor, std::size_t groups, const CodeJob& job) {
    const std::size_t column = cursor.group * kCodeGroup;
    if (Lanes::trellis && cursor.group == 0 && cursor.row % job.trellis_rows == 0) __builtin_memset(cursor.trellis, 0, job.groups_per_row * kCodeGroup);
    const CodePlace place{Lanes::one_table ? nullptr : job.even[cursor.row] + column, Lanes::one_table || !Lanes::trellis ? nullptr : job.odd[cursor.row] + column,
                          Lanes::trellis ? cursor.trellis + column : nullptr, cursor.out, cursor.words};
    cursor.out += groups * kCodeGroup;
    cursor.group += groups;
    if (cursor.group == job.groups_per_row) cursor.group = 0, ++cursor.row;
    return place;
}

// Raw bits of the element in a lane of the group: any entry of its table says them.
template <class Lanes>
inline unsigned raw_bits_of_lane(const CodePlace& place, int lane, const CodeJob& job) {
    std::size_t first = 0;
    if constexpr (!Lanes::one_table) first = Lanes::trellis && place.column_states[lane] & 1 ? place.odd[lane] : place.even[lane];
    return static_cast<unsigned>(job.entries[first] >> 56);
}

// Completes the codes of the lanes in `open`, in order: escapes, which are symbol 0, and raw bits.
template <class Lanes>
[[gnu::noinline]] bool complete_codes(std::uint32_t open, CodePlace place, CodeCursor& cursor, const CodeJob& job) {
    const std::int32_t escape = -job.symbols / 2;
    for (; open != 0; open &= open - 1) {
        const int lane = __builtin_ctz(open);
        std::int64_t value = place.out[lane];
        if (value == escape && !read_escape(cursor.escapes, job.payload_end, value)) return false;
        if (!append_raw_bits(raw_bits_of_lane<Lanes>(place, lane, job), cursor, value)) return false;
        place.out[lane] = static_cast<std::int32_t>(value);
    }
    return true;
}

// One group of one stream.
template <class Lanes>
[[gnu::always_inline]] inline bool decode_group(Lanes& lanes, const typename Lanes::Tables& tables, CodePlace& place, CodeCursor& cursor, const CodeJob& job) {
    bool valid = true;
    typename Lanes::Parities parities;
    const std::uint32_t open = lanes.decode(tables, place, parities);
    if (__builtin_expect(open != 0, 0)) {
        valid = complete_codes<Lanes>(open, place, cursor, job);
        if constexpr (Lanes::trellis) parities = Lanes::parities_of(place.out);
    }
    if constexpr (Lanes::trellis) {
        Lanes::move_states(place.column_states, parities);
        place.column_states += kCodeGroup;
        place.odd += Lanes::one_table ? 0 : kCodeGroup;
    }
    place.even += Lanes::one_table ? 0 : kCodeGroup;
    place.out += kCodeGroup;
    return valid;
}

// Decodes one or two cursors in lockstep: see CodeKernel.
template <class Lanes, int n>
bool decode_cursors(CodeCursor* cursors, const CodeJob& job) {
    static_assert(n == 1 || n == 2);
    const typename Lanes::Tables tables(job);
    Lanes first(cursors[0].states), second(cursors[n - 1].states);
    bool valid = true;
    while (valid) {
        std::size_t groups = safe_code_groups(cursors[0], job);
        if (n == 2) groups = safe_code_groups(cursors[1], job) < groups ? safe_code_groups(cursors[1], job) : groups;
        if (groups == 0) break;
        CodePlace place = take_groups<Lanes>(cursors[0], groups, job), other = place;
        if constexpr (n == 2) other = take_groups<Lanes>(cursors[1], groups, job);
        for (std::size_t group = 0; group < groups; ++group) {
            valid = decode_group(first, tables, place, cursors[0], job) && valid;
            if constexpr (n == 2) valid = decode_group(second, tables, other, cursors[1], job) && valid;
        }
        cursors[0].words = place.words;
        if constexpr (n == 2) cursors[1].words = other.words;
    }
    first.save(cursors[0].states);
    if constexpr (n == 2) second.save(cursors[1].states);
    return valid;
}

// Lanes<symbols, trellis>; 0 symbols: each lane has its own table.
template <template <int, bool> class Lanes, bool trellis>
inline CodeKernels kernels_of_lanes(int symbols_of_one_table) {
    switch (symbols_of_one_table) {
        case 16: return {decode_cursors<Lanes<16, trellis>, 1>, decode_cursors<Lanes<16, trellis>, 2>};
        case 32: return {decode_cursors<Lanes<32, trellis>, 1>, decode_cursors<Lanes<32, trellis>, 2>};
        case 64: return {decode_cursors<Lanes<64, trellis>, 1>, decode_cursors<Lanes<64, trellis>, 2>};
        default: return {decode_cursors<Lanes<0, trellis>, 1>, decode_cursors<Lanes<0, trellis>, 2>};
    }
}

}  // namespace
}  // namespace tersor
