// Use: seeds_X FOLDER      writes the seeds of a target into an existing folder
#include <fstream>
#include <string>

#include "fuzz.hpp"

int main(int argc, char** argv) {
    tersor::fuzz::require(argc == 2, "one argument, the folder");
    int number = 0;
    for (const tersor::Bytes& seed : tersor::fuzz::seeds()) {
        tersor::fuzz::fuzz(seed);
        std::ofstream file(std::string(argv[1]) + "/seed-" + std::to_string(number++), std::ios::binary);
        file.write(reinterpret_cast<const char*>(seed.data()), static_cast<std::streamsize>(seed.size()));
        tersor::fuzz::require(file.good(), "the folder can be written to");
    }
    std::printf("%d seeds in %s\n", number, argv[1]);
}
