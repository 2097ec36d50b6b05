// tests/chips/read.cc — the reader of chip files: what it takes, and the exact words for what it does not.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/toml.h"
#include "device/chip/chip.h"

namespace bascule::device::chip {
namespace {

// As docs/chips.md begins: the least that a chip needs.
const std::string kSmall = R"([chip]
name = "teach"
cores = 2
[core.tensor]
rows = 128
cols = 128
clock_hz = 1.4e9
fill_cycles = 64
[memory.sbuf]
bytes = 25_165_824
read_bytes_per_cycle = 1_024
[memory.hbm]
bytes = 17_179_869_184
bytes_per_s = 4.1e11
latency_ns = 500
[sources]
"core.tensor" = "Architecture guide, section 3"
"core.tensor.fill_cycles" = "assumed: not published; see docs/modelling.md"
"memory" = "Product page, May 2026"
"memory.sbuf.read_bytes_per_cycle" = "assumed"
"memory.hbm.latency_ns" = "fitted: docs/accuracy.md"
)";

std::string with(const std::string& from, const std::string& to) {
  std::string text = kSmall;
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

std::string why(const std::string& text) {
  try {
    parse_chip(text, "/nowhere/x.toml");
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::invalid_file);
    EXPECT_EQ(e.exit_code(), 6);
    return e.what();
  }
  return "";
}

TEST(ChipReader, a_small_file_gives_its_numbers_and_their_sources) {
  const Chip c = parse_chip(kSmall, "x.toml");
  EXPECT_EQ(c.name, "teach");
  EXPECT_EQ(c.cores, 2);
  EXPECT_EQ(c.matrix.name, "tensor");
  EXPECT_EQ(c.matrix.fill_cycles, 64);
  EXPECT_DOUBLE_EQ(c.peak_flop_per_s(DType::bf16), 2.0 * 128 * 128 * 1.4e9 * 2);
  EXPECT_EQ(c.peak_flop_per_s(DType::f32), 0);
  EXPECT_EQ(c.scratchpad()->name, "sbuf");
  EXPECT_EQ(c.main().latency_ns, 500);
  EXPECT_EQ(c.accumulator(), nullptr);
  ASSERT_EQ(c.figures.size(), 10u);
  EXPECT_EQ(c.figures[4].path, "core.tensor.fill_cycles");
  EXPECT_TRUE(c.figures[4].assumed());
  EXPECT_EQ(c.figures[5].value, "25_165_824");
  EXPECT_EQ(c.figures[5].source, "Product page, May 2026");
  EXPECT_TRUE(c.figures[9].fitted());
}

struct Bad {
  const char *from, *to, *message;
};

TEST(ChipReader, each_mistake_has_its_words) {
  const Bad cases[] = {
      {"fill_cycles = 64", "fil_cycles = 64",
       "/nowhere/x.toml:8: core.tensor.fil_cycles: expected a key of [core.tensor], found 'fil_cycles'. Did you mean fill_cycles? docs/chips.md "
       "lists every key"},
      {"[memory.sbuf]", "[memroy.sbuf]",
       "/nowhere/x.toml:10: memroy.sbuf.bytes: expected a key of a chip file, found 'memroy'. Did you mean memory?"},
      {"clock_hz = 1.4e9", "clock_hz = -1.4e9", "core.tensor.clock_hz: expected a number, above 0, to 1e+12, found -1.4e9."},
      {"clock_hz = 1.4e9", "clock_hz = 0", "core.tensor.clock_hz: expected a number, above 0, to 1e+12, found 0."},
      {"clock_hz = 1.4e9", "clock_hz = nan", "core.tensor.clock_hz: expected a number, above 0, to 1e+12, found nan."},
      {"clock_hz = 1.4e9", "clock_hz = inf", "core.tensor.clock_hz: expected a number, above 0, to 1e+12, found inf."},
      {"clock_hz = 1.4e9", "clock_hz = 1e308", "core.tensor.clock_hz: expected a number, above 0, to 1e+12, found 1e308."},
      {"clock_hz = 1.4e9", "clock_hz = 1e309", "x.toml:7:17: expected TOML, found Error while parsing floating-point: `1e309`"},
      {"clock_hz = 1.4e9", "clock_hz = \"1.4 GHz\"", "expected a number, above 0, to 1e+12, found the text '1.4 GHz'."},
      {"clock_hz = 1.4e9\n", "", "/nowhere/x.toml: core.tensor.clock_hz: expected this key (of the engine), found none. Add it"},
      {"cores = 2", "cores = 1000000000", "/nowhere/x.toml:3: chip.cores: expected an integer, 1 to 65536, found 1000000000."},
      {"cores = 2", "cores = 2.5", "chip.cores: expected an integer, 1 to 65536, found 2.5."},
      {"cores = 2", "cores = 2\ndefault_cores = 3", "chip.default_cores: expected at most cores = 2, found 3. Correct one of them"},
      {"cores = 2", "cores = 2\nlevel = \"deep\"", "chip.level: expected one of: instruction, tile, roofline, found the text 'deep'."},
      {"name = \"teach\"\n", "", "/nowhere/x.toml: chip.name: expected this key (used as --device chip:NAME"},
      {"name = \"teach\"", "name = \"../teach\"", "chip.name: expected letters, digits, '_', '-', '.', found '../teach'. Rename it"},
      {"rows = 128\ncols = 128\n", "", "/nowhere/x.toml: core: expected one engine with rows and cols: the matrix engine, found 0."},
      {"rows = 128", "rows = 0", "core.tensor.rows: expected an integer, 1 to 65536, found 0."},
      {"bytes_per_s = 4.1e11\n", "",
       "/nowhere/x.toml: memory.hbm.bytes_per_s: expected this key (of the chip: main memories and caches need it), found none. Add it"},
      {"[memory.hbm]", "[memory.far]",
       "/nowhere/x.toml: memory.far.role: expected main, scratchpad, accumulator or cache, found no such key, and a name that tells nothing. Add "
       "role"},
      {"[memory.hbm]", "[memory.dram]\nrole = \"scratchpad\"",
       "/nowhere/x.toml: memory: expected a main memory ([memory.hbm], or role = \"main\"), found none."},
      {"read_bytes_per_cycle = 1_024", "read_bytes_per_cycle = 1_024\npartitions = 100",
       "memory.sbuf.bytes: expected a multiple of partitions x banks = 100, found 25165824."},
      {"\"memory\" = \"Product page, May 2026\"\n", "",
       "/nowhere/x.toml:10: memory.sbuf.bytes: expected a line in [sources] that covers it, found none; 3 numbers without source: memory.sbuf.bytes, "
       "memory.hbm.bytes, "
       "memory.hbm.bytes_per_s. Add \"memory.sbuf.bytes\" = \"where the number is from\", or \"assumed: reason\""},
      {"\"memory\" =", "\"memory.l2\" = \"x\"\n\"memory\" =",
       "/nowhere/x.toml:19: sources.\"memory.l2\": expected a path of this file, found none that it covers."},
      {"[sources]", "[core.tensor.passes]\nbf17 = 1\n[sources]",
       "core.tensor.passes.bf17: expected a key of a table by element type, found 'bf17'. Did you mean bf16?"},
      {"[sources]", "[core.tensor.passes]\nf32 = 4\n[sources]", "arithmetic.default_type: expected a type of core.tensor.passes, found bf16."},
      {"[sources]", "[core.tensor.cycles_per_element]\ncpy = 1\n[sources]",
       "core.tensor.cycles_per_element.cpy: expected a key of the classes of work, found 'cpy'. Did you mean copy?"},
      {"[sources]", "[core.vector]\nclock_hz = 1e9\nfill_cycles = 3\n[sources]",
       "core.vector.fill_cycles: expected a key of the matrix engine, found an engine without rows and cols."},
      {"[sources]", "[link]\nlatency_ns = 3\n[sources]",
       "/nowhere/x.toml: link.bytes_per_s: expected this key (one way, of one chip over all its links), found none."},
      {"cores = 2", "cores = 2\nexclusive = [[\"tensor\", \"vector\", \"sbuf\"]]",
       "chip.exclusive[0]: expected two engines of the file, then \"scratchpad\", \"accumulator\" or \"accumulator_bank\", found something else."},
      {"[chip]", "include = \"absent.toml\"\n[chip]",
       "/nowhere/x.toml:1: include: expected a chip file beside this one, or an installed one, found no 'absent.toml'."},
      {"[chip]", "include = 3\n[chip]", "/nowhere/x.toml:1: include: expected the name of a chip file, found 3."},
      {"rows = 128", "rows = 128\nrows = 128",
       "x.toml:6:8: expected TOML, found Error while parsing key-value pair: cannot redefine existing integer"},
      {"[sources]", "[power]\n[sources]", "/nowhere/x.toml:16: power: expected settings, found an empty table. Remove it, or fill it in"},
  };
  for (const Bad& b : cases) {
    const std::string got = why(with(b.from, b.to));
    EXPECT_NE(got.find(b.message), std::string::npos) << b.to << "\n  wanted: " << b.message << "\n  got:    " << got;
  }
}

TEST(ChipReader, all_problems_are_reported_at_once) {
  try {
    parse_chip(with("clock_hz = 1.4e9", "clock_hz = -1\nlanes = 0\nunits = -3"), "x.toml");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.problems().size(), 3u) << e.what();
  }
}

