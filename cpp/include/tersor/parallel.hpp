// Numbered jobs on several threads.
#pragma once
#include <atomic>
#include <cstddef>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace tersor {

// Calls job(i) for every i below `n`, by at most `threads` threads, the caller's among them. The first exception of a job is rethrown
// when all threads have ended; jobs that have not begun by then are dropped.
template <class Job>
void in_parallel(std::size_t n, std::size_t threads, Job job) {
    std::atomic<std::size_t> next{0};
    std::exception_ptr failure;
    std::mutex failing;
    const auto work = [&] {
        try {
            for (std::size_t i; (i = next.fetch_add(1)) < n;) job(i);
        } catch (...) {
            const std::lock_guard lock(failing);
            if (!failure) failure = std::current_exception();
            next = n;
        }
    };
    std::vector<std::thread> others;
    const std::size_t wanted = threads < n ? threads : n;
    try {
        for (std::size_t k = 1; k < wanted; ++k) others.emplace_back(work);
    } catch (const std::system_error&) {
        // No more threads to be had: those that run, and this one, do the work.
    }
    work();
    for (std::thread& other : others) other.join();
    if (failure) std::rethrow_exception(failure);
}

}  // namespace tersor
