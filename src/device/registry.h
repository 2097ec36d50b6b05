// device/registry.h — families of devices: one factory for all names "PREFIX:MEMBER", such as chip:trainium2.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "device/device.h"

namespace bascule::device {

struct Family {
  std::unique_ptr<Device> (*make)(const std::string& member);  // UsageError if there is no such member
  std::vector<std::string> (*members)();                       // for messages and lists
};
// find_device("PREFIX:MEMBER") then makes the member on first use.
bool register_family(std::string_view prefix, Family family);
// "chip:a100_80g", "chip:b200" ...: members of all families.
std::vector<std::string> family_names();

}  // namespace bascule::device
