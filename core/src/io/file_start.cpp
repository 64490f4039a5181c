#include <arkit/file_start.h>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit {

void refuse_lfs_pointer(std::string_view content, std::string_view what) {
  if (!content.starts_with("version https://git-lfs.github.com/spec/")) return;
  throw_input(
      str(what, ": is a Git LFS pointer, the note that stands for a file which was not fetched; run 'git lfs ",
          "install' and 'git lfs pull' in the folder it was cloned to, or name the model by its hub id, 'org/name'"));
}

}  // namespace arkit
