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
  bool markdown = false, fit = false, progress = false;
  std::vector<std::string> only;  // rows whose id, chip or model has one of these in it; empty: all
  size_t every = 1;               // gpu: each so many rows
};
bool selected(const Options& o, const Row& row);

// Predictions beside published times: tables to print, and the relative errors of what they hold.
struct Accuracy {
  std::string text;
  std::map<std::string, std::vector<double>> errors;  // signed, by chip
  std::vector<std::string> failed;                    // rows that could not be mapped, and why
  bool good = false;                                  // the stated bounds hold
  std::vector<double> all_errors() const;             // without sign
};
Accuracy neuron(const Options& o);
Accuracy tpu(const Options& o);
Accuracy gpu(const Options& o);

}  // namespace bascule::bench
