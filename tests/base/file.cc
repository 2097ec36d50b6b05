// tests/base/file.cc — files that are none, files cut short, and data files beside a model.
#include "base/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <functional>

#include "base/error.h"

namespace bascule {
namespace {
namespace fs = std::filesystem;

class FileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "bascule-file-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder = fs::canonical(name);
  }
  void TearDown() override { fs::remove_all(folder); }
  std::string at(const std::string& name) const { return (folder / name).string(); }
  fs::path folder;
};

ErrorKind kind_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.kind();
  }
  ADD_FAILURE() << "no error";
  return ErrorKind::internal;
}

TEST_F(FileTest, written_file_reads_back_small_and_mapped) {
  for (const size_t size : {size_t{0}, size_t{5}, size_t{200'000}}) {
    const std::string text(size, 'x');
    write_file(at("f"), text);
    EXPECT_EQ(read_file(at("f")), text);
    const auto mapped = MappedFile::open(at("f"));
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(mapped->bytes().data()), mapped->bytes().size()), text);
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(folder), fs::directory_iterator{}), 1);  // no temporary left behind
}

TEST_F(FileTest, what_is_no_regular_file_is_refused_without_blocking) {
  ASSERT_EQ(mkfifo(at("fifo").c_str(), 0600), 0);
  EXPECT_EQ(kind_of([&] { MappedFile::open(at("fifo")); }), ErrorKind::invalid_file);
  EXPECT_EQ(kind_of([&] { MappedFile::open("/dev/zero"); }), ErrorKind::invalid_file);
  EXPECT_EQ(kind_of([&] { MappedFile::open(folder.string()); }), ErrorKind::invalid_file);
  EXPECT_EQ(kind_of([&] { MappedFile::open(at("absent")); }), ErrorKind::usage);
}

TEST_F(FileTest, mapped_file_cut_short_is_a_device_error) {
  write_file(at("f"), std::string(1 << 20, 'x'));
  guard_mapped_files();
  const auto mapped = MappedFile::open(at("f"));
  fs::resize_file(at("f"), 4096);
  EXPECT_EQ(static_cast<char>(mapped->bytes()[0]), 'x');
  EXPECT_EQ(mapped->bytes()[(1 << 20) - 1], std::byte{0});
  EXPECT_EQ(kind_of([] { check_mapped_files(); }), ErrorKind::device);
}

TEST_F(FileTest, external_data_stays_under_the_models_folder) {
  fs::create_directories(folder / "blobs");
  fs::create_directories(folder / "snapshots/main/sub");
  write_file(at("blobs/aa"), "model");
  write_file(at("blobs/bb"), "data");
  write_file(at("secret"), "secret");
  fs::create_symlink("../../blobs/aa", folder / "snapshots/main/model.onnx");
  fs::create_symlink("../../blobs/bb", folder / "snapshots/main/model.data");
  fs::create_symlink("../../secret", folder / "snapshots/main/leak");
  write_file(at("snapshots/main/sub/w.bin"), "data");
  const std::string model = at("snapshots/main/model.onnx");
  EXPECT_EQ(resolve_beside(model, "model.data", "t"), at("blobs/bb"));
  EXPECT_EQ(resolve_beside(model, "sub/w.bin", "t"), at("snapshots/main/sub/w.bin"));
  for (const char* bad : {"leak", "../../secret", "/etc/passwd", "", "absent", "sub/../../../secret"})
    EXPECT_EQ(kind_of([&] { resolve_beside(model, bad, "t"); }), ErrorKind::invalid_file) << bad;
}

}  // namespace
}  // namespace bascule
