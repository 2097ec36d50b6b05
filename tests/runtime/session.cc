// Sessions over graphs built by hand: shapes bound per run, many threads, errors in the user's words.
#include "runtime/session.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/error.h"
#include "graph/builder.h"

namespace bascule {
namespace {

Graph doubled() {
  Builder b;
  const Value x = b.input(Type::tensor(DType::f32, {Dim::symbol("batch"), 3}), "x");
  return b.finish({b.add(x, x)}, {"y"});
}

TEST(Session, runs_any_batch_after_one_load) {
  const auto s = runtime::Session::from_graph(doubled(), {.device = "reference"});
  for (const int64_t n : {0, 1, 5}) {
    Tensor x(DType::f32, {n, 3});
    for (float& v : x.as_mutable<float>()) v = 1.5f;
    const auto out = s->run(std::map<std::string, HostValue>{{"x", x}});
    ASSERT_EQ(out.at("y").tensor().dims(), (std::vector<int64_t>{n, 3}));
    for (const float v : out.at("y").tensor().as<float>()) EXPECT_EQ(v, 3.0f);
  }
}

TEST(Session, eight_threads_share_one_session) {
  const auto s = runtime::Session::from_graph(doubled(), {.device = "reference"});
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&s, t] {
      for (int64_t n = 1; n < 20; ++n) {
        Tensor x(DType::f32, {n, 3});
        for (float& v : x.as_mutable<float>()) v = static_cast<float>(t);
        const HostValues out = s->run(HostValues{x});
        for (const float v : out[0].tensor().as<float>()) EXPECT_EQ(v, 2.0f * static_cast<float>(t));
      }
    });
  for (auto& t : threads) t.join();
}

TEST(Session, refuses_inputs_it_does_not_know) {
  const auto s = runtime::Session::from_graph(doubled(), {.device = "reference"});
  try {
    s->run(std::map<std::string, HostValue>{{"z", Tensor(DType::f32, {1, 3})}});
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::usage);
    EXPECT_EQ(e.problems().size(), 2u) << e.what();
  }
  const Tensor wrong(DType::f32, {1, 4});
  EXPECT_THROW(s->run(HostValues{wrong}), Error);
  EXPECT_THROW(runtime::Session::from_graph(doubled(), {.device = "none"}), Error);
}

}  // namespace
}  // namespace bascule
