#include "tersor/quantize_two_sided.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <vector>

#include "tersor/parallel.hpp"
#include "trellis_search.hpp"
#include "vector_clones.hpp"

namespace tersor {
namespace {

constexpr std::size_t kBlockColumns = 32;  // columns whose errors are collected before the later columns see them
constexpr std::size_t kChunk = kRunMultiple;  // a tile has a multiple of so many rows

// values[k] -= sum over errors j of factor(j, k) * errors[j], for the columns k in [first, last) of a tile of `height` values a column.
TERSOR_VECTOR_CLONES
void push_errors(float* values, const float* errors, const float* factor, std::size_t stride, std::size_t n_errors, std::size_t first, std::size_t last,
                 std::size_t height) {
    for (std::size_t k = first; k < last; ++k)
        for (std::size_t chunk = 0; chunk < height; chunk += kChunk) {
            float sum[kChunk];
            std::memcpy(sum, values + k * height + chunk, sizeof sum);
            for (std::size_t j = 0; j < n_errors; ++j) {
                const float weight = factor[j * stride + k];
                const float* error = errors + j * height + chunk;
                for (std::size_t i = 0; i < kChunk; ++i) sum[i] -= weight * error[i];
            }
            std::memcpy(values + k * height + chunk, sum, sizeof sum);
        }
}

// carried[x][c] = sum over i < n of factor_rows[x][i] * errors[i][c] for four rows x and kBlockColumns columns c.
TERSOR_VECTOR_CLONES
void carry_four_rows(const float* const factor_rows[4], const float* errors, std::size_t stride, std::size_t n, float (*carried)[kBlockColumns]) {
    float sums[4][kBlockColumns] = {};
    for (std::size_t i = 0; i < n; ++i) {
        const float* row = errors + i * stride;
        for (std::size_t x = 0; x < 4; ++x) {
            const float weight = factor_rows[x][i];
            for (std::size_t c = 0; c < kBlockColumns; ++c) sums[x][c] += weight * row[c];
        }
    }
    std::memcpy(carried, sums, sizeof sums);
}

// The problem and what all tiles share. A tile is `lanes` runs of rows, `height` rows in all.
struct Job {
    Job(const TwoSidedProblem& problem, std::span<std::int32_t> codes);

    const TwoSidedProblem& problem;
    std::span<std::int32_t> codes;
    std::size_t lanes, height, n_tiles;
    std::vector<float> costs;  // the problem's, and classes of zeros for rows that only fill a tile
    CostTable table;
    std::int32_t free_row;     // the offset of those zeros
    std::size_t error_stride = 0;
    std::vector<float> row_errors;                // rows x error_stride: e, for the rows below; only with a row factor
    std::vector<std::atomic<std::size_t>> done;   // columns finished of each tile
};

// Worth it if enough of the lanes hold rows (with a quarter of them, one run after the other takes about as long).
bool can_use_lanes(const TwoSidedProblem& problem) {
    return problem.has_trellis && problem.row_factor.empty() && problem.rows > kLanes / 4 * problem.run_rows;
}

Job::Job(const TwoSidedProblem& the_problem, std::span<std::int32_t> the_codes)
    : problem(the_problem), codes(the_codes), lanes(can_use_lanes(problem) ? kLanes : 1), height(lanes * problem.run_rows),
      n_tiles((problem.rows + height - 1) / height), costs(problem.code_costs.costs.begin(), problem.code_costs.costs.end()), done(n_tiles) {
    const auto width = static_cast<std::int32_t>(problem.code_costs.width), half_stride = width * static_cast<std::int32_t>(problem.code_costs.n_classes);
    free_row = static_cast<std::int32_t>(costs.size());
    costs.resize(costs.size() + static_cast<std::size_t>(half_stride + width), 0.0f);
    table = {costs.data(), half_stride, width - 1};
    if (!problem.row_factor.empty()) {
        error_stride = (problem.columns + kBlockColumns - 1) / kBlockColumns * kBlockColumns;
        row_errors.resize(problem.rows * error_stride);
    }
}

// A tile under work: its rows of all columns. The place of row x of run `lane` is x * lanes + lane.
class Tile {
public:
    explicit Tile(Job& job);
    // Rounds the tile of this number; false if a magnitude is too large. Waits for the tile above where rows feed into rows.
    bool round(std::size_t number);

private:
    void load(std::size_t number);
    void load_feedback();
    void wait_for_tile_above(std::size_t number, std::size_t end) const;
    void carry_errors(std::size_t begin);
    void fill_cost_rows(std::size_t column, std::int32_t* cost_rows) const;
    void load_mask(std::size_t column);
    bool round_lanes(std::size_t column, float* column_errors);
    bool round_run(std::size_t column, std::size_t block_begin, float* column_errors);
    void collect_errors(std::size_t column, const float* levels, float* column_errors) const;

