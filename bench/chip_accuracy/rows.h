// bench/chip_accuracy/rows.h — published rows, predictions beside them, and tables of both.
#pragma once
#include <map>
#include <string>
#include <vector>

namespace bascule::bench {

using Row = std::map<std::string, std::string>;
std::vector<Row> read_csv(const std::string& path);  // first line: names. Fields may be quoted

double number(const Row& row, const std::string& column);

// Linear between order statistics; q in [0, 1].
double quantile(std::vector<double> x, double q);

struct Table {
  explicit Table(std::vector<std::string> names) : rows{std::move(names)} {}
  void row(std::vector<std::string> cells) { rows.push_back(std::move(cells)); }
  std::string text(bool markdown) const;
  std::vector<std::vector<std::string>> rows;
};

struct Options {
  std::string shared;  // folder with facts/ and models/
  bool markdown = false, fit = false;
  std::vector<std::string> chips;  // empty: all
};

// Each prints its table and returns whether the stated bounds hold.
bool neuron(const Options& o);
bool tpu(const Options& o);
bool gpu(const Options& o);

}  // namespace bascule::bench
