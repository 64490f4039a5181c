#include "plugins/elf_file.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <map>

#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <arkit/str.h>

namespace arkit::plugins {
namespace {

constexpr uint64_t kMaxSections = 4096;
constexpr uint64_t kMaxSegments = 256;
constexpr uint64_t kMaxRelocations = uint64_t{1} << 22;

#if defined(__x86_64__)
constexpr uint32_t kRelativeRelocation = R_X86_64_RELATIVE, kAbsoluteRelocation = R_X86_64_64;
#elif defined(__aarch64__)
constexpr uint32_t kRelativeRelocation = R_AARCH64_RELATIVE, kAbsoluteRelocation = R_AARCH64_ABS64;
#else
#error "which relocations hold a plugin's pointers on this processor?"
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
  file.find_manifests();
  return file;
}

bool ElfFile::read_segments() {
  const auto header = *at_offset<Elf64_Ehdr>(0);
  if (header.e_phnum > kMaxSegments || header.e_phoff > bytes_.size()) return false;
  for (uint64_t i = 0; i < header.e_phnum; ++i) {
    const auto segment = at_offset<Elf64_Phdr>(header.e_phoff + i * sizeof(Elf64_Phdr));
    if (!segment) return false;
    if (segment->p_type == PT_DYNAMIC || segment->p_type == PT_GNU_RELRO || segment->p_type == PT_GNU_EH_FRAME ||
        segment->p_type == PT_NOTE)
      parts_.push_back({segment->p_vaddr, segment->p_offset, segment->p_filesz, segment->p_memsz});
    if (segment->p_type == PT_TLS)  // its zeros have no place in the file's memory
      parts_.push_back({segment->p_vaddr, segment->p_offset, segment->p_filesz, segment->p_filesz});
    if (segment->p_type == PT_DYNAMIC) {
      dynamic_address_ = segment->p_vaddr;
      dynamic_size_ = segment->p_filesz;
    }
    if (segment->p_type != PT_LOAD) continue;
    if (segment->p_offset > bytes_.size() || segment->p_filesz > bytes_.size() - segment->p_offset) return false;
    segments_.push_back(
        {segment->p_vaddr, segment->p_offset, segment->p_filesz, segment->p_memsz, (segment->p_flags & PF_W) != 0});
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
  }
  for (const Elf64_Shdr& section : sections) {
    if (section.sh_type != SHT_RELA || (section.sh_flags & SHF_ALLOC) == 0) continue;
    const uint64_t count = std::min(section.sh_size / sizeof(Elf64_Rela), kMaxRelocations);
    for (uint64_t i = 0; i < count; ++i) {
      const auto relocation = *at_offset<Elf64_Rela>(section.sh_offset + i * sizeof(Elf64_Rela));
      const auto addend = static_cast<uint64_t>(relocation.r_addend);
      if (ELF64_R_TYPE(relocation.r_info) == kRelativeRelocation)
        relocations_.emplace_back(relocation.r_offset, addend);
      if (ELF64_R_TYPE(relocation.r_info) != kAbsoluteRelocation) continue;
      const uint64_t index = ELF64_R_SYM(relocation.r_info);
      if (index >= symbol_count_) continue;
      const auto symbol = *at_offset<Elf64_Sym>(symbols_offset_ + index * sizeof(Elf64_Sym));
      if (symbol.st_shndx != SHN_UNDEF) relocations_.emplace_back(relocation.r_offset, symbol.st_value + addend);
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

void ElfFile::find_manifests() {
  for (uint64_t i = 0; i < symbol_count_; ++i) {
    const auto symbol = *at_offset<Elf64_Sym>(symbols_offset_ + i * sizeof(Elf64_Sym));
    if (symbol.st_shndx == SHN_UNDEF) continue;
    const std::string_view name = name_of(symbol.st_name);
    if (name == "arkit_manifest") manifest_address_ = symbol.st_value;
    if (name == "arkit_backend_manifest") backend_address_ = symbol.st_value;
  }
}

bool ElfFile::in_memory(uint64_t address, uint64_t size, bool writable) const {
  return std::any_of(segments_.begin(), segments_.end(), [&](const Segment& segment) {
    return address >= segment.address && address - segment.address <= segment.memory &&
           segment.memory - (address - segment.address) >= size && (segment.writable || !writable);
  });
}

// The loader reserves the span from the first to the last segment and maps each at its place in it: a segment that
// comes earlier than its predecessor is mapped over whatever else the process has there.
std::string ElfFile::refuse_segments() const {
  constexpr uint64_t kMaxAddress = uint64_t{1} << 40;
  uint64_t end = 0;
  for (const Segment& segment : segments_) {
    if (segment.address < end || segment.address > kMaxAddress || segment.memory > kMaxAddress ||
        segment.memory < segment.size)
      return "its segments overlap or lie outside any file's range";
    end = segment.address + segment.memory;
  }
  // The loader takes write access from all pages of the read-only-after-relocation part, wherever it says they are.
  constexpr uint64_t kPage = 4096;
  for (const Segment& part : parts_)
    if (!std::any_of(segments_.begin(), segments_.end(), [&](const Segment& segment) {
          const uint64_t memory = (segment.address + segment.memory + kPage - 1) / kPage * kPage - segment.address;
          return part.address >= segment.address && part.address - segment.address <= memory &&
                 memory - (part.address - segment.address) >= part.memory;
        }))
      return "a part of its segments lies outside of them";
  return segments_.empty() ? "it has no segments" : "";
}

std::string ElfFile::refuse_relocations(uint64_t address, uint64_t size) const {
  for (uint64_t i = 0; i < size / sizeof(Elf64_Rela); ++i) {
    const auto relocation = at_address<Elf64_Rela>(address + i * sizeof(Elf64_Rela));
    if (!relocation) return "its relocations lie outside the file";
    if (ELF64_R_TYPE(relocation->r_info) == 0) continue;  // none
    // RELRO pages are writable while the loader relocates, and their segment says so.
    if (!in_memory(relocation->r_offset, sizeof(uint64_t), /*writable=*/true))
      return "a relocation writes outside its data";
    if (ELF64_R_SYM(relocation->r_info) >= symbol_count_) return "a relocation names a symbol it does not have";
    if (ELF64_R_TYPE(relocation->r_info) == kRelativeRelocation &&
        !in_memory(static_cast<uint64_t>(relocation->r_addend), 0))
      return "a relocated pointer leads outside the file";
  }
  return {};
}

// A symbol's version is an index into a table the loader makes from the versions the file needs, and it looks there
// without asking how long the table is. arkit's plugins define no versions of their own.
std::string ElfFile::refuse_symbols(uint64_t versions, uint64_t needed, uint64_t needed_count,
                                    uint64_t string_size) const {
  constexpr uint16_t kIndex = 0x7FFF;
  uint16_t last = 1;
  for (uint64_t i = 0; i < needed_count; ++i) {
    const auto file = at_address<Elf64_Verneed>(needed);
    if (!file || file->vn_file >= string_size) return "a version it needs lies outside the file";
    uint64_t at = needed + file->vn_aux;
    for (uint16_t v = 0; v < file->vn_cnt; ++v) {
      const auto version = at_address<Elf64_Vernaux>(at);
      if (!version || version->vna_name >= string_size) return "a version it needs lies outside the file";
      last = std::max<uint16_t>(last, version->vna_other & kIndex);
      at += version->vna_next;
    }
    needed += file->vn_next;
  }
  for (uint64_t i = 0; i < symbol_count_; ++i) {
    const auto symbol = *at_offset<Elf64_Sym>(symbols_offset_ + i * sizeof(Elf64_Sym));
    if (symbol.st_name >= strings_size_) return "a symbol's name lies outside the file";
    if (versions == 0) continue;
    const auto version = at_address<uint16_t>(versions + i * sizeof(uint16_t));
    if (!version || (*version & kIndex) > last) return "a symbol has a version that does not exist";
  }
  return {};
}

// Packed relative relocations (DT_RELR): an even word is an address, an odd one marks which of the 63 words behind the
// last address are pointers too.
std::string ElfFile::refuse_relative(uint64_t address, uint64_t size) const {
  constexpr uint64_t kWord = sizeof(uint64_t), kMarks = 63;
  uint64_t next = 0;
  for (uint64_t i = 0; i < size / kWord; ++i) {
    const auto word = at_address<uint64_t>(address + i * kWord);
    if (!word) return "its relocations lie outside the file";
    const uint64_t first = (*word & 1) == 0 ? *word : next;
    for (uint64_t mark = 0; mark < ((*word & 1) == 0 ? 1 : kMarks); ++mark) {
      if ((*word & 1) != 0 && ((*word >> (mark + 1)) & 1) == 0) continue;
      if (!in_memory(first + mark * kWord, kWord, /*writable=*/true)) return "a relocation writes outside its data";
      if (!in_memory(pointer_at(first + mark * kWord), 0)) return "a relocated pointer leads outside the file";
    }
    next = first + ((*word & 1) == 0 ? 1 : kMarks) * kWord;
  }
  return {};
}

std::string ElfFile::refuse_layout() const {
  if (manifest_address_ != 0 && backend_address_ != 0)
    return "has both `arkit_manifest` and `arkit_backend_manifest`; put the backend into a library of its own";
  if (std::string why = refuse_segments(); !why.empty()) return str("damaged: ", why, "; copy or build it again");
  std::map<int64_t, uint64_t> values;
  for (uint64_t i = 0; i < std::min<uint64_t>(dynamic_size_ / sizeof(Elf64_Dyn), kMaxSections); ++i) {
    const auto entry = at_address<Elf64_Dyn>(dynamic_address_ + i * sizeof(Elf64_Dyn));
    if (!entry) return "damaged: its dynamic section lies outside the file; copy or build it again";
    if (entry->d_tag == DT_NULL) break;
    values.emplace(entry->d_tag, entry->d_un.d_val);
  }
  const auto value = [&](int64_t tag) { return values.contains(tag) ? values.at(tag) : 0; };
  for (const int64_t tag : {DT_SYMTAB, DT_STRTAB, DT_GNU_HASH, DT_HASH, DT_INIT, DT_FINI, DT_INIT_ARRAY, DT_FINI_ARRAY,
                            DT_PLTGOT, DT_VERSYM, DT_VERNEED, DT_VERDEF})
    if (values.contains(tag) && !in_memory(value(tag), sizeof(uint32_t)))
      return "damaged: a table of its dynamic section lies outside the file; copy or build it again";
  for (const auto& [table, size] :
       {std::pair{DT_INIT_ARRAY, DT_INIT_ARRAYSZ}, {DT_FINI_ARRAY, DT_FINI_ARRAYSZ}, {DT_STRTAB, DT_STRSZ}})
    if (values.contains(table) && !in_memory(value(table), value(size)))
      return "damaged: a table of its dynamic section lies outside the file; copy or build it again";
  std::string why = values.contains(DT_RELA) ? refuse_relocations(value(DT_RELA), value(DT_RELASZ)) : "";
  if (why.empty() && values.contains(DT_JMPREL)) why = refuse_relocations(value(DT_JMPREL), value(DT_PLTRELSZ));
  constexpr int64_t kRelr = 36, kRelrSize = 35;  // DT_RELR, DT_RELRSZ, newer than some <elf.h>
  if (why.empty() && values.contains(kRelr)) why = refuse_relative(value(kRelr), value(kRelrSize));
  if (why.empty() && !values.contains(DT_VERDEF))
    why = refuse_symbols(value(DT_VERSYM), value(DT_VERNEED), value(DT_VERNEEDNUM), value(DT_STRSZ));
  return why.empty() ? why : str("damaged: ", why, "; copy or build it again");
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

// As copy_manifest reads it once the library is loaded.
std::optional<ManifestView> ElfFile::backend_manifest() const {
  const auto number = [&](size_t field_offset) { return at_address<uint32_t>(backend_address_ + field_offset); };
  const auto size = at_address<uint64_t>(backend_address_);
  const auto magic = number(offsetof(ArkitBackendManifest, magic));
  if (!size || !magic) return std::nullopt;
  ManifestView view{.backend = true, .struct_size = *size};
  if (view.struct_size < ARKIT_BACKEND_MANIFEST_SIZE_1_0) return view;
  view.magic = *magic;
  if (view.magic != ARKIT_BACKEND_MAGIC) return view;
  view.door_major = number(offsetof(ArkitBackendManifest, major)).value_or(0);
  view.door_minor = number(offsetof(ArkitBackendManifest, minor)).value_or(0);
  if (view.door_major != ARKIT_BACKEND_MAJOR) return view;
  const auto text = [&](size_t field_offset, std::string_view field) {
    return text_at(backend_address_ + field_offset, field, view);
  };
  view.id = text(offsetof(ArkitBackendManifest, id), "id");
  view.version = text(offsetof(ArkitBackendManifest, version), "version");
  view.vendor = text(offsetof(ArkitBackendManifest, vendor), "vendor");
  view.license = text(offsetof(ArkitBackendManifest, license), "license");
  view.url = text(offsetof(ArkitBackendManifest, url), "url");
  view.component_count = 1;
  view.components.push_back({static_cast<uint32_t>(Kind::backend), text(offsetof(ArkitBackendManifest, name), "name"),
                             text(offsetof(ArkitBackendManifest, summary), "summary"),
                             /*has_functions=*/true});  // known after loading
  return view;
}

std::optional<ManifestView> ElfFile::manifest() const {
  if (backend_address_ != 0) return backend_manifest();
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
