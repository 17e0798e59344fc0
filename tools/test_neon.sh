#!/bin/sh
# The C++ tests of vector code, compiled for 64-bit ARM and run under qemu. Needs Debian's g++-aarch64-linux-gnu, qemu-user
# and doctest-dev. Use: sh tools/test_neon.sh [BUILD_FOLDER]
set -eu
cd "$(dirname "$0")/.."
build=${1:-build/neon}
cmake -S cpp/tests -B "$build" -DTERSOR_SANITIZE=OFF -DDOCTEST_INCLUDE_DIR="${DOCTEST_INCLUDE_DIR:-/usr/include}" \
    -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ -DCMAKE_EXE_LINKER_FLAGS=-static
cmake --build "$build"
qemu-aarch64 "$build/tersor_tests" -tc='isa*,float rows*,float max*,codes*,dequantize*,trellis*,CRC*'
