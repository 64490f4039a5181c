#include "calibration/dataset_registry.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <optional>
#include <vector>

#include <arkit/error.h>
#include <arkit/str.h>

#include "hub/settings.h"

namespace arkit::calibration {
namespace {

namespace fs = std::filesystem;

constexpr std::array kDatasets{
    KnownDataset{"NeelNanda/pile-10k pile-10k", "NeelNanda/pile-10k", "train", "text", "",
                 "10000 documents of the Pile; AutoRound's default"},
    KnownDataset{"HuggingFaceFW/fineweb-edu AI-ModelScope/fineweb-edu fineweb-edu", "HuggingFaceFW/fineweb-edu",
                 "train", "text", "", "educational web pages"},
    KnownDataset{"BAAI/CCI3-HQ CCI3-HQ", "BAAI/CCI3-HQ", "train", "text", "", "Chinese web pages"},
    KnownDataset{"codeparrot/github-code-clean github-code-clean", "codeparrot/github-code-clean", "train", "code", "",
                 "source code with permissive licences"},
    KnownDataset{"nvidia/OpenCodeInstruct opencode-instruct", "nvidia/OpenCodeInstruct", "train", "input output",
                 "\n\n", "programming tasks with answers"},
    KnownDataset{"HuggingFaceH4/ultrachat_200k ultrachat_200k", "HuggingFaceH4/ultrachat_200k", "train_sft", "messages",
                 "", "conversations"},
    KnownDataset{"openbmb/Ultra-FineWeb", "openbmb/Ultra-FineWeb", "en", "content", "",
                 "filtered web pages (en or zh)"},
    KnownDataset{"madao33/new-title-chinese new-title-chinese", "madao33/new-title-chinese", "train", "content", "",
                 "Chinese news"},
    KnownDataset{"mbpp google-research-datasets/mbpp", "google-research-datasets/mbpp", "train", "text code", "",
                 "small Python programs"},
    KnownDataset{"audiocaps AudioCaps", "d0rj/audiocaps", "train", "caption", "", "captions of sounds"},
};

// The files of the cached snapshot: the one refs/main names, else any.
std::vector<fs::path> cached_files(const KnownDataset& dataset) {
  std::string folder = "datasets--";
  for (const char c : dataset.hub_id) folder += c == '/' ? std::string("--") : std::string(1, c);
  const fs::path root = hub::hugging_face_cache() / folder;
  std::string commit;
  std::ifstream(root / "refs" / "main") >> commit;
  std::error_code error;
  fs::path snapshot = root / "snapshots" / commit;
  if (commit.empty() || commit.find('/') != std::string::npos) snapshot = root / "snapshots";
  std::vector<fs::path> files;
  for (fs::recursive_directory_iterator it(snapshot, error), end; !error && it != end; it.increment(error))
    if (it->is_regular_file(error)) files.push_back(it->path());
  std::sort(files.begin(), files.end());
  return files;
}

// A data file that arkit reads, one of the wanted split if its path says so.
std::optional<fs::path> readable_file(const std::vector<fs::path>& files, std::string_view split) {
  std::optional<fs::path> any;
  for (const fs::path& file : files) {
    const std::string extension = lower(file.extension().string()), stem = file.stem().string();
    if (extension != ".jsonl" && extension != ".json") continue;
    if (stem == "dataset_infos" || stem == "config" || stem == "dataset_dict" || stem == "state") continue;
    if (stem.find(split) != std::string::npos) return file;
    if (!any) any = file;
  }
  return any;
}

std::string convert_command(const KnownDataset& dataset, std::string_view split) {
  return str("python -c \"from datasets import load_dataset; load_dataset('", dataset.hub_id, "', split='", split,
             "').to_json('", dataset.hub_id.substr(dataset.hub_id.find('/') + 1), ".jsonl')\"");
}

}  // namespace

std::span<const KnownDataset> known_datasets() {
  return kDatasets;
}

const KnownDataset* find_dataset(std::string_view name) {
  for (const KnownDataset& dataset : kDatasets)
    for (const std::string& known : split(dataset.names, ' '))
      if (known == name) return &dataset;
  const size_t slash = name.rfind('/');
  const std::string_view last = slash == std::string_view::npos ? name : name.substr(slash + 1);
  if (last.empty()) return nullptr;
  for (const KnownDataset& dataset : kDatasets)
    for (const std::string& known : split(dataset.names, ' '))
      if (known.find(last) != std::string::npos) return &dataset;
  return nullptr;
}

fs::path cached_dataset_file(const KnownDataset& dataset, std::string_view split) {
  const std::vector<fs::path> files = cached_files(dataset);
  if (auto file = readable_file(files, split)) return *std::move(file);
  const std::string cache = hub::hugging_face_cache().string();
  const std::string cure = str("make a file arkit reads with ", convert_command(dataset, split),
                               " and give its name; '--dataset self' needs no data at all");
  for (const fs::path& file : files)
    if (file.extension() == ".parquet" || file.extension() == ".arrow")
      throw_input(str("dataset '", dataset.hub_id, "': the cache holds it as '", file.filename().string(),
                      "', which arkit cannot read (it reads .jsonl, .json and .txt); ", cure));
  throw_input(str("dataset '", dataset.hub_id, "': not in the local Hugging Face cache '", cache,
                  "', and arkit downloads nothing; ", cure));
}

json::Array list_datasets() {
  json::Array list;
  list.push_back(json::Object{{"name", "self"},
                              {"source", "the model itself"},
                              {"split", nullptr},
                              {"summary", "text the model writes by seeded sampling; needs no download"},
                              {"available", true}});
  for (const KnownDataset& dataset : kDatasets) {
    const std::vector<std::string> names = split(dataset.names, ' ');
    json::Array others;
    for (size_t i = 1; i < names.size(); ++i) others.emplace_back(names[i]);
    list.push_back(json::Object{{"name", names.front()},
                                {"also", std::move(others)},
                                {"source", dataset.hub_id},
                                {"split", dataset.split},
                                {"summary", dataset.summary},
                                {"available", readable_file(cached_files(dataset), dataset.split).has_value()}});
  }
  list.push_back(json::Object{{"name", "FILE.json, FILE.jsonl, FILE.txt, FILE.safetensors"},
                              {"source", "a local file"},
                              {"split", nullptr},
                              {"summary", "documents, running text, or token ids (input_ids)"},
                              {"available", true}});
  return list;
}

}  // namespace arkit::calibration
