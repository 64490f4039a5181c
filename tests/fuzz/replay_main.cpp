// Runs a fuzz target over every file of the folders (or files) given: what libFuzzer does with -runs=0, without
// libFuzzer. Fails when an input escapes the target (an exception or a crash) and when there is nothing to run.
// With --mutate SECONDS it then goes on with changed copies of them, without looking at coverage; the input that runs
// is kept in fuzz-input beside, so that one that ends the process can be looked at, and those that take over a second
// stay as fuzz-slow-N.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

std::vector<std::filesystem::path> inputs(int argc, char** argv) {
  std::vector<std::filesystem::path> files;
  for (int i = 1; i < argc; ++i) {
    const std::filesystem::path path(argv[i]);
    if (!std::filesystem::is_directory(path)) {
      files.push_back(path);
      continue;
    }
    for (const auto& entry : std::filesystem::recursive_directory_iterator(path))
      if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string read(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

void run(const std::string& bytes) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
}

using Random = std::mt19937_64;

size_t below(Random& random, size_t count) {
  return count == 0 ? 0 : static_cast<size_t>(random() % count);
}

// What lengths and counts of binary files are bent to, as it lies in a file: about a power of two, in 1 to 8 bytes.
std::string edge(Random& random) {
  const uint64_t number = (uint64_t{1} << below(random, 64)) - below(random, 3);
  return {reinterpret_cast<const char*>(&number), size_t{1} << below(random, 4)};
}

// One to eight changes: bytes, digits, parts cut, doubled, moved, or taken from another input.
std::string mutated(std::string bytes, const std::vector<std::string>& corpus, Random& random) {
  static const std::vector<std::string> kWords{
      "0",  "-1",      "9223372036854775807", "1e308", "null", "[]", "{}", "\"\"", "\xff", "{{", "}}", "[", "]", "true",
      "\n", "99999999"};
  for (size_t changes = 1 + below(random, 8); changes > 0; --changes) {
    const size_t at = below(random, bytes.size() + 1),
                 length = below(random, std::min<size_t>(64, bytes.size() - at) + 1);
    switch (below(random, 8)) {
      case 0:
        if (at < bytes.size()) bytes[at] = static_cast<char>(random());
        break;
      case 1:
        bytes.erase(at, length);
        break;
      case 2:
        bytes.insert(at, kWords[below(random, kWords.size())]);
        break;
      case 3:
        bytes.replace(at, length, kWords[below(random, kWords.size())]);
        break;
      case 4:
        bytes.insert(below(random, bytes.size() + 1), bytes.substr(at, length));
        break;
      case 5: {
        const std::string& other = corpus[below(random, corpus.size())];
        bytes.insert(at, other.substr(below(random, other.size() + 1), below(random, 200)));
        break;
      }
      case 6: {
        const std::string number = edge(random);
        if (at + number.size() <= bytes.size()) bytes.replace(at, number.size(), number);
        break;
      }
      default:
        if (at < bytes.size()) bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(random, 8)));
    }
  }
  return bytes;
}

void mutate(const std::vector<std::string>& corpus, double seconds) {
  using Clock = std::chrono::steady_clock;
  const auto since = [](Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  Random random(std::random_device{}());
  const Clock::time_point start = Clock::now();
  size_t runs = 0, slow = 0;
  const auto keep = [](const std::string& name, const std::string& bytes) {
    std::ofstream(name, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  };
  for (; since(start) < seconds; ++runs) {
    const std::string bytes = mutated(corpus[below(random, corpus.size())], corpus, random);
    keep("fuzz-input", bytes);
    const Clock::time_point one = Clock::now();
    run(bytes);
    if (since(one) > 1.0) keep("fuzz-slow-" + std::to_string(++slow), bytes);
  }
  std::filesystem::remove("fuzz-input");
  std::printf("%zu changed inputs run, %zu of them slow\n", runs, slow);
}

}  // namespace

int main(int argc, char** argv) {
  std::filesystem::path current;
  try {
    double seconds = 0.0;
    if (argc > 2 && std::string(argv[1]) == "--mutate") {
      seconds = std::stod(argv[2]);
      argv += 2;
      argc -= 2;
    }
    const auto files = inputs(argc, argv);
    if (files.empty()) {
      std::fprintf(stderr, "no input: give files or folders of a corpus\n");
      return 2;
    }
    std::vector<std::string> corpus;
    for (const auto& file : files) {
      current = file;
      corpus.push_back(read(file));
      run(corpus.back());
    }
    std::printf("%zu inputs replayed\n", files.size());
    current = "fuzz-input";
    if (seconds > 0.0) mutate(corpus, seconds);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: escaped the target: %s\n", current.c_str(), error.what());
    return 1;
  }
}
