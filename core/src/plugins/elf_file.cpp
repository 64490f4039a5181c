#include "plugins/elf_file.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace arkit::plugins {
namespace {

constexpr uint64_t kMaxSections = 4096;
constexpr uint64_t kMaxSegments = 256;
constexpr uint64_t kMaxRelocations = uint64_t{1} << 22;

#if defined(__x86_64__)
constexpr uint32_t kRelativeRelocation = R_X86_64_RELATIVE;
#elif defined(__aarch64__)
constexpr uint32_t kRelativeRelocation = R_AARCH64_RELATIVE;
#else
constexpr uint32_t kRelativeRelocation = UINT32_MAX;  // manifests are then read after loading only
#endif

}  // namespace

template <typename T>
std::optional<T> ElfFile::at_offset(uint64_t offset) const {
  if (offset > bytes_.size() || bytes_.size() - offset < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, bytes_.data() + offset, sizeof(T));
  return value;
}

std::optional<uint64_t> ElfFile::offset_of(uint64_t address) const {
  for (const Segment& segment : segments_)
    if (address >= segment.address && address - segment.address < segment.size)
      return segment.offset + (address - segment.address);
  return std::nullopt;
}

template <typename T>
std::optional<T> ElfFile::at_address(uint64_t address) const {
  const std::optional<uint64_t> offset = offset_of(address);
  return offset ? at_offset<T>(*offset) : std::nullopt;
}

std::optional<ElfFile> ElfFile::parse(std::span<const uint8_t> bytes) {
  ElfFile file;
  file.bytes_ = bytes;
  const auto header = file.at_offset<Elf64_Ehdr>(0);
  if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_ident[EI_CLASS] != ELFCLASS64 ||
      header->e_ident[EI_DATA] != ELFDATA2LSB || header->e_type != ET_DYN)
    return std::nullopt;
  if (!file.read_segments() || !file.read_sections()) return std::nullopt;
  file.find_manifest();
  return file;
}

bool ElfFile::read_segments() {
  const auto header = *at_offset<Elf64_Ehdr>(0);
  if (header.e_phnum > kMaxSegments || header.e_phoff > bytes_.size()) return false;
  for (uint64_t i = 0; i < header.e_phnum; ++i) {
    const auto segment = at_offset<Elf64_Phdr>(header.e_phoff + i * sizeof(Elf64_Phdr));
    if (!segment) return false;
    if (segment->p_type != PT_LOAD) continue;
    if (segment->p_offset > bytes_.size() || segment->p_filesz > bytes_.size() - segment->p_offset) return false;
    segments_.push_back({segment->p_vaddr, segment->p_offset, segment->p_filesz});
  }
  return true;
}

// Finds .dynsym, its string table and the relative relocations.
bool ElfFile::read_sections() {
  const auto header = *at_offset<Elf64_Ehdr>(0);
  if (header.e_shnum > kMaxSections || header.e_shoff > bytes_.size()) return false;
  std::vector<Elf64_Shdr> sections;
  for (uint64_t i = 0; i < header.e_shnum; ++i) {
    const auto section = at_offset<Elf64_Shdr>(header.e_shoff + i * sizeof(Elf64_Shdr));
    if (!section) return false;
    const bool in_file = section->sh_type != SHT_NOBITS;
    if (in_file && (section->sh_offset > bytes_.size() || section->sh_size > bytes_.size() - section->sh_offset))
      return false;
    sections.push_back(*section);
  }
  for (const Elf64_Shdr& section : sections) {
    if (section.sh_type == SHT_DYNSYM && section.sh_link < sections.size()) {
      symbols_offset_ = section.sh_offset;
      symbol_count_ = section.sh_size / sizeof(Elf64_Sym);
      if (sections[section.sh_link].sh_type != SHT_STRTAB) return false;
      strings_offset_ = sections[section.sh_link].sh_offset;
      strings_size_ = sections[section.sh_link].sh_size;
    }
    if (section.sh_type != SHT_RELA || (section.sh_flags & SHF_ALLOC) == 0) continue;
    const uint64_t count = std::min(section.sh_size / sizeof(Elf64_Rela), kMaxRelocations);
    for (uint64_t i = 0; i < count; ++i) {
      const auto relocation = *at_offset<Elf64_Rela>(section.sh_offset + i * sizeof(Elf64_Rela));
      if (ELF64_R_TYPE(relocation.r_info) == kRelativeRelocation)
        relocations_.emplace_back(relocation.r_offset, static_cast<uint64_t>(relocation.r_addend));
    }
  }
  std::sort(relocations_.begin(), relocations_.end());
  return symbol_count_ > 0;
}

