#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"

using namespace knet;
namespace fs = std::filesystem;

namespace {

struct Folder {
  Folder() {
    std::string name = (fs::temp_directory_path() / "knet-file-XXXXXX").native();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~Folder() { fs::remove_all(path); }
  fs::path operator/(std::string_view name) const { return path / name; }
  size_t entries() const { return static_cast<size_t>(std::distance(fs::directory_iterator(path), {})); }
  fs::path path;
};

unsigned mode_of(const fs::path& path) {
  struct stat info {};
  REQUIRE(::stat(path.c_str(), &info) == 0);
  return info.st_mode & 07777;
}

std::string message_of(auto&& action) {
  try {
    action();
  } catch (const Error& error) {
    CHECK(error.kind == ErrorKind::kernel);
    return error.text;
  }
  return "no error";
}

}  // namespace

TEST_CASE("reading: whole, absent, too long, not a file") {
  const Folder folder;
  CHECK_FALSE(read_file(folder / "absent"));
  CHECK_FALSE(read_file(folder / "absent/deeper"));
  const std::string bytes = std::string(10'000, 'x') + '\0' + "end";
  write_file(folder / "f", bytes);
  CHECK_FALSE(read_file(folder / "f/under-a-file"));
  CHECK(read_file(folder / "f") == bytes);
  CHECK(read_file(folder / "f", bytes.size()) == bytes);
  const std::string text = message_of([&] { read_file(folder / "f", bytes.size() - 1); });
  CHECK(text == (folder / "f").native() + ": more than 10003 bytes");
  CHECK(message_of([&] { read_file(folder.path); }).find(folder.path.native()) != std::string::npos);
  write_file(folder / "empty", "");
  CHECK(read_file(folder / "empty") == "");
  CHECK(read_file(folder / "empty", 0) == "");
  CHECK(read_file("/proc/self/status")->starts_with("Name:"));  // st_size is 0 there
}

TEST_CASE("a stream is read to its end, up to the limit") {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const Fd reader(ends[0]);
  std::thread writer([fd = ends[1]] {
    for (const char* piece : {"one ", "two ", "three"}) {
      REQUIRE(::write(fd, piece, std::char_traits<char>::length(piece)) > 0);
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    ::close(fd);
  });
  CHECK(read_all(reader.get(), "stdin", 13) == "one two three");
  writer.join();
  const Fd zero(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
  CHECK(message_of([&] { read_all(zero.get(), "stdin", 100'000); }) == "stdin: more than 100000 bytes");
}

TEST_CASE("a write makes its directory, sets the mode despite umask, and leaves nothing beside") {
  const Folder folder;
  const mode_t before = ::umask(077);
  CHECK(write_file(folder / "f", "a", 0644));
  CHECK(write_file(folder / "sub/deep/f", "a", 0600));
  ::umask(before);
  CHECK(mode_of(folder / "f") == 0644);
  CHECK(mode_of(folder / "sub/deep/f") == 0600);
  CHECK(mode_of(folder / "sub/deep") == 0755);
  CHECK(folder.entries() == 2);
}

TEST_CASE("equal bytes are not written again; others replace the file by another") {
  const Folder folder;
  const fs::path path = folder / "f";
  write_file(path, "same");
  struct stat first {
  }, second{}, third{};
  REQUIRE(::stat(path.c_str(), &first) == 0);
  CHECK_FALSE(write_file(path, "same"));
  REQUIRE(::stat(path.c_str(), &second) == 0);
  CHECK(first.st_ino == second.st_ino);
  const Fd old(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  CHECK(write_file(path, "diff"));  // the same size
  CHECK(write_file(path, "longer text", 0644, false));
  REQUIRE(::stat(path.c_str(), &third) == 0);
  CHECK(read_all(old.get(), "old") == "same");  // who had it open still reads a whole file
  CHECK(read_file(path) == "longer text");
  CHECK(folder.entries() == 1);
}

TEST_CASE("readers never see a torn file") {
  const Folder folder;
  const fs::path path = folder / "f";
  const std::string a(50'000, 'a'), b(70'000, 'b');
  write_file(path, a, 0644, false);
  std::atomic<bool> done = false;
  std::thread writer([&] {
    for (int i = 0; i < 200; ++i) write_file(path, i % 2 == 0 ? b : a, 0644, false);
    done = true;
  });
  size_t torn = 0;
  while (!done) {
    const auto seen = read_file(path);
    if (!seen || (*seen != a && *seen != b)) ++torn;
  }
  writer.join();
  CHECK(torn == 0);
}

TEST_CASE("a write that fails names the path and leaves no rubbish") {
  const Folder folder;
  fs::create_directories(folder / "d");
  const std::string text = message_of([&] { write_file(folder / "d", "x"); });
  CHECK(text.starts_with("replace " + (folder / "d").native()));
  CHECK(folder.entries() == 1);
  write_file(folder / "f", "x");
  CHECK(message_of([&] { write_file(folder / "f/g", "x"); }).find("Not a directory") != std::string::npos);
}

TEST_CASE("of many creators one wins and its bytes stay") {
  const Folder folder;
  const fs::path path = folder / "sub/f";
  std::atomic<int> won = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      if (create_file(path, std::string(1000, static_cast<char>('a' + i)), 0600, false)) ++won;
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(won == 1);
  const std::string bytes = *read_file(path);
  CHECK(bytes == std::string(1000, bytes[0]));
  CHECK(mode_of(path) == 0600);
  CHECK_FALSE(create_file(path, "later"));
  CHECK(read_file(path) == bytes);
  CHECK(std::distance(fs::directory_iterator(path.parent_path()), {}) == 1);
  fs::create_symlink("nowhere", folder / "dangling");
  CHECK_FALSE(create_file(folder / "dangling", "x"));
  CHECK_FALSE(fs::exists(folder / "nowhere"));
}

TEST_CASE("remove says whether it was there") {
  const Folder folder;
  write_file(folder / "f", "x");
  CHECK(remove_file(folder / "f"));
  CHECK_FALSE(remove_file(folder / "f"));
  CHECK_FALSE(remove_file(folder / "no/such"));
  CHECK(message_of([&] { remove_file(folder.path); }).starts_with("remove "));
}

TEST_CASE("directories: made with their mode, kept if there, refused over a file") {
  const Folder folder;
  make_directories(folder / "a/b/c", 0700);
  CHECK(mode_of(folder / "a/b") == 0700);
  make_directories(folder / "a/b", 0755);
  CHECK(mode_of(folder / "a/b") == 0700);
  make_directories(folder / "t/u/");
  CHECK(fs::is_directory(folder / "t/u"));
  write_file(folder / "f", "x");
  CHECK(message_of([&] { make_directories(folder / "f"); }).find("Not a directory") != std::string::npos);
}

TEST_CASE("a lock excludes, times out by name, and is free once closed") {
  const Folder folder;
  const fs::path path = folder / "run/lock";
  Fd held = lock_file(path);
  REQUIRE(held);
  CHECK((::fcntl(held.get(), F_GETFD) & FD_CLOEXEC) != 0);
  const std::string text = message_of([&] { lock_file(path, 20); });
  CHECK(text == "lock " + path.native() + ": another process has held it for 20 ms");
  held.reset();
  CHECK(lock_file(path, 0));
}

TEST_CASE("a waiter gets the lock of the new file when the holder removes it") {
  const Folder folder;
  const fs::path path = folder / "lock";
  Fd held = lock_file(path);
  Fd got;
  std::thread waiter([&] { got = lock_file(path, 5000); });
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  remove_file(path);
  held.reset();
  waiter.join();
  REQUIRE(got);
  CHECK(message_of([&] { lock_file(path, 0); }).starts_with("lock "));  // it is the named file that is locked
}