TEST(ChipReader, no_file_is_too_strange) {
  EXPECT_NE(why(""), "");
  EXPECT_NE(why(std::string(2 << 20, '#')).find("expected at most 1048576 bytes"), std::string::npos);
  EXPECT_NE(why(std::string(5000, '[')).find("expected TOML"), std::string::npos);
  EXPECT_NE(why("a = " + std::string(5000, '[')).find("expected TOML"), std::string::npos);
  EXPECT_NE(why("a = \"\xff\""), "");
  EXPECT_NE(why("[!a]\nb = 1\n").find("x.toml:1:2: expected TOML, found Error while parsing key"), std::string::npos);
  std::string many = "[chip.a]\n";
  for (int i = 0; i < 6000; ++i) many += "k" + std::to_string(i) + " = 1\n";
  EXPECT_NE(why(many).find("expected at most 5000 values"), std::string::npos);
}

class Folder : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("bascule_chips_" + std::to_string(getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override {
    unsetenv("BASCULE_CHIPS");
    std::filesystem::remove_all(folder_);
  }
  std::string write(const std::string& name, const std::string& text) {
    const std::string path = (folder_ / name).string();
    std::ofstream(path) << text;
    return path;
  }
  std::filesystem::path folder_;
};

std::string problem_of(const std::string& path) {
  try {
    read_chip(path);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::invalid_file);
    return e.what();
  }
  return "";
}