std::string_view ElfFile::name_of(uint64_t string_index) const {
  if (string_index >= strings_size_) return {};
  const char* text = reinterpret_cast<const char*>(bytes_.data() + strings_offset_ + string_index);
  return {text, strnlen(text, std::min<uint64_t>(strings_size_ - string_index, 512))};
}

std::vector<std::string> ElfFile::exported(size_t limit) const {
  std::vector<std::string> names;
  for (uint64_t i = 0; i < symbol_count_ && names.size() < limit; ++i) {
    const auto symbol = *at_offset<Elf64_Sym>(symbols_offset_ + i * sizeof(Elf64_Sym));
    const bool global = ELF64_ST_BIND(symbol.st_info) != STB_LOCAL;
    if (global && symbol.st_shndx != SHN_UNDEF && !name_of(symbol.st_name).empty())
      names.emplace_back(name_of(symbol.st_name));
  }
  std::sort(names.begin(), names.end());
  return names;
}

void ElfFile::find_manifest() {
  for (uint64_t i = 0; i < symbol_count_; ++i) {
    const auto symbol = *at_offset<Elf64_Sym>(symbols_offset_ + i * sizeof(Elf64_Sym));
    if (symbol.st_shndx != SHN_UNDEF && name_of(symbol.st_name) == "arkit_manifest") {
      manifest_address_ = symbol.st_value;
      return;
    }
  }
}

// The value a pointer will have: the addend of its relative relocation, or what is stored in place (packed relative
// relocations keep the addend there). 0 = null or unknown.
uint64_t ElfFile::pointer_at(uint64_t address) const {
  const auto it = std::lower_bound(relocations_.begin(), relocations_.end(), std::pair<uint64_t, uint64_t>{address, 0});
  if (it != relocations_.end() && it->first == address) return it->second;
  return at_address<uint64_t>(address).value_or(0);
}

std::string ElfFile::text_at(uint64_t pointer_address, std::string_view field, ManifestView& view) const {
  const uint64_t address = pointer_at(pointer_address);
  const std::optional<uint64_t> offset = address == 0 ? std::nullopt : offset_of(address);
  if (offset) {
    const size_t room = std::min<size_t>(bytes_.size() - *offset, kMaxText + 1);
    const char* text = reinterpret_cast<const char*>(bytes_.data() + *offset);
    const size_t length = strnlen(text, room);
    if (length < room) return {text, length};
  }
  if (view.unreadable.empty()) view.unreadable = field;
  return {};
}

std::optional<ManifestView> ElfFile::manifest() const {
  const auto raw = has_manifest() ? at_address<ArkitManifest>(manifest_address_) : std::nullopt;
  if (!raw) return std::nullopt;
  ManifestView view;
  view.magic = raw->magic;
  if (view.magic != kManifestMagic) return view;
  view.struct_size = raw->struct_size;
  if (view.struct_size < sizeof(ArkitManifest)) return view;
  view.plugin_api = raw->plugin_api;
  view.component_count = raw->component_count;
  const auto text = [&](size_t field_offset, std::string_view field) {
    return text_at(manifest_address_ + field_offset, field, view);
  };
  view.abi_tag = text(offsetof(ArkitManifest, abi_tag), "abi_tag");
  view.id = text(offsetof(ArkitManifest, id), "id");
  view.version = text(offsetof(ArkitManifest, version), "version");
  view.vendor = text(offsetof(ArkitManifest, vendor), "vendor");
  view.license = text(offsetof(ArkitManifest, license), "license");
  view.url = text(offsetof(ArkitManifest, url), "url");
  if (view.plugin_api != ARKIT_PLUGIN_API || view.component_count > kMaxComponents) return view;
  const uint64_t components = pointer_at(manifest_address_ + offsetof(ArkitManifest, components));
  for (uint64_t i = 0; i < view.component_count; ++i) {
    const uint64_t component = components + i * sizeof(ArkitComponent);
    const auto kind = at_address<uint32_t>(component);
    if (!kind) {
      view.unreadable = "components";
      return view;
    }
    view.components.push_back({*kind, text_at(component + offsetof(ArkitComponent, name), "component name", view),
                               text_at(component + offsetof(ArkitComponent, summary), "component summary", view),
                               /*has_functions=*/true});  // symbolic relocations may fill them: known after loading
  }
  return view;
}

MappedFile::MappedFile(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return;
  struct stat info {};
  if (::fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_size > 0) {
    void* address = ::mmap(nullptr, static_cast<size_t>(info.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
    if (address != MAP_FAILED) bytes_ = {static_cast<const uint8_t*>(address), static_cast<size_t>(info.st_size)};
  }
  ::close(fd);
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<uint8_t*>(bytes_.data()), bytes_.size());
}

}  // namespace arkit::plugins
