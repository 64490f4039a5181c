#pragma once
// Every call by which a run changes the disk, counted; one of them fails or kills the process. The calls of this test
// program's libraries come here first (fault_points.cpp defines them), whoever makes them.

#include <cstdint>
#include <functional>
#include <set>
#include <string>

namespace arkit::testing {

enum class Fault { none, fail, kill };

// From now on calls are counted, and number `at` (from 1) fails with `error_number` or ends in SIGKILL.
void arm(Fault fault, int at, int error_number);
void disarm();
[[nodiscard]] bool fired();
[[nodiscard]] int calls();  // since arm()

// Which calls are counted. moves: renames of finished files, into their places and out of them. a_file: those that make
// a file whose name ends so.
enum class Counted { all, moves, a_file };
void count(Counted which, const std::string& name = {});

// Which call of which kind has to fail, and how.
struct FaultAt {
  Fault fault = Fault::none;
  int at = 0;  // from 1
  int error_number = 0;
  Counted counted = Counted::all;
};
// How a process of its own ends that does `run` with that fault.
enum class End { well, well_in_spite, with_an_error, killed };  // well: without having come to the fault
[[nodiscard]] End end_in_child(const FaultAt& fault, const std::function<void()>& run);

// RENAME_EXCHANGE is unknown to the file system.
void forbid_exchange(bool forbidden);
// Inodes that fsync() was called for since arm(), as they were when a folder or the first file was moved after that.
[[nodiscard]] const std::set<uint64_t>& synced_before_move();
// Folders cannot be locked, as on NFS.
void forbid_folder_locks(bool forbidden);
// link() is refused.
void forbid_links(bool forbidden);

}  // namespace arkit::testing
