// Many blocks of dense tensors decoded by one call, or by several threads that share them out.
#pragma once
#include <atomic>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "tersor/dense_block.hpp"
#include "tersor/status.hpp"

namespace tersor {

// A stored tensor: its matrix, how it is cut into blocks (docs/format.md 3.1), where they end and what they must decode to.
struct DenseTensor {
    const DenseTables* tables;
    DenseColumns head;
    std::size_t rows, columns, element_bytes, block_rows, block_columns;
    std::vector<std::uint64_t> offsets;   // [blocks + 1], from any place on
    std::vector<std::uint32_t> checksums;  // [blocks]

    std::size_t n_blocks() const { return checksums.size(); }
    std::size_t n_bytes() const { return rows * columns * element_bytes; }

    // bad_argument unless the numbers fit together: blocks cover the matrix, offsets grow, column scales and shapes are in range and of all columns.
    Status check() const;

    // Block `number` in its payload, going to its place in the whole matrix at `matrix`.
    DenseBlock block(std::size_t number, ByteSpan payload, std::uint8_t* matrix) const;
    // The same going to memory of its own.
    DenseBlock alone(std::size_t number, ByteSpan payload, std::uint8_t* out, std::size_t row_stride) const;
    std::size_t rows_of(std::size_t number) const;
    std::size_t columns_of(std::size_t number) const;
};

// Blocks of several tensors. Fill it, `arrange` it, then `run` it, in as many threads as you like at the same time.
class DenseBatch {
public:
    // Blocks first .. end - 1 of a tensor, going to `out`, its whole matrix. payload: theirs, one after another. All that is named stays alive until `run` is over.
    // bad_argument if sizes do not fit.
    Status add(const DenseTensor& tensor, std::size_t first, std::size_t end, ByteSpan payload, std::span<std::uint8_t> out);

    // Makes the tasks of `run`: single blocks, or two that are decoded at a time (decode_two_dense_blocks).
    // largest_first: so that threads end at about the same time; otherwise in order.
    void arrange(bool largest_first);

    // Does tasks that no other thread has taken until there are none.
    void run();

    // (number of the `add`, number of the block) of those that were damaged or are not decoded here, in order. When every `run` is over.
    std::vector<std::pair<std::size_t, std::size_t>> left() const;

private:
    struct Part {
        const DenseTensor* tensor;
        std::size_t first;
        ByteSpan payload;
        std::uint8_t* out;
    };
    struct Job {
        std::size_t part, block;
        bool done;
    };
    struct Task {
        std::size_t first, n_jobs;
    };
    DenseBlock block(const Job& job) const;
    std::size_t n_bytes(const Job& job) const;
    bool are_pair(const Job& a, const Job& b) const;

    std::vector<Part> parts_;
    std::vector<Job> jobs_;
    std::vector<Task> tasks_;
    std::atomic<std::size_t> next_{0};
};

}  // namespace tersor
