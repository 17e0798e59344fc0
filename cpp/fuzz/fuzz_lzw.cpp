#include "byte_codec.hpp"
#include "tersor/lzw.hpp"

namespace tersor::fuzz {

void fuzz(ByteSpan input) { fuzz_byte_codec(lzw_encode, lzw_decode, input); }
std::vector<Bytes> seeds() { return byte_codec_seeds(lzw_encode); }

}  // namespace tersor::fuzz
