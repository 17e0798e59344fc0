// One block of a dense tensor, in the forms of docs/format.md 4.1 that large models are made of, decoded and checked in one go.
#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "tersor/alias_table.hpp"
#include "tersor/bytes.hpp"

namespace tersor {

// The byte codecs that are decoded here. `other`: one that only the Python reader has.
enum class ByteCodec : std::uint8_t { other, constant, raw, huffman, rans };

// What the blocks of an archive file share. Null: the file has no such set.
struct DenseTables {
    const TableSet *balanced = nullptr, *fast = nullptr, *max = nullptr, *side = nullptr;
    std::size_t class_table = 0, profile_table = 0, zeros_table = 0;  // numbers in the side set
    std::vector<ByteCodec> codecs;                                    // by their number in the index

    const AliasTable* side_table(std::size_t number) const { return side != nullptr && number < side->tables.size() ? &side->tables[number] : nullptr; }
};

// Scales and shapes of a tensor's columns, docs/format.md 5.5.2; none of either: all are 0.
struct DenseColumns {
    std::size_t profiles = 1;
    std::vector<std::int32_t> scale, shape;  // [profiles * columns of the tensor]
};

// Where a block is, and where it goes. out: rows of columns * element_bytes bytes, row_stride bytes apart.
struct DenseBlock {
    ByteSpan payload;
    std::uint8_t* out;
    std::size_t rows, columns, element_bytes, row_stride;
    std::size_t first_column;
    const DenseColumns* tensor_columns;
    std::uint32_t crc;
};

// True: `out` holds the block and its CRC-32C is right. False: the block is damaged or of a form or codec that is not decoded here, and what `out` holds is unspecified.
bool decode_dense_block(const DenseBlock& block, const DenseTables& tables);

// The same of two blocks with the same tables, faster if both have words of level max and equally many columns.
std::array<bool, 2> decode_two_dense_blocks(const DenseBlock& first, const DenseBlock& second, const DenseTables& tables);

// Whether a block says that it is nothing but 16-bit floats of level max.
bool has_max_words(const DenseBlock& block);

}  // namespace tersor