    Job& job_;
    const TwoSidedProblem& problem_;
    std::size_t first_row_ = 0;
    std::vector<std::size_t> rows_;                     // row of each place; problem.rows where there is none
    std::vector<float> values_, column_errors_;         // columns x height, kBlockColumns x height
    std::vector<float> row_steps_, inverse_row_steps_;  // height
    std::vector<std::int32_t> row_classes_;             // height
    float feedback_[kMaxRunRows][kMaxRunRows] = {};     // of the tile's own rows
    float inverse_diagonal_[kMaxRunRows] = {};
    float carried_[kMaxRunRows][kBlockColumns] = {};    // feedback of the rows above
    bool is_zero_[kMaxRunRows * kLanes] = {};           // of the column under work: places whose code must be 0
    LaneRuns runs_{};
    CoupledRun run_{};
};

Tile::Tile(Job& job)
    : job_(job), problem_(job.problem), rows_(job.height), values_(problem_.columns * job.height), column_errors_(kBlockColumns * job.height),
      row_steps_(job.height), inverse_row_steps_(job.height), row_classes_(job.height) {}

bool Tile::round(std::size_t number) {
    load(number);
    const std::size_t columns = problem_.columns, height = job_.height;
    const bool has_column_factor = !problem_.column_factor.empty(), has_row_factor = !problem_.row_factor.empty();
    const float* const factor = problem_.column_factor.data();
    bool is_good = true;
    for (std::size_t begin = 0; begin < columns; begin += kBlockColumns) {
        const std::size_t end = std::min(columns, begin + kBlockColumns);
        if (has_row_factor) {
            wait_for_tile_above(number, end);
            carry_errors(begin);
        }
        for (std::size_t j = begin; j < end; ++j) {
            float* const errors = column_errors_.data() + (j - begin) * height;
            is_good &= job_.lanes > 1 ? round_lanes(j, errors) : round_run(j, begin, errors);
            if (has_column_factor) push_errors(values_.data(), errors, factor + j * columns, columns, 1, j + 1, end, height);
        }
        if (has_column_factor) push_errors(values_.data(), column_errors_.data(), factor + begin * columns, columns, end - begin, end, columns, height);
        job_.done[number] = end;
        job_.done[number].notify_all();
    }
    return is_good;
}

void Tile::load(std::size_t number) {
    first_row_ = number * job_.height;
    std::fill(values_.begin(), values_.end(), 0.0f);
    for (std::size_t place = 0; place < job_.height; ++place) {
        const std::size_t row = first_row_ + place % job_.lanes * problem_.run_rows + place / job_.lanes;
        const bool is_row = row < problem_.rows;
        rows_[place] = is_row ? row : problem_.rows;
        row_steps_[place] = is_row ? problem_.row_steps[row] : 1.0f;
        inverse_row_steps_[place] = 1.0f / row_steps_[place];
        row_classes_[place] = is_row ? problem_.row_classes[row] : 0;
        if (!is_row) continue;
        const float* const weights = problem_.weights.data() + row * problem_.columns;
        for (std::size_t j = 0; j < problem_.columns; ++j) values_[j * job_.height + place] = weights[j];
    }
    if (job_.lanes == 1) load_feedback();
}

void Tile::load_feedback() {
    run_.n_rows = std::min(problem_.run_rows, problem_.rows - first_row_);
    if (problem_.row_factor.empty()) return;
    const float* const factor = problem_.row_factor.data() + first_row_ * problem_.rows + first_row_;
    for (std::size_t x = 0; x < run_.n_rows; ++x) {
        for (std::size_t y = 0; y < problem_.run_rows; ++y) feedback_[x][y] = y > x && y < run_.n_rows ? factor[y * problem_.rows + x] : 0.0f;
        inverse_diagonal_[x] = 1.0f / factor[x * problem_.rows + x];
    }
    run_.feedback = feedback_;
    run_.inverse_diagonal = inverse_diagonal_;
}

void Tile::wait_for_tile_above(std::size_t number, std::size_t end) const {
    if (number == 0) return;
    const std::atomic<std::size_t>& done = job_.done[number - 1];
    for (std::size_t n_done = done; n_done < end; n_done = done) done.wait(n_done);
}

// What the rows above the tile feed into kBlockColumns columns (those beyond the last are padding).
void Tile::carry_errors(std::size_t begin) {
    for (std::size_t x = 0; x < run_.n_rows; x += 4) {
        const float* factor_rows[4];
        for (std::size_t i = 0; i < 4; ++i) factor_rows[i] = problem_.row_factor.data() + (first_row_ + std::min(x + i, run_.n_rows - 1)) * problem_.rows;
        carry_four_rows(factor_rows, job_.row_errors.data() + begin, job_.error_stride, first_row_, carried_ + x);
    }
}

void Tile::fill_cost_rows(std::size_t column, std::int32_t* cost_rows) const {
    const CodeCosts& costs = problem_.code_costs;
    const auto width = static_cast<std::int32_t>(costs.width), last_class = static_cast<std::int32_t>(costs.n_classes) - 1;
    const std::int32_t column_class = problem_.column_classes[column] - costs.first_class;
    for (std::size_t place = 0; place < job_.height; ++place) {
        const std::int32_t row = std::clamp(row_classes_[place] + column_class, 0, last_class) * width;
        cost_rows[place] = rows_[place] < problem_.rows ? row : job_.free_row;
    }
}

void Tile::load_mask(std::size_t column) {
    if (problem_.mask.empty()) return;
    for (std::size_t place = 0; place < job_.height; ++place)
        is_zero_[place] = rows_[place] < problem_.rows && problem_.mask[rows_[place] * problem_.columns + column] == 0;
    runs_.is_zero = reinterpret_cast<const bool (*)[kLanes]>(is_zero_);
    run_.is_zero = is_zero_;
}

bool Tile::round_lanes(std::size_t column, float* column_errors) {
    runs_.n_rows = problem_.run_rows;
    std::memcpy(runs_.values, values_.data() + column * job_.height, job_.height * sizeof(float));
    float* const inverse_steps = &runs_.inverse_steps[0][0];
    const std::int32_t* const codes = &runs_.codes[0][0];
    const float inverse_step = 1.0f / problem_.column_steps[column];
    for (std::size_t place = 0; place < job_.height; ++place) inverse_steps[place] = inverse_row_steps_[place] * inverse_step;
    fill_cost_rows(column, &runs_.cost_rows[0][0]);
    load_mask(column);
    const bool is_good = search_trellis(runs_, job_.table);
    for (std::size_t place = 0; place < job_.height; ++place)
        if (rows_[place] < problem_.rows) job_.codes[rows_[place] * problem_.columns + column] = codes[place];
    collect_errors(column, &runs_.levels[0][0], column_errors);
    return is_good;
}

bool Tile::round_run(std::size_t column, std::size_t block_begin, float* column_errors) {
    const float* const values = values_.data() + column * job_.height;
    const float step = problem_.column_steps[column], inverse_step = 1.0f / step;
    for (std::size_t x = 0; x < job_.height; ++x) {
        run_.values[x] = values[x] - carried_[x][column - block_begin];
        run_.steps[x] = row_steps_[x] * step;
        run_.inverse_steps[x] = inverse_row_steps_[x] * inverse_step;
        run_.levels[x] = 0.0f;
    }
    fill_cost_rows(column, run_.cost_rows);
    load_mask(column);
    const bool is_good = problem_.has_trellis ? search_trellis(run_, job_.table) : search_scalar(run_, job_.table);
    for (std::size_t x = 0; x < run_.n_rows; ++x) {
        job_.codes[(first_row_ + x) * problem_.columns + column] = run_.codes[x];
        if (run_.feedback != nullptr) job_.row_errors[(first_row_ + x) * job_.error_stride + column] = run_.errors[x];
    }
    collect_errors(column, run_.levels, column_errors);
    return is_good;
}

// The column's errors before the row feedback, over the factor's diagonal.
void Tile::collect_errors(std::size_t column, const float* levels, float* column_errors) const {
    if (problem_.column_factor.empty()) return;
    const float* const values = values_.data() + column * job_.height;
    const float step = problem_.column_steps[column], inverse_diagonal = 1.0f / problem_.column_factor[column * problem_.columns + column];
    for (std::size_t place = 0; place < job_.height; ++place) column_errors[place] = (values[place] - levels[place] * (row_steps_[place] * step)) * inverse_diagonal;
}

bool all_positive(std::span<const float> values) {
    return std::all_of(values.begin(), values.end(), [](float value) { return value > 0.0f; });
}

// Empty, or n x n with a positive diagonal.
bool is_factor(std::span<const float> factor, std::size_t n) {
    if (factor.empty()) return true;
    if (n == 0 || n > SIZE_MAX / sizeof(float) / n || factor.size() != n * n) return false;
    for (std::size_t i = 0; i < n; ++i)
        if (!(factor[i * n + i] > 0.0f)) return false;
    return true;
}

// The searches add offsets into the costs as int32.
bool are_costs(const CodeCosts& costs, std::size_t halves) {
    constexpr std::size_t kMostCosts = std::size_t{1} << 28;
    if (costs.width == 0 || costs.n_classes == 0 || costs.width > kMostCosts || costs.n_classes > kMostCosts / costs.width) return false;
    return costs.costs.size() == halves * costs.n_classes * costs.width;
}

bool is_well_formed(const TwoSidedProblem& problem, std::size_t n_codes) {
    const std::size_t rows = problem.rows, columns = problem.columns;
    if (columns != 0 && rows > SIZE_MAX / sizeof(float) / (columns + kBlockColumns)) return false;
    if (problem.weights.size() != rows * columns || n_codes != rows * columns) return false;
    if (problem.row_steps.size() != rows || problem.column_steps.size() != columns) return false;
    if (problem.row_classes.size() != rows || problem.column_classes.size() != columns) return false;
    if (!problem.mask.empty() && problem.mask.size() != rows * columns) return false;
    if (problem.run_rows == 0 || problem.run_rows > kMaxRunRows || problem.run_rows % kRunMultiple != 0) return false;
    if (!all_positive(problem.row_steps) || !all_positive(problem.column_steps)) return false;
    return is_factor(problem.column_factor, columns) && is_factor(problem.row_factor, rows) && are_costs(problem.code_costs, problem.has_trellis ? 2 : 1);
}

}  // namespace

Status round_two_sided(const TwoSidedProblem& problem, std::span<std::int32_t> codes, unsigned threads) {
    if (threads == 0 || !is_well_formed(problem, codes.size())) return Status::bad_argument;
    if (problem.rows == 0 || problem.columns == 0) return Status::ok;
    Job job(problem, codes);
    std::atomic<std::size_t> next_tile{0};
    std::atomic<bool> is_good{true};
    // All memory is there before the first thread: one that failed would leave others waiting for its tile.
    std::vector<std::unique_ptr<Tile>> tiles(std::min<std::size_t>(threads, job.n_tiles));
    for (auto& tile : tiles) tile = std::make_unique<Tile>(job);
    // Tiles are begun in order, so the tile that another one waits for has always been begun.
    in_parallel(tiles.size(), tiles.size(), [&](std::size_t worker) {
        for (std::size_t number = next_tile++; number < job.n_tiles; number = next_tile++)
            if (!tiles[worker]->round(number)) is_good = false;
    });
    return is_good ? Status::ok : Status::bad_argument;
}

}  // namespace tersor
