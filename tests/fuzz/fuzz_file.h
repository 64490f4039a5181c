#pragma once
// A file in the folder of this process, for parsers that read files.

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include <unistd.h>

namespace fuzz {

class File {
 public:
  File(const char* name, std::string_view bytes) : path_(folder() / name) {
    std::ofstream(path_, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  ~File() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  struct Folder {
    Folder() : path(std::filesystem::temp_directory_path() / ("arkit-fuzz-" + std::to_string(getpid()))) {
      std::filesystem::create_directories(path);
    }
    ~Folder() {
      std::error_code ignored;
      std::filesystem::remove_all(path, ignored);
    }
    std::filesystem::path path;
  };
  static const std::filesystem::path& folder() {
    static const Folder folder;
    return folder.path;
  }
  std::filesystem::path path_;
};

}  // namespace fuzz
