#include "byte_codec.hpp"
#include "tersor/rans_bytes.hpp"

namespace tersor::fuzz {

void fuzz(ByteSpan input) { fuzz_byte_codec(rans_encode, rans_decode, input); }
std::vector<Bytes> seeds() { return byte_codec_seeds(rans_encode); }

}  // namespace tersor::fuzz
