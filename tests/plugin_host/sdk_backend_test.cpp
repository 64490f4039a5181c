// The C++ wrapper seen from the C side, as a host of another age would call it. No LibTorch here.
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <arkit/backend_c.h>

namespace {

constexpr char kDevice[] = ARKIT_FIXTURES "/virtual_device/libarkit_backend_virtual_device.so";

uint32_t host_minor = 0;

const ArkitHost* host_of(uint32_t major, uint32_t) {
  static ArkitHost host = {sizeof(ArkitHost), 1, 0, "test", "cpu", 0, 1, [](ArkitHeld*) {}, [] { return 0; }};
  host.minor = host_minor;
  return major == 1 ? &host : nullptr;
}

struct Words {
  std::array<char, 200> bytes{};
  ArkitText text{sizeof(ArkitText), bytes.data(), bytes.size(), 0};
  std::string said() const { return bytes.data(); }
};

// A layer of two rows and three columns, twice as long as the header says, so that readers of more would see rubbish.
struct Layer {
  struct Longer {
    ArkitLinear linear;
    std::array<unsigned char, 64> rubbish;
  } longer{};
  ArkitQuant quant{};
  const ArkitLinear* one = &longer.linear;
  struct LongerUnit {
    ArkitUnit unit;
    std::array<unsigned char, 64> rubbish;
  } unit{};

