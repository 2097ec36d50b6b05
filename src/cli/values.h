// cli/values.h — values for people and for JSON.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "graph/tensor.h"
#include "runtime/session.h"

namespace bascule::cli {

// "f32[2,3]  min -1 max 2.5 mean 0.1" and the first elements, for one line of a table.
std::string type_text(const HostValue& v);
std::string summary_text(const HostValue& v);
// All elements when there are at most `most`; otherwise the first ones, and "shown" says how many.
nlohmann::ordered_json value_json(const HostValue& v, int64_t most);
// Text that may hold any bytes, made printable as JSON.
std::string json_text(const nlohmann::ordered_json& j);

// Writes results: .npz for any number, .npy for a single tensor. UsageError for another extension.
void write_outputs(const std::string& path, const std::vector<runtime::Port>& ports, const HostValues& values);

}  // namespace bascule::cli
