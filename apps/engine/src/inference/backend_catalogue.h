#pragma once
// Backends that arkit knows of, whether their plugins are here or not, as data files (share/backends/README.md): which
// other names they answer to, what they would run, and how one gets them.

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/descriptors.h>
#include <arkit/export.h>

#include "quant/quant_filter.h"

namespace arkit {

struct KnownBackend {
  // Layers it says yes to, and how loudly.
  struct Runs : QuantFilter {
    int score = 0;
  };
  struct StandsIn {
    std::vector<std::string> names;  // of other programs
    std::string why;
  };
  std::string name;                  // of its plugin's backend, and what --backend takes
  std::string title;                 // "4-bit kernels for NVIDIA GPUs"
  std::vector<std::string> devices;  // kinds: "cpu", "cuda"
  std::vector<std::string> pci;      // hardware it is for, "vendor:class" in hexadecimal; of none = always here
  std::string missing;               // why there is no plugin; empty = there is one to be had
  std::string get, enable;           // steps: without the plugin, and with it but without a device; empty = none helps
  bool full_size = false;            // keeps layers dequantized
  std::vector<Runs> runs;
  std::vector<StandsIn> stands_in;
};

// `what` names the text in errors. Throws ErrorCode::input for anything that is no such file.
[[nodiscard]] ARKIT_INTERNAL KnownBackend parse_backend(std::string_view text, const std::string& what);

// The files that came with this installation, by name. Throws ErrorCode::input for a damaged one.
[[nodiscard]] ARKIT_INTERNAL const std::vector<KnownBackend>& known_backends();

// Null = none of that name.
[[nodiscard]] ARKIT_INTERNAL const KnownBackend* find_backend(const std::vector<KnownBackend>& known,
                                                              std::string_view name);

// What it would answer for a layer; 0 = no.
[[nodiscard]] ARKIT_INTERNAL int would_score(const KnownBackend& backend, const LayerQuant& quant);

// Is one of these in the machine? `bus` holds a folder a device with its files `vendor` and `class`.
[[nodiscard]] ARKIT_INTERNAL bool has_hardware(const std::vector<std::string>& pci,
                                               const std::filesystem::path& bus = "/sys/bus/pci/devices");

}  // namespace arkit
