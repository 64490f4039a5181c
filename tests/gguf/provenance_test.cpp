// Licence and origin, which a GGUF file says in its keys, are in what is made of it.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <arkit/engine/jobs.h>
#include <arkit/file_tool.h>
#include <arkit/mapped_file.h>

#include "gguf_file.h"
#include "jobs/job_testing.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;
using testing::contains;
using testing::registry;
using testing::TemporaryFolder;

class GgufProvenance : public ::testing::Test {
 protected:
  GgufProvenance() : file_(folder_.path() / "Tiny-Model-Q4_K_M.gguf") {
    fs::copy_file(fs::path(ARKIT_TEST_DATA) / "gguf/llama_quantize-q4_k_m.gguf", file_);
    set({"general.license=string:other", "general.license.name=string:tiny-licence",
         "general.license.link=string:https://example.org/" + std::string(70, 'x'), "general.author=string:Ada",
         "general.basename=string:Tiny", "general.size_label=9M", R"(general.tags=["chat", "small"])",
         R"(general.languages=["en", "de"])", "general.url=string:https://example.org",
         "general.base_model.count=u32:1", "general.base_model.0.name=string:Base",
         "general.base_model.0.repo_url=string:https://huggingface.co/owner/Base", "general.source.url=string:http://x",
         "general.uuid=string:0000", "general.quantized_by=string:somebody"});
  }

  void set(std::vector<std::string> assignments) {
    (void)dynamic_cast<const FileTool&>(registry().reader("gguf"))
        .work_on(file_, SetMetadata{.set = std::move(assignments)});
  }
  [[nodiscard]] static fs::path only_gguf(const fs::path& folder) {
    for (const fs::directory_entry& entry : fs::directory_iterator(folder))
      if (entry.path().extension() == ".gguf") return entry.path();
    ADD_FAILURE() << "no file in " << folder;
    return {};
  }
  fs::path quantized() {
    QuantizeOptions options;
    options.model = file_.string();
    options.formats = {"gguf:q8_0"};
    options.recipe = "rtn";
    options.tuning.disable_opt_rtn = true;
    options.output_dir = folder_.path() / "q8";
    (void)quantize(options, registry(), recorder_);
    return options.output_dir;
  }
  fs::path converted(const fs::path& from, const std::string& format) {
    ConvertOptions options;
    options.model = from.string();
    options.formats = {format};
    options.output_dir = folder_.path() / format;
    (void)convert(options, registry(), recorder_);
    return options.output_dir;
  }
  static std::string text(const fs::path& file) {
    std::ifstream in(file);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  TemporaryFolder folder_;
  fs::path file_;
  testing::Recorder recorder_;
};

TEST_F(GgufProvenance, IsInTheFileThatIsMadeOfAFile) {
  const fs::path folder = quantized();
  const MappedFile before(file_), after(only_gguf(folder));
  const gguf::File source = gguf::parse_gguf(before.bytes(), "'source'"),
                   own = gguf::parse_gguf(after.bytes(), "'own'");
  for (const char* key : {"general.license", "general.license.name", "general.license.link", "general.author",
                          "general.basename", "general.size_label", "general.url", "general.base_model.0.name",
                          "general.base_model.0.repo_url", "general.source.url"}) {
    ASSERT_TRUE(own.metadata.text(key).has_value()) << key;
    EXPECT_EQ(own.metadata.text(key), source.metadata.text(key)) << key;
  }
  EXPECT_EQ(own.metadata.integer("general.base_model.count"), 1);
  EXPECT_EQ(own.metadata.texts("general.tags"), (std::vector<std::string_view>{"chat", "small"}));
  EXPECT_EQ(own.metadata.texts("general.languages"), (std::vector<std::string_view>{"en", "de"}));
  // What only the new file can say.
  EXPECT_EQ(own.metadata.text("general.quantized_by"), "arkit");
  EXPECT_EQ(own.metadata.text("general.name"), "Tiny-Model");
  EXPECT_EQ(own.metadata.integer("general.file_type"), 7);
  EXPECT_FALSE(own.metadata.contains("general.uuid"));
  EXPECT_TRUE(contains(text(folder / "README.md"), "license: other\nlicense_name: tiny-licence\n"))
      << text(folder / "README.md");
}

TEST_F(GgufProvenance, IsInTheCardOfAFolderAndComesBack) {
  const fs::path folder = converted(file_, "hf");
  const std::string card = text(folder / "README.md");
  EXPECT_TRUE(contains(card, "base_model: owner/Base\n")) << card;
  EXPECT_TRUE(contains(card, "language:\n- en\n- de\n")) << card;
  const MappedFile map(only_gguf(converted(folder, "gguf")));
  const gguf::File own = gguf::parse_gguf(map.bytes(), "'own'");
  EXPECT_EQ(own.metadata.text("general.license"), "other");
  EXPECT_EQ(own.metadata.text("general.license.name"), "tiny-licence");
  EXPECT_EQ(own.metadata.text("general.license.link"), "https://example.org/" + std::string(70, 'x'));
  EXPECT_EQ(own.metadata.text("general.base_model.0.repo_url"), "https://huggingface.co/owner/Base");
  EXPECT_EQ(own.metadata.texts("general.languages"), (std::vector<std::string_view>{"en", "de"}));
}

// A key that cannot be read keeps nobody from the model.
TEST_F(GgufProvenance, LeavesOutWhatIsNoText) {
  set({"general.description=string:DAMAGED_HERE", "general.doi=u32[]:[1]"});
  std::string bytes = text(file_);
  const size_t at = bytes.find("DAMAGED_HERE");
  ASSERT_NE(at, std::string::npos);
  bytes[at] = '\xff';
  std::ofstream(file_, std::ios::binary) << bytes;
  const MappedFile map(only_gguf(quantized()));
  const gguf::File own = gguf::parse_gguf(map.bytes(), "'own'");
  EXPECT_FALSE(own.metadata.contains("general.description"));
  EXPECT_FALSE(own.metadata.contains("general.doi"));
  EXPECT_EQ(own.metadata.text("general.author"), "Ada");
}

}  // namespace
}  // namespace arkit
