// tests/runtime/stablehlo_cases.cc — the runner of StableHLO's test files: modules split, checks made, processes simulated.
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>

#include "base/file.h"
#include "runtime/conformance.h"

namespace bascule::runtime {
namespace {

std::vector<CaseResult> run(const std::string& text) {
  const std::string path = (std::filesystem::temp_directory_path() / ("cases_" + std::to_string(::getpid()) + ".mlir")).string();
  write_file(path, text);
  auto out = run_stablehlo_case_file(path);
  std::remove(path.c_str());
  return out;
}

TEST(StableHloCases, each_module_is_a_case_and_a_wrong_answer_names_the_element) {
  const auto r = run(R"(func.func @right() {
  %0 = stablehlo.constant dense<[1.0, 2.0]> : tensor<2xf32>
  check.expect_almost_eq_const %0, dense<[1.00005, 2.0]> : tensor<2xf32>
  func.return
}
// -----
func.func @wrong() {
  %0 = stablehlo.constant dense<[1, 2]> : tensor<2xi64>
  check.expect_eq_const %0, dense<[1, 3]> : tensor<2xi64>
  func.return
}
// -----
func.func @broken() { %0 = stablehlo.nonsense })");
  ASSERT_EQ(r.size(), 3U);
  EXPECT_EQ(r[0].result, "pass") << r[0].message;
  EXPECT_EQ(r[1].result, "fail");
  EXPECT_NE(r[1].message.find("element 1 of i64[2]: expected 3, found 2; 1 of 2 differ"), std::string::npos) << r[1].message;
  EXPECT_EQ(r[2].result, "fail");
}

const char* const kReduce = R"(module @sum {
  func.func @sum(%x : tensor<2xi64>) -> tensor<2xi64> {
    %y = "stablehlo.all_reduce"(%x) ({
      ^bb0(%a: tensor<i64>, %b: tensor<i64>):
        %c = stablehlo.add %a, %b : tensor<i64>
        stablehlo.return %c : tensor<i64>
    }) {replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>} : (tensor<2xi64>) -> tensor<2xi64>
    return %y : tensor<2xi64>
  }
  func.func @alone(%x : tensor<2xi64>) -> tensor<2xi64> { return %x : tensor<2xi64> }
  func.func @main() {
    %x = stablehlo.constant dense<[1, 2]> : tensor<2xi64>
    %r:2 = "interpreter.run_parallel"(%x, %x) {programs = [[@sum], [@SECOND]]} : (tensor<2xi64>, tensor<2xi64>) -> (tensor<2xi64>, tensor<2xi64>)
    check.expect_eq_const %r#0, dense<[2, 4]> : tensor<2xi64>
    func.return
  }
})";

TEST(StableHloCases, processes_meet_or_say_that_they_cannot) {
  std::string both = kReduce, lonely = kReduce;
  both.replace(both.find("SECOND"), 6, "sum");
  lonely.replace(lonely.find("SECOND"), 6, "alone");
  const auto met = run(both), stuck = run(lonely);
  ASSERT_EQ(met.size(), 1U);
  EXPECT_EQ(met[0].result, "pass") << met[0].message;
  ASSERT_EQ(stuck.size(), 1U);
  EXPECT_EQ(stuck[0].result, "fail");
  EXPECT_NE(stuck[0].message.find("expected the other processes to come, found all of them waiting or ended"), std::string::npos) << stuck[0].message;
}

}  // namespace
}  // namespace bascule::runtime
