// Guarded exporters and their jobs; as guard.cpp.
#include <memory>
#include <utility>

#include <arkit/exporter_options.h>
#include <arkit/free_mix.h>
#include <arkit/source_check.h>

#include "plugins/guard_base.h"

namespace arkit::plugins {
namespace {

class GuardedExportJob final : public GuardedOwn<ExportJob> {
 public:
  using Guarded::Guarded;
  void add_layer(const LayerRecord& layer) override {
    call("add_layer()", [&](ExportJob& job) { job.add_layer(layer); });
  }
  bool takes_strips(const LayerPlan& layer) const override {
    return call("takes_strips()", [&](const ExportJob& job) { return job.takes_strips(layer); });
  }
  void add_strip(const LayerRecord& strip, int64_t first_row) override {
    call("add_strip()", [&](ExportJob& job) { job.add_strip(strip, first_row); });
  }
  void add_plain(string_view name, const at::Tensor& tensor, bool changed) override {
    call("add_plain()", [&](ExportJob& job) { job.add_plain(name, tensor, changed); });
  }
  void add_attention(const AttentionRanges& ranges) override {
    call("add_attention()", [&](ExportJob& job) { job.add_attention(ranges); });
  }
  ExportReport finish() override {
    return call("finish()", [](ExportJob& job) { return job.finish(); });
  }
};

class GuardedExporter : public Guarded<Exporter> {
 public:
  using Guarded::Guarded;
  const ExporterInfo& info() const noexcept override {
    return call("info()", [](Exporter& e) -> const ExporterInfo& { return e.info(); });
  }
  std::span<const string_view> variants() const override {
    return call("variants()", [](Exporter& e) { return e.variants(); });
  }
  string_view implied_scheme(string_view variant) const override {
    return call("implied_scheme()", [&](Exporter& e) { return e.implied_scheme(variant); });
  }
  Refinement refine(const RefineRequest& request, string_view variant) const override {
    return call("refine()", [&](Exporter& e) { return e.refine(request, variant); });
  }
  bool rounds_without_family(string_view scheme, string_view variant) const override {
    return call("rounds_without_family()", [&](Exporter& e) { return e.rounds_without_family(scheme, variant); });
  }
  Verdict supports(const LayerPlan& layer, string_view variant) const override {
    return call("supports()", [&](Exporter& e) { return e.supports(layer, variant); });
  }
  Verdict supports_plan(const QuantPlan& plan, string_view variant) const override {
    return call("supports_plan()", [&](Exporter& e) { return e.supports_plan(plan, variant); });
  }
  TensorMap pack(const LayerRecord& layer, const QuantPlan& plan, string_view variant) const override {
    return call("pack()", [&](Exporter& e) { return e.pack(layer, plan, variant); });
  }
  QuantizedWeight unpack(const LayerPlan& layer, const TensorMap& packed, const QuantPlan& plan,
                         string_view variant) const override {
    return call("unpack()", [&](Exporter& e) { return e.unpack(layer, packed, plan, variant); });
  }
  int64_t packed_bytes(const LayerPlan& layer, string_view variant) const override {
    return call("packed_bytes()", [&](Exporter& e) { return e.packed_bytes(layer, variant); });
  }
  std::unique_ptr<ExportJob> open(const ExportRequest& request, string_view variant) const override {
    return made<GuardedExportJob>(call("open()", [&](Exporter& e) { return e.open(request, variant); }), "open()");
  }
};

// Of an exporter that has further faces (source_check.h, exporter_options.h).
template <typename Base>
class GuardedCheck : public Base, public SourceCheck {
 public:
  using Base::Base;
  Verdict supports_source(const ModelSource& source, const QuantPlan& plan, string_view variant) const override {
    return this->call("supports_source()", [&](Exporter& e) {
      return dynamic_cast<const SourceCheck&>(e).supports_source(source, plan, variant);
    });
  }
};
template <typename Base>
class GuardedOptions : public Base, public ExporterOptions {
 public:
  using Base::Base;
  std::span<const string_view> option_names() const override {
    return this->call("option_names()",
                      [](Exporter& e) { return dynamic_cast<const ExporterOptions&>(e).option_names(); });
  }
  std::shared_ptr<Exporter> with(const FormatWords& given) const override {
    std::shared_ptr<Exporter> told =
        this->call("with()", [&](Exporter& e) { return dynamic_cast<const ExporterOptions&>(e).with(given); });
    if (told == nullptr) this->refuse("gave nothing back from with()");
    return guard(std::move(told), this->origin());
  }
};

// Of one that mixes freely (free_mix.h), which is a SourceCheck too.
template <typename Base>
class GuardedMix : public Base, public FreeMix {
 public:
  using Base::Base;
  Verdict supports_source(const ModelSource& source, const QuantPlan& plan, string_view variant) const override {
    return this->call("supports_source()", [&](Exporter& e) { return face(e).supports_source(source, plan, variant); });
  }
  LayerQuant fitting(const LayerPlan& layer, string_view variant) const override {
    return this->call("fitting()", [&](Exporter& e) { return face(e).fitting(layer, variant); });
  }
  int64_t file_bytes(const ExportRequest& request, string_view variant) const override {
    return this->call("file_bytes()", [&](Exporter& e) { return face(e).file_bytes(request, variant); });
  }

 private:
  static const FreeMix& face(Exporter& exporter) { return dynamic_cast<const FreeMix&>(exporter); }
};

}  // namespace

std::shared_ptr<Exporter> guard(std::shared_ptr<Exporter> inner, OriginPtr origin) {
  const bool options = dynamic_cast<const ExporterOptions*>(inner.get()) != nullptr;
  if (dynamic_cast<const FreeMix*>(inner.get()) != nullptr) {
    if (options)
      return std::make_shared<GuardedOptions<GuardedMix<GuardedExporter>>>(std::move(inner), std::move(origin));
    return std::make_shared<GuardedMix<GuardedExporter>>(std::move(inner), std::move(origin));
  }
  const bool checks = dynamic_cast<const SourceCheck*>(inner.get()) != nullptr;
  if (options) {
    if (checks)
      return std::make_shared<GuardedOptions<GuardedCheck<GuardedExporter>>>(std::move(inner), std::move(origin));
    return std::make_shared<GuardedOptions<GuardedExporter>>(std::move(inner), std::move(origin));
  }
  if (checks) return std::make_shared<GuardedCheck<GuardedExporter>>(std::move(inner), std::move(origin));
  return std::make_shared<GuardedExporter>(std::move(inner), std::move(origin));
}

}  // namespace arkit::plugins
