// The file reader against real and damaged shared objects.
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <set>

#include <elf.h>

#include <gtest/gtest.h>

#include "plugins/elf_file.h"

namespace {

std::vector<uint8_t> good_bytes() {
  std::ifstream file(ARKIT_FIXTURES "/good/libarkit_reader_good.so", std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Everything the reader offers, so that a wrong offset shows.
size_t use_all(std::span<const uint8_t> bytes) {
  const auto elf = arkit::plugins::ElfFile::parse(bytes);
  if (!elf) return 0;
  size_t used = elf->exported(1000).size();
  if (const auto manifest = elf->manifest()) {
    used += arkit::plugins::refuse_versions(*manifest).size() + arkit::plugins::refuse_contents(*manifest).size();
    arkit::PluginEntry entry;
    arkit::plugins::describe(*manifest, entry);
    used += entry.components.size();
  }
  return used;
}

}  // namespace

TEST(ElfFile, ReadsTheManifestAsTheLoaderWould) {
  const std::vector<uint8_t> bytes = good_bytes();
  const auto elf = arkit::plugins::ElfFile::parse(bytes);
  ASSERT_TRUE(elf);
  EXPECT_TRUE(elf->has_manifest());
  const auto manifest = elf->manifest();
  ASSERT_TRUE(manifest);
  EXPECT_EQ(manifest->abi_tag, ARKIT_ABI_TAG);
  EXPECT_EQ(manifest->id, "org.example.good");
  EXPECT_EQ(manifest->unreadable, "");
  ASSERT_EQ(manifest->components.size(), 1U);
  EXPECT_EQ(manifest->components[0].name, "sample");
  EXPECT_EQ(manifest->components[0].summary, "reads nothing");
  EXPECT_EQ(arkit::plugins::refuse_versions(*manifest), "");
  EXPECT_EQ(arkit::plugins::refuse_contents(*manifest), "");
}

// The loader believes these: it would write, or take write access away, far outside of the file.
TEST(ElfFile, LayoutsTheLoaderWouldBelieveAreRefused) {
  const std::vector<uint8_t> good = good_bytes();
  const auto refusal = [&](const std::vector<uint8_t>& bytes) {
    const auto elf = arkit::plugins::ElfFile::parse(bytes);
    return elf ? elf->refuse_layout() : std::string("no shared object");
  };
  EXPECT_EQ(refusal(good), "");
  Elf64_Ehdr header;
  std::memcpy(&header, good.data(), sizeof(header));
  std::set<uint32_t> seen;
  for (uint64_t i = 0; i < header.e_phnum; ++i) {
    const uint64_t at = header.e_phoff + i * sizeof(Elf64_Phdr);
    Elf64_Phdr segment;
    std::memcpy(&segment, good.data() + at, sizeof(segment));
    if (segment.p_type != PT_LOAD && segment.p_type != PT_GNU_RELRO && segment.p_type != PT_DYNAMIC) continue;
    seen.insert(segment.p_type);
    segment.p_memsz += uint64_t{1} << 41;
    std::vector<uint8_t> damaged = good;
    std::memcpy(damaged.data() + at, &segment, sizeof(segment));
    EXPECT_NE(refusal(damaged), "") << "segment " << i;
    segment.p_memsz = 8;
    segment.p_vaddr += 0x10000000;
    std::memcpy(damaged.data() + at, &segment, sizeof(segment));
    EXPECT_NE(refusal(damaged), "") << "segment " << i;
  }
  EXPECT_EQ(seen.size(), 3U);
  // Every relocation, sent elsewhere.
  Elf64_Shdr section;
  for (uint64_t i = 0; i < header.e_shnum; ++i) {
    std::memcpy(&section, good.data() + header.e_shoff + i * sizeof(section), sizeof(section));
    if (section.sh_type != SHT_RELA) continue;
    for (uint64_t r = 0; r < section.sh_size / sizeof(Elf64_Rela); ++r) {
      std::vector<uint8_t> damaged = good;
      damaged[section.sh_offset + r * sizeof(Elf64_Rela) + 4] = 0x7F;  // of r_offset
      EXPECT_NE(refusal(damaged), "") << "relocation " << r;
    }
  }
}

TEST(ElfFile, EveryTruncationIsHandled) {
  const std::vector<uint8_t> bytes = good_bytes();
  for (size_t size = 0; size < bytes.size(); size += 1 + size / 50) {
    const std::vector<uint8_t> cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
    // The section headers lie at the end, so a cut file is never a readable shared object.
    EXPECT_FALSE(arkit::plugins::ElfFile::parse(cut)) << size;
  }
}

TEST(ElfFile, DamagedFilesNeverReadOutside) {
  const std::vector<uint8_t> bytes = good_bytes();
  std::mt19937 random(7);  // fixed: a failure must repeat
  size_t parsed = 0;
  for (int round = 0; round < 3000; ++round) {
    std::vector<uint8_t> damaged = bytes;
    // Headers and section headers are where offsets live; hit those most.
    for (int flips = 0; flips < 8; ++flips) {
      const size_t window = round % 2 == 0 ? std::min<size_t>(bytes.size(), 0x400) : bytes.size();
      const size_t at =
          round % 3 == 0 ? bytes.size() - 1 - random() % std::min<size_t>(bytes.size(), 0x900) : random() % window;
      damaged[at] = static_cast<uint8_t>(random());
    }
    parsed += use_all(damaged) > 0 ? 1 : 0;
  }
  EXPECT_GT(parsed, 100U);  // else the damage only ever hits the first check
}
