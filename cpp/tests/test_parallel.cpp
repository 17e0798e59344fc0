#include "tersor/parallel.hpp"

#include <doctest/doctest.h>

#include <stdexcept>

using namespace tersor;

TEST_CASE("in parallel: every job runs once, whatever the number of threads") {
    for (const std::size_t n : {0, 1, 7, 1000})
        for (const std::size_t threads : {1, 2, 5}) {
            std::vector<std::atomic<int>> runs(n);
            in_parallel(n, threads, [&](std::size_t i) { ++runs[i]; });
            for (const auto& run : runs) REQUIRE(run == 1);
        }
}

TEST_CASE("in parallel: the exception of a job is rethrown, and later jobs are dropped") {
    for (const std::size_t threads : {1, 3}) {
        std::atomic<std::size_t> n_run{0};
        CHECK_THROWS_AS(in_parallel(1000, threads,
                                    [&](std::size_t i) {
                                        ++n_run;
                                        if (i == 5) throw std::runtime_error("job 5");
                                    }),
                        std::runtime_error);
        if (threads == 1) CHECK(n_run == 6);
    }
}
