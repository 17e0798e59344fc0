#pragma once

namespace tersor {

// What a call says about its input. Everything but `ok` leaves the output's contents unspecified.
enum class Status : int {
    ok = 0,
    truncated,     // the input ends before the output is complete
    corrupt,       // the input says something that no encoder writes
    limit,         // the input asks for more than the format allows
    bad_argument,  // the caller's fault: sizes or options that cannot work
};

// One clause in plain words, without a full stop; never null.
const char* describe(Status status);

}  // namespace tersor
