// Use: mutate_X [RUNS] [SEED]      the seeds of a target, then RUNS inputs made of them by chance, always the same for a SEED.
// A short check for machines without libFuzzer; build it with the sanitizers.
#include <algorithm>

#include "fuzz.hpp"

namespace tersor::fuzz {
namespace {

constexpr std::uint32_t kNumbers[] = {0, 1, 2, 31, 32, 127, 128, 255, 256, 65535, 65536, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF};
constexpr std::size_t kMaxBytes = 1 << 16;

class Mutator {
public:
    Mutator(std::vector<Bytes> seeds, std::uint32_t seed) : seeds_(std::move(seeds)), random_{seed} {}

    Bytes next() {
        Bytes data = seeds_[below(seeds_.size())];
        for (std::size_t n = 1 + below(3); n > 0; --n) change(data);
        if (data.size() > kMaxBytes) data.resize(kMaxBytes);
        return data;
    }

private:
    std::size_t below(std::size_t n) { return n == 0 ? 0 : random_.next() % n; }

    void change(Bytes& data) {
        // Near the front as often as anywhere: there are the numbers.
        const std::size_t at = below(random_.next() % 2 ? data.size() : std::min<std::size_t>(data.size(), 24));
        const auto here = data.begin() + static_cast<std::ptrdiff_t>(at);
        switch (below(data.empty() ? 1 : 6)) {
            case 0: data.insert(here, 1 + below(8), static_cast<std::uint8_t>(random_.next())); break;
            case 1: data[at] = static_cast<std::uint8_t>(data[at] ^ 1u << below(8)); break;
            case 2: overwrite(data, at, kNumbers[below(std::size(kNumbers))], std::size_t{1} << below(3)); break;
            case 3: data.erase(here, here + static_cast<std::ptrdiff_t>(std::min(data.size() - at, 1 + below(8)))); break;
            case 4: data.resize(at); break;
            default: splice(data, at); break;
        }
    }
    static void overwrite(Bytes& data, std::size_t at, std::uint32_t number, std::size_t n_bytes) {
        for (; n_bytes > 0 && at < data.size(); --n_bytes, ++at, number >>= 8) data[at] = static_cast<std::uint8_t>(number);
    }
    void splice(Bytes& data, std::size_t at) {
        const Bytes& other = seeds_[below(seeds_.size())];
        data.resize(at);
        data.insert(data.end(), other.begin() + static_cast<std::ptrdiff_t>(below(other.size())), other.end());
    }

    std::vector<Bytes> seeds_;
    Random random_;
};

}  // namespace
}  // namespace tersor::fuzz

int main(int argc, char** argv) {
    using namespace tersor::fuzz;
    const long runs = argc > 1 ? std::strtol(argv[1], nullptr, 10) : 1000;
    const auto seed = static_cast<std::uint32_t>(argc > 2 ? std::strtol(argv[2], nullptr, 10) : 1);
    const std::vector<tersor::Bytes> all = seeds();
    for (const tersor::Bytes& each : all) fuzz(each);
    Mutator mutator(all, seed);
    for (long run = 0; run < runs; ++run) fuzz(own(mutator.next()));
    std::printf("%zu seeds and %ld inputs, no finding\n", all.size(), runs);
}
