// device/chip/find.h — where installed chip files and price lists lie.
#pragma once
#include <optional>
#include <string>
#include <vector>

namespace bascule::device::chip {

// Folders that exist, in the order they are searched: those of the environment variable (separated by ':'), share/bascule/KIND beside the program or
// the library, KIND of the source tree. Of the last three only the first that exists. kind: "chips", "prices".
std::vector<std::string> data_folders(const char* variable, const char* kind);
// Path of NAME.toml, if it is installed.
std::optional<std::string> installed_chip(const std::string& chip_name);

}  // namespace bascule::device::chip
