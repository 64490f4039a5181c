#pragma once
// A model behind a server of our own, on a free port that only this machine reaches, for as long as this lives.

#include <memory>
#include <string>

#include <arkit/engine/task_eval.h>
#include <arkit/log.h>
#include <arkit/registry.h>

namespace arkit::harness {

class ServedModel {
 public:
  // Loads the model and answers requests from now on. Throws what opening a model throws.
  ServedModel(const TaskModelOptions& model, const std::string& dtype, const Registry& registry, Reporter& reporter);
  ~ServedModel();  // gives up requests that are on their way

  [[nodiscard]] std::string url() const;  // "http://127.0.0.1:40123"
  [[nodiscard]] std::string name() const;
  // Throws what the server ended with, if it has.
  void check() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace arkit::harness
