#include <doctest/doctest.h>

#include <set>
#include <string>

#include "tersor/status.hpp"

using tersor::Status;

TEST_CASE("every status has its own description") {
    std::set<std::string> seen;
    for (Status status :
         {Status::ok, Status::truncated, Status::corrupt, Status::limit, Status::bad_argument}) {
        seen.insert(tersor::describe(status));
    }
    CHECK(seen.size() == 5);
}

TEST_CASE("a value outside the enum is described, not read out of bounds") {
    CHECK(std::string(tersor::describe(static_cast<Status>(99))) == "unknown status");
}
