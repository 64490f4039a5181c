#pragma once
// Reads a shared object as a file, without loading it: its exported symbols and its arkit manifest. Used to describe
// refused files and to refuse a plugin of another ABI before any of its code can run. Every offset is checked against
// the file's size.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/manifest.h"

namespace arkit::plugins {

// A parsed view of bytes the caller keeps alive.
class ElfFile {
 public:
  // nullopt when `bytes` is no 64-bit little-endian ELF shared object with a readable dynamic symbol table.
  [[nodiscard]] static std::optional<ElfFile> parse(std::span<const uint8_t> bytes);

  // Names of defined global symbols, sorted; at most `limit`, each cut to 512 bytes.
  [[nodiscard]] std::vector<std::string> exported(size_t limit) const;

  // `arkit_manifest` or `arkit_backend_manifest` is among the exported symbols.
  [[nodiscard]] bool has_manifest() const noexcept { return manifest_address_ != 0 || backend_address_ != 0; }

  // Why the dynamic loader must not be given the file: segments that overlap, tables or relocations that lie or write
  // outside of it, two manifests. The loader itself checks none of that. Empty = nothing is wrong.
  [[nodiscard]] std::string refuse_layout() const;

  // The manifest as the dynamic loader would relocate it; nullopt when absent or not stored in the usual way.
  [[nodiscard]] std::optional<ManifestView> manifest() const;

 private:
  struct Segment {
    uint64_t address = 0, offset = 0, size = 0;  // size in the file
    uint64_t memory = 0;                         // size when loaded
    bool writable = false;
  };
  template <typename T>
  [[nodiscard]] std::optional<T> at_offset(uint64_t offset) const;
  template <typename T>
  [[nodiscard]] std::optional<T> at_address(uint64_t address) const;
  [[nodiscard]] std::optional<uint64_t> offset_of(uint64_t address) const;
  [[nodiscard]] uint64_t pointer_at(uint64_t address) const;
  [[nodiscard]] std::string text_at(uint64_t pointer_address, std::string_view field, ManifestView& view) const;
  [[nodiscard]] std::string_view name_of(uint64_t string_index) const;
  [[nodiscard]] bool in_memory(uint64_t address, uint64_t size, bool writable = false) const;
  [[nodiscard]] std::string refuse_segments() const;
  [[nodiscard]] std::string refuse_relocations(uint64_t address, uint64_t size) const;
  [[nodiscard]] std::string refuse_symbols(uint64_t versions, uint64_t needed, uint64_t needed_count,
                                           uint64_t string_size) const;
  [[nodiscard]] std::string refuse_relative(uint64_t address, uint64_t size) const;
  [[nodiscard]] std::optional<ManifestView> backend_manifest() const;
  bool read_segments();
  bool read_sections();
  void find_manifests();

  std::span<const uint8_t> bytes_;
  std::vector<Segment> segments_;                           // PT_LOAD
  uint64_t symbols_offset_ = 0, symbol_count_ = 0;          // .dynsym
  uint64_t strings_offset_ = 0, strings_size_ = 0;          // .dynstr
  std::vector<std::pair<uint64_t, uint64_t>> relocations_;  // address -> addend of relative relocations, sorted
  std::vector<Segment> parts_;                              // of segments: what the loader protects, unwinds by, copies
  uint64_t dynamic_address_ = 0, dynamic_size_ = 0;         // PT_DYNAMIC
  uint64_t manifest_address_ = 0, backend_address_ = 0;
};

// A whole file mapped read-only; empty() when it cannot be mapped.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  [[nodiscard]] std::span<const uint8_t> bytes() const noexcept { return bytes_; }

 private:
  std::span<const uint8_t> bytes_;
};

}  // namespace arkit::plugins
