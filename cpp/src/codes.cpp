#include "tersor/codes.hpp"

#include <algorithm>

#include "codes_walk.hpp"

namespace tersor {

void count_codes(std::span<const std::int32_t> codes, const CodeShape& shape, int first_class, int n_classes, int range, std::span<std::uint64_t> counts,
                 std::span<std::uint64_t> outside) {
    Trellis trellis(shape.columns, shape.trellis_rows);
    const std::size_t width = 2 * static_cast<std::size_t>(range) + 1;
    for (std::size_t row = 0; row < shape.rows; ++row) {
        trellis.begin_row(row);
        for (std::size_t column = 0; column < shape.columns; ++column) {
            const std::int32_t code = codes[row * shape.columns + column];
            const int c = std::clamp(shape.row_class[row] + shape.column_class[column] - first_class, 0, n_classes - 1);
            const auto context = static_cast<std::size_t>(trellis.half(column) * n_classes + c);
            if (code >= -range && code <= range)
                ++counts[context * width + static_cast<std::size_t>(code + range)];
            else
                ++outside[context];
            trellis.step(column, code);
        }
    }
}

}  // namespace tersor
