#include "tersor/dense_batch.hpp"

#include <algorithm>

#include "tersor/float_max.hpp"
#include "tersor/float_rows.hpp"

namespace tersor {
namespace {

std::size_t divided_up(std::size_t n, std::size_t by) { return (n + by - 1) / by; }

template <class Value>
bool all_within(const std::vector<Value>& values, Value low, Value high) {
    return std::all_of(values.begin(), values.end(), [=](Value v) { return v >= low && v <= high; });
}

}  // namespace

Status DenseTensor::check() const {
    const bool is_cut = tables != nullptr && rows > 0 && columns > 0 && element_bytes > 0 && block_rows > 0 && block_rows <= rows && block_columns > 0 && block_columns <= columns;
    // Sizes in bytes, and those of two column profiles, must be numbers.
    if (!is_cut || columns > SIZE_MAX / 2 / element_bytes / rows) return Status::bad_argument;
    if (n_blocks() != divided_up(rows, block_rows) * divided_up(columns, block_columns)) return Status::bad_argument;
    if (offsets.size() != n_blocks() + 1 || !std::is_sorted(offsets.begin(), offsets.end())) return Status::bad_argument;
    const std::size_t n_columns = head.profiles * columns;
    const bool is_whole = (head.profiles == 1 || head.profiles == 2) && head.scale.size() == n_columns && head.shape.size() == n_columns;
    const bool is_absent = head.profiles == 1 && head.scale.empty() && head.shape.empty();
    if (!is_whole && !is_absent) return Status::bad_argument;
    return all_within(head.scale, kMinClass, kMaxClass) && all_within(head.shape, 0, kMaxColumnShape) ? Status::ok : Status::bad_argument;
}

std::size_t DenseTensor::rows_of(std::size_t number) const {
    const std::size_t first = number / divided_up(columns, block_columns) * block_rows;
    return std::min(block_rows, rows - first);
}

std::size_t DenseTensor::columns_of(std::size_t number) const {
    const std::size_t first = number % divided_up(columns, block_columns) * block_columns;
    return std::min(block_columns, columns - first);
}

DenseBlock DenseTensor::alone(std::size_t number, ByteSpan payload, std::uint8_t* out, std::size_t row_stride) const {
    const std::size_t first_column = number % divided_up(columns, block_columns) * block_columns;
    return {payload, out, rows_of(number), columns_of(number), element_bytes, row_stride, first_column, &head, checksums[number]};
}

DenseBlock DenseTensor::block(std::size_t number, ByteSpan payload, std::uint8_t* matrix) const {
    const std::size_t across = divided_up(columns, block_columns);
    const std::size_t first = number / across * block_rows * columns + number % across * block_columns;
    return alone(number, payload, matrix + first * element_bytes, columns * element_bytes);
}

Status DenseBatch::add(const DenseTensor& tensor, std::size_t first, std::size_t end, ByteSpan payload, std::span<std::uint8_t> out) {
    if (first > end || end > tensor.n_blocks() || out.size() != tensor.n_bytes()) return Status::bad_argument;
    if (payload.size() != tensor.offsets[end] - tensor.offsets[first]) return Status::bad_argument;
    for (std::size_t number = first; number < end; ++number) jobs_.push_back({parts_.size(), number, false});
    parts_.push_back({&tensor, first, payload, out.data()});
    return Status::ok;
}

void DenseBatch::arrange(bool largest_first) {
    tasks_.clear();
    next_ = 0;
    if (largest_first) std::stable_sort(jobs_.begin(), jobs_.end(), [this](const Job& a, const Job& b) { return n_bytes(a) > n_bytes(b); });
    for (std::size_t i = 0; i < jobs_.size(); i += tasks_.back().n_jobs) tasks_.push_back({i, i + 1 < jobs_.size() && are_pair(jobs_[i], jobs_[i + 1]) ? std::size_t{2} : std::size_t{1}});
}

void DenseBatch::run() {
    for (std::size_t number = next_++; number < tasks_.size(); number = next_++) {
        Job* job = &jobs_[tasks_[number].first];
        const DenseTables& tables = *parts_[job->part].tensor->tables;
        if (tasks_[number].n_jobs == 1) {
            job->done = decode_dense_block(block(*job), tables);
        } else {
            const auto done = decode_two_dense_blocks(block(job[0]), block(job[1]), tables);
            job[0].done = done[0], job[1].done = done[1];
        }
    }
}

DenseBlock DenseBatch::block(const Job& job) const {
    const Part& part = parts_[job.part];
    const DenseTensor& tensor = *part.tensor;
    const std::uint64_t begin = tensor.offsets[job.block] - tensor.offsets[part.first], end = tensor.offsets[job.block + 1] - tensor.offsets[part.first];
    return tensor.block(job.block, part.payload.subspan(begin, end - begin), part.out);
}

std::size_t DenseBatch::n_bytes(const Job& job) const {
    const DenseTensor& tensor = *parts_[job.part].tensor;
    return tensor.rows_of(job.block) * tensor.columns_of(job.block) * tensor.element_bytes;
}

// Whether decoding two blocks at a time pays.
bool DenseBatch::are_pair(const Job& a, const Job& b) const {
    const DenseTensor &first = *parts_[a.part].tensor, &second = *parts_[b.part].tensor;
    return first.tables == second.tables && first.columns_of(a.block) == second.columns_of(b.block) && has_max_words(block(a)) && has_max_words(block(b));
}

std::vector<std::pair<std::size_t, std::size_t>> DenseBatch::left() const {
    std::vector<std::pair<std::size_t, std::size_t>> found;
    for (const Job& job : jobs_)
        if (!job.done) found.emplace_back(job.part, job.block);
    std::sort(found.begin(), found.end());
    return found;
}

}  // namespace tersor