TEST_F(Folder, includes_change_what_they_took_over) {
  write("base.toml", kSmall);
  const std::string path =
      write("fast.toml", "include = \"base.toml\"\n[chip]\nname = \"fast\"\n[core.tensor]\nclock_hz = 2.8e9\n[sources]\n\"core\" = \"New page\"\n");
  const Chip c = read_chip(path);
  EXPECT_EQ(c.name, "fast");
  EXPECT_EQ(c.cores, 2);
  EXPECT_EQ(c.matrix.clock_hz, 2.8e9);
  EXPECT_EQ(c.matrix.rows, 128);
  for (const Figure& f : c.figures) EXPECT_EQ(f.source == "New page", f.path == "core.tensor.clock_hz") << f.path;
}

TEST_F(Folder, a_number_of_the_including_file_needs_its_own_source) {
  write("base.toml", kSmall);
  const std::string path = write("fast.toml", "include = \"base.toml\"\n[chip]\nname = \"fast\"\n[core.tensor]\nclock_hz = 2.8e9\n");
  EXPECT_NE(problem_of(path).find("fast.toml:5: core.tensor.clock_hz: expected a line in [sources] that covers it, found none."), std::string::npos);
}

TEST_F(Folder, an_include_that_leads_back_is_refused) {
  const std::string a = write("a.toml", "include = \"b.toml\"\n");
  write("b.toml", "include = \"a.toml\"\n");
  EXPECT_NE(
      problem_of(a).find(
          "b.toml:1: include: expected a file that does not lead back to itself, found a.toml includes b.toml includes a.toml. Remove one include"),
      std::string::npos)
      << problem_of(a);
  const std::string self = write("self.toml", "include = \"self.toml\"\n");
  EXPECT_NE(problem_of(self).find("found self.toml includes self.toml."), std::string::npos);
  for (int i = 0; i < 6; ++i) write("d" + std::to_string(i) + ".toml", "include = \"d" + std::to_string(i + 1) + ".toml\"\n");
  EXPECT_NE(problem_of((folder_ / "d0.toml").string()).find("expected at most 4 files that include each other"), std::string::npos);
  EXPECT_NE(
      problem_of(write("alone.toml", "include = \"absent.toml\"\n"))
          .find("alone.toml:1: include: expected a chip file beside this one, or an installed one, found no 'absent.toml'. Name a file of chips/"),
      std::string::npos);
  for (const char* name : {"../x.toml", "/etc/passwd", "", "a"})
    EXPECT_NE(
        problem_of(write("out.toml", std::string("include = \"") + name + "\"\n")).find("expected the name of a chip file, without folders, found"),
        std::string::npos);
}

TEST_F(Folder, further_folders_are_searched_first) {
  write("mine_only.toml", with("name = \"teach\"", "name = \"mine_only\""));
  write("wrong_name.toml", kSmall);
  setenv("BASCULE_CHIPS", ("/nowhere:" + folder_.string()).c_str(), 1);
  const std::vector<std::string> names = chip_names();
  EXPECT_NE(std::find(names.begin(), names.end(), "mine_only"), names.end());
  EXPECT_NE(std::find(names.begin(), names.end(), "teach"), names.end());
  EXPECT_EQ(find_chip("mine_only").cores, 2);
  EXPECT_THROW(find_chip("wrong_name"), Error);
  EXPECT_THROW(find_chip("../mine_only"), Error);
}

}  // namespace
}  // namespace bascule::device::chip
