#include "plugins/backend_door/calls.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <arkit/log.h>
#include <arkit/str.h>

#include "plugins/backend_door/host_table.h"

namespace arkit::backend_door {

std::string Words::said(std::string_view otherwise) const {
  const std::string text =
      printable(std::string_view(bytes_.data(), strnlen(bytes_.data(), bytes_.size())), bytes_.size());
  return text.empty() ? std::string(otherwise) : text;
}

Calls::Calls(const ArkitBackendManifest& manifest, plugins::OriginPtr origin) : origin_(std::move(origin)) {
  const ArkitBackend* given = nullptr;
  call("open()", [&](ArkitText* why) { return manifest.open(&door(), &given, why); });
  if (given == nullptr) refuse("gave nothing back from open()");
  if (given->struct_size < ARKIT_BACKEND_SIZE_1_0)
    refuse(str("has a table of ", given->struct_size, " bytes, this arkit expects at least ", ARKIT_BACKEND_SIZE_1_0));
  std::memcpy(&table_, given, std::min(given->struct_size, sizeof(table_)));
  const std::pair<bool, std::string_view> needed[] = {
      {table_.close != nullptr, "close"},       {table_.devices != nullptr, "devices"},
      {table_.supports != nullptr, "supports"}, {table_.prepare != nullptr, "prepare"},
      {table_.release != nullptr, "release"},   {table_.run != nullptr, "run"}};
  for (const auto& [there, name] : needed)
    if (!there) refuse(str("has no function ", name, "()"));
}

Calls::~Calls() {
  const plugins::Running running(*origin_, "close()");
  if (table_.close != nullptr) table_.close(table_.self);
}

bool Calls::has_memory() const noexcept {
  return table_.allocate_memory != nullptr && table_.free_memory != nullptr && table_.copy_in != nullptr &&
         table_.copy_out != nullptr && table_.create_stream != nullptr && table_.destroy_stream != nullptr &&
         table_.synchronize != nullptr;
}

void Calls::fail(std::string_view name, ArkitStatus status, const Words& words) const {
  if (status == ARKIT_STOPPED) throw_if_interrupted();
  const auto for_the_user = [&](ErrorCode code) {
    throw plugins::NamedError(code, origin_->shipped ? words.said() : str(words.said(), " [", origin_->text(), "]"));
  };
  if (status == ARKIT_BAD_INPUT) for_the_user(ErrorCode::input);
  if (status == ARKIT_UNSUPPORTED) for_the_user(ErrorCode::unsupported);
  if (status == ARKIT_RESOURCE) for_the_user(ErrorCode::resource);
  throw plugins::NamedError(origin_->shipped ? ErrorCode::internal : ErrorCode::plugin,
                            str(origin_->text(), ": ", name, " of its ", origin_->component,
                                status == ARKIT_MISUSED ? " was misused: " : " failed: ", words.said()));
}

void Calls::refuse(const std::string& what) const {
  throw plugins::NamedError(ErrorCode::plugin, str(origin_->text(), ": its ", origin_->component, " ", what));
}

}  // namespace arkit::backend_door
