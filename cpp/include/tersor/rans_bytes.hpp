// The `rans` byte codec: order-0 entropy coding of bytes with a table of its own, docs/format-codecs.md.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "tersor/status.hpp"

namespace tersor {

// Appends the payload of `data` to `payload`.
Status rans_encode(std::span<const std::uint8_t> data, std::vector<std::uint8_t>& payload);

// Fills `out` from `payload`; uses all of it.
Status rans_decode(std::span<const std::uint8_t> payload, std::span<std::uint8_t> out);

}  // namespace tersor
