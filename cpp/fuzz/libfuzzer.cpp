// The entry that libFuzzer calls.
#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t n_bytes) {
    tersor::fuzz::fuzz({data, n_bytes});
    return 0;
}
