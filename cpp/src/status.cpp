#include "tersor/status.hpp"

namespace tersor {

const char* describe(Status status) {
    switch (status) {
        case Status::ok: return "ok";
        case Status::truncated: return "the data ends too early";
        case Status::corrupt: return "the data is damaged";
        case Status::limit: return "the data asks for more than the format allows";
        case Status::bad_argument: return "an argument is out of range";
    }
    return "unknown status";
}

}  // namespace tersor
