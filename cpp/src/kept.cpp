#include "tersor/kept.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "vector_clones.hpp"

namespace tersor {
namespace {

constexpr std::size_t kChunk = 64;

TERSOR_VECTOR_CLONES
std::size_t count_kept(const std::uint8_t* mask, std::size_t n) {
    std::size_t count = 0;
    for (std::size_t i = 0; i < n; ++i) count += mask[i] != 0;
    return count;
}

// Without branches: a value is read for every place, so at least as many must be left as there are places.
template <class Word>
const std::uint8_t* expand_chunk(const std::uint8_t* mask, const std::uint8_t* values, std::uint8_t* out, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) {
        Word word;
        std::memcpy(&word, values, sizeof word);
        const std::size_t kept = mask[i] != 0 ? 1 : 0;
        word = static_cast<Word>(word & (Word{0} - static_cast<Word>(kept)));  // a branch would be guessed wrong half the time
        std::memcpy(out + i * sizeof word, &word, sizeof word);
        values += kept * sizeof word;
    }
    return values;
}

template <class Word>
const std::uint8_t* expand_last(const std::uint8_t* mask, const std::uint8_t* values, std::uint8_t* out, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) {
        std::uint8_t* const place = out + i * sizeof(Word);
        if (mask[i] == 0) {
            std::memset(place, 0, sizeof(Word));
            continue;
        }
        std::memcpy(place, values, sizeof(Word));
        values += sizeof(Word);
    }
    return values;
}

template <class Word>
void expand(ByteSpan mask, ByteSpan values, std::uint8_t* out) {
    const std::uint8_t *next = values.data(), *const end = next + values.size();
    for (std::size_t begin = 0; begin < mask.size(); begin += kChunk) {
        const std::size_t n = std::min(kChunk, mask.size() - begin);
        const bool has_enough = static_cast<std::size_t>(end - next) >= n * sizeof(Word);
        next = (has_enough ? expand_chunk<Word> : expand_last<Word>)(mask.data() + begin, next, out + begin * sizeof(Word), n);
    }
}

}  // namespace

Status expand_kept(ByteSpan mask, ByteSpan values, std::size_t size, std::span<std::uint8_t> out) {
    if (size != 1 && size != 2 && size != 4 && size != 8) return Status::bad_argument;
    if (mask.size() > SIZE_MAX / size || out.size() != mask.size() * size) return Status::bad_argument;
    if (values.size() != count_kept(mask.data(), mask.size()) * size) return Status::bad_argument;
    if (size == 1) expand<std::uint8_t>(mask, values, out.data());
    if (size == 2) expand<std::uint16_t>(mask, values, out.data());
    if (size == 4) expand<std::uint32_t>(mask, values, out.data());
    if (size == 8) expand<std::uint64_t>(mask, values, out.data());
    return Status::ok;
}

}  // namespace tersor
