// graph/text/parser_depth.h — the depth cap of the parser: one object for each level of nesting.
#pragma once
#include "base/error.h"
#include "graph/text/parser.h"

namespace bascule::mlir {

struct Parser::Depth {
  static constexpr int kMost = 200;
  explicit Depth(Parser& p) : parser(p) {
    if (++parser.depth_ > kMost) {
      const std::string at = parser.where(parser.token_.begin);
      --parser.depth_;
      fail_file(at, "at most " + std::to_string(kMost) + " levels of nesting", "more", "Export the model again");
    }
  }
  ~Depth() { --parser.depth_; }
  Depth(const Depth&) = delete;
  Depth& operator=(const Depth&) = delete;
  Parser& parser;
};

}  // namespace bascule::mlir