  Layer() {
    quant.struct_size = sizeof(quant);
    quant.data_type = "float";
    quant.bits = 16;
    longer.rubbish.fill(0xEE);
    unit.rubbish.fill(0xEE);
    longer.linear = {sizeof(longer), "l", "any", "", &quant, &quant, 2, 3, 0, 0};
    unit.unit = {sizeof(unit), ARKIT_UNIT_LINEARS, &one, 1};
  }
};

class SdkBackend : public testing::Test {
 protected:
  void SetUp() override {
    void* library = ::dlopen(kDevice, RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(library, nullptr) << ::dlerror();
    manifest_ = static_cast<const ArkitBackendManifest*>(::dlsym(library, "arkit_backend_manifest"));
    ASSERT_NE(manifest_, nullptr);
    const ArkitDoor door{sizeof(ArkitDoor), host_of};
    ASSERT_EQ(manifest_->open(&door, &table_, &words_.text), ARKIT_OK) << words_.said();
    ASSERT_EQ(table_->devices(table_->self, &devices_, &count_, &words_.text), ARKIT_OK);
    ASSERT_EQ(count_, 2U);
  }
  void TearDown() override {
    if (table_ != nullptr) table_->close(table_->self);
  }

  // Ends with one of the functions that give weights.
  ArkitStatus prepare(const void* blob, size_t blob_size, ArkitPrepared** prepared) {
    static constexpr int64_t kShape[] = {2, 3};
    static float weight[] = {0, 1, 2, 3, 4, 5};
    const ArkitWeights weights = {sizeof(ArkitWeights),
                                  nullptr,
                                  nullptr,
                                  0,
                                  [](void*, const char*, ArkitTensor*) -> ArkitStatus { return ARKIT_STOPPED; },
                                  [](void*, const char*, ArkitTensor* out) -> ArkitStatus {
                                    *out = {sizeof(ArkitTensor), nullptr, 0, 0, nullptr, nullptr, 0};
                                    return ARKIT_OK;
                                  },
                                  [](void*, ArkitType, ArkitTensor* out, ArkitHeld**) -> ArkitStatus {
                                    *out = {sizeof(ArkitTensor), kShape, 2, ARKIT_FLOAT32, weight, nullptr, 0};
                                    return ARKIT_OK;
                                  }};
    const ArkitWeights* const all[] = {&weights};
    const ArkitPrepare request = {
        sizeof(ArkitPrepare), &layer_.unit.unit, devices_[0], all, ARKIT_FLOAT32, 0, blob, blob_size, nullptr, nullptr};
    ArkitPreparedInfo info{};
    info.struct_size = sizeof(info);
    const ArkitStatus status = table_->prepare(table_->self, &request, prepared, &info, &words_.text);
    if (status == ARKIT_OK) {
      EXPECT_EQ(info.bytes, 24);
      EXPECT_EQ(info.x_type, ARKIT_FLOAT32);
    }
    return status;
  }

  // x = 1 2 3 through the device's memory.
  std::array<float, 2> product(ArkitPrepared* prepared) {
    static constexpr int64_t kX[] = {1, 3}, kY[] = {1, 2};
    constexpr float kInput[] = {1, 2, 3};
    std::array<float, 2> result{-1, -1};
    void* self = table_->self;
    ArkitBuffer* memory = nullptr;
    ArkitStream* stream = nullptr;
    EXPECT_EQ(table_->allocate_memory(self, devices_[0], 64, &memory, &words_.text), ARKIT_OK);
    EXPECT_EQ(table_->create_stream(self, devices_[0], &stream, &words_.text), ARKIT_OK);
    const ArkitTensor x{sizeof(ArkitTensor), kX, 2, ARKIT_FLOAT32, nullptr, memory, 0};
    const ArkitTensor y{sizeof(ArkitTensor), kY, 2, ARKIT_FLOAT32, nullptr, memory, 32};
    const ArkitTensor* const ys[] = {&y};
    EXPECT_EQ(table_->copy_in(self, memory, 0, kInput, sizeof(kInput), stream, &words_.text), ARKIT_OK);
    EXPECT_EQ(table_->run(self, prepared, &x, ys, 1, stream, &words_.text), ARKIT_OK) << words_.said();
    EXPECT_EQ(table_->copy_out(self, result.data(), memory, 32, sizeof(result), stream, &words_.text), ARKIT_OK);
    EXPECT_EQ(result[0], -1.0F) << "kernels run only when the stream is synchronized";
    EXPECT_EQ(table_->synchronize(self, stream, &words_.text), ARKIT_OK) << words_.said();
    table_->destroy_stream(self, stream);
    table_->free_memory(self, memory);
    return result;
  }

  const ArkitBackendManifest* manifest_ = nullptr;
  const ArkitBackend* table_ = nullptr;
  const ArkitDevice* const* devices_ = nullptr;
  size_t count_ = 0;
  Layer layer_;
  Words words_;
};

}  // namespace

TEST_F(SdkBackend, RunsUnitsOfAHostWithLongerStructs) {
  ArkitPrepared* prepared = nullptr;
  ASSERT_EQ(prepare(nullptr, 0, &prepared), ARKIT_OK) << words_.said();
  EXPECT_EQ(product(prepared), (std::array<float, 2>{8, 26}));
  table_->release(table_->self, prepared);
}

// Else the models that run on it would prove nothing.
TEST_F(SdkBackend, TheMemoryOfTheVirtualDeviceCannotBeReadHere) {
  ArkitBuffer* memory = nullptr;
  ASSERT_EQ(table_->allocate_memory(table_->self, devices_[0], 64, &memory, &words_.text), ARKIT_OK);
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  EXPECT_EQ(::write(ends[1], memory, 1), -1);
  EXPECT_EQ(errno, EFAULT);
  ::close(ends[0]);
  ::close(ends[1]);
  table_->free_memory(table_->self, memory);
}

TEST_F(SdkBackend, KeepsWhatItRepackedAndStartsFromIt) {
  ArkitPrepared *prepared = nullptr, *again = nullptr;
  ASSERT_EQ(prepare(nullptr, 0, &prepared), ARKIT_OK) << words_.said();
  std::vector<char> blob;
  const ArkitSink sink{sizeof(ArkitSink), &blob, [](void* self, const void* bytes, size_t count) -> ArkitStatus {
                         auto& to = *static_cast<std::vector<char>*>(self);
                         to.insert(to.end(), static_cast<const char*>(bytes), static_cast<const char*>(bytes) + count);
                         return ARKIT_OK;
                       }};
  ASSERT_EQ(table_->save(table_->self, prepared, &sink, &words_.text), ARKIT_OK) << words_.said();
  table_->release(table_->self, prepared);
  EXPECT_EQ(blob.size(), 24U);
  Words compatibility;
  ASSERT_EQ(table_->blob_compatibility(table_->self, &layer_.unit.unit, devices_[0], &compatibility.text, &words_.text),
            ARKIT_OK);
  EXPECT_EQ(compatibility.said(), "virtual float32 1 virtual");
  ASSERT_EQ(prepare(blob.data(), blob.size(), &again), ARKIT_OK) << words_.said();
  EXPECT_EQ(product(again), (std::array<float, 2>{8, 26}));
  table_->release(table_->self, again);
  EXPECT_EQ(prepare(blob.data(), 8, &again), ARKIT_BAD_INPUT);
}

TEST_F(SdkBackend, AUnitOfTomorrowIsANoWithItsNumber) {
  layer_.unit.unit.kind = ARKIT_UNIT_BLOCK + 1;
  ArkitVerdict verdict{sizeof(ArkitVerdict), 0, 0, 0};
  EXPECT_EQ(table_->supports(table_->self, &layer_.unit.unit, devices_[0], &verdict, &words_.text), ARKIT_UNSUPPORTED);
  EXPECT_EQ(words_.said(), "units of kind 3 are not known to this backend");
}

// Blocks came with 1.2: a backend without them says no, and a description that is cut is the host's mistake.
TEST_F(SdkBackend, BlocksAreDescribedOrRefused) {
  ArkitVerdict verdict{sizeof(ArkitVerdict), 0, 7, 0};
  const ArkitRole role = ARKIT_ROLE_DOWN;
  ArkitBlock block{};
  block.struct_size = sizeof(block);
  block.name = "model.layers.0";
  block.roles = &role;
  layer_.unit.unit.kind = ARKIT_UNIT_BLOCK;
  layer_.unit.unit.block = &block;
  EXPECT_EQ(table_->supports(table_->self, &layer_.unit.unit, devices_[0], &verdict, &words_.text), ARKIT_OK);
  EXPECT_EQ(verdict.score, 0);
  EXPECT_EQ(words_.said(), "block 'model.layers.0': this backend runs layers, not blocks");
  block.struct_size = ARKIT_BLOCK_SIZE_1_2 - 8;
  EXPECT_EQ(table_->supports(table_->self, &layer_.unit.unit, devices_[0], &verdict, &words_.text), ARKIT_MISUSED);
  layer_.unit.unit.struct_size = ARKIT_UNIT_SIZE_1_0;  // of a host that has no blocks to describe
  EXPECT_EQ(table_->supports(table_->self, &layer_.unit.unit, devices_[0], &verdict, &words_.text), ARKIT_MISUSED);
  EXPECT_EQ(words_.said(), "a block has no description");
}

// A host refuses verdicts with flags it does not know.
TEST_F(SdkBackend, FlagsOfTodayAreNotShownToTheHostOfYesterday) {
  for (const uint32_t minor : {2U, 3U}) {
    host_minor = minor;
    const ArkitDoor door{sizeof(ArkitDoor), host_of};
    const ArkitBackend* table = nullptr;
    ASSERT_EQ(manifest_->open(&door, &table, &words_.text), ARKIT_OK) << words_.said();
    ArkitVerdict verdict{sizeof(ArkitVerdict), 0, 0, 0};
    const ArkitDevice* const* devices = nullptr;
    size_t count = 0;
    ASSERT_EQ(table->devices(table->self, &devices, &count, &words_.text), ARKIT_OK);
    EXPECT_EQ(table->supports(table->self, &layer_.unit.unit, devices[0], &verdict, &words_.text), ARKIT_OK);
    EXPECT_GT(verdict.score, 0);
    EXPECT_EQ((verdict.flags & ARKIT_VERDICT_EXACT_TOO) != 0, minor == 3U);
    table->close(table->self);
  }
  host_minor = 0;
}

TEST_F(SdkBackend, TooSmallStructsAreMisuse) {
  ArkitVerdict verdict{sizeof(ArkitVerdict), 0, 0, 0};
  layer_.unit.unit.struct_size = ARKIT_UNIT_SIZE_1_0 - 8;
  EXPECT_EQ(table_->supports(table_->self, &layer_.unit.unit, devices_[0], &verdict, &words_.text), ARKIT_MISUSED);
  EXPECT_EQ(words_.said(), "ArkitUnit is null or has less than 32 bytes");
  layer_.unit.unit.struct_size = sizeof(ArkitUnit);
  EXPECT_EQ(table_->supports(table_->self, &layer_.unit.unit, nullptr, &verdict, &words_.text), ARKIT_MISUSED);
  EXPECT_EQ(words_.said(), "the device is none of those that devices() gave");
}

TEST_F(SdkBackend, TheTextsOfTheCallerAreNeverOverrun) {
  std::array<char, 12> bytes;
  bytes.fill('#');
  ArkitText text{sizeof(ArkitText), bytes.data(), 8, 0};
  ArkitVerdict verdict{sizeof(ArkitVerdict), 0, 0, 0};
  layer_.unit.unit.kind = 77;
  EXPECT_EQ(table_->supports(table_->self, &layer_.unit.unit, devices_[0], &verdict, &text), ARKIT_UNSUPPORTED);
  EXPECT_STREQ(bytes.data(), "units o");
  EXPECT_EQ(text.length, std::strlen("units of kind 77 are not known to this backend"));
  EXPECT_EQ(bytes[8], '#');
}

TEST_F(SdkBackend, AHostWithoutThisMajorIsRefused) {
  const ArkitDoor closed{sizeof(ArkitDoor), [](uint32_t, uint32_t) -> const ArkitHost* { return nullptr; }};
  const ArkitBackend* none = nullptr;
  EXPECT_EQ(manifest_->open(&closed, &none, &words_.text), ARKIT_UNSUPPORTED);
  EXPECT_EQ(words_.said(), "this arkit has no backend door 1.3");
  EXPECT_EQ(none, nullptr);
}
