#include "tuning/index_sampler.h"

#include <gtest/gtest.h>

#include <arkit/error.h>

#include "tuning/vectors.h"

namespace arkit::test {
namespace {

void expect_batches(const char* name) {
  const json::Object& vector = vector_case(name);
  const json::Object& p = vector.at("params").as_object();
  PythonRandom random(p.at("seed").to_number<uint64_t>());
  IndexSampler sampler(p.at("nsamples").to_number<int64_t>(), p.at("batch").to_number<int64_t>(), random);
  for (const json::Value& batch : vector.at("outputs").as_object().at("batches").as_array()) {
    const std::span<const int64_t> next = sampler.next();
    const std::vector<double> expected = numbers_of(batch);
    EXPECT_EQ(std::vector<double>(next.begin(), next.end()), expected);
  }
}

TEST(IndexSampler, DrawsTheReferencesBatches) {
  expect_batches("index_sampler_seed42_n16_b8");
}

TEST(IndexSampler, DropsAnIncompleteTail) {
  expect_batches("index_sampler_seed42_n10_b4");
}

TEST(IndexSampler, RefusesABatchLargerThanTheSamples) {
  PythonRandom random(42);
  EXPECT_THROW(IndexSampler(4, 5, random), Error);
}

}  // namespace
}  // namespace arkit::test
