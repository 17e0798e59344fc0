#include "byte_codec.hpp"
#include "tersor/huffman.hpp"

namespace tersor::fuzz {

void fuzz(ByteSpan input) { fuzz_byte_codec(huffman_encode, huffman_decode, input); }
std::vector<Bytes> seeds() { return byte_codec_seeds(huffman_encode); }

}  // namespace tersor::fuzz
