#pragma once
// The one thread that computes: texts come through a bounded queue, and what is made of them goes to whoever gave them.

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <arkit/engine/session.h>
#include <arkit/error.h>

namespace arkit::serve {

// Who gave texts. Called by the engine's thread, one call at a time; nothing may be thrown.
class TextOwner {
 public:
  virtual ~TextOwner() = default;
  // Of the text that was given as number `text` of its list; false = it ends here.
  [[nodiscard]] virtual bool token(size_t text, SessionToken&& token) = 0;
  // A text ends without another token, for a fault.
  virtual void failed(size_t text, const Error& error) = 0;
};

struct EngineCounts {
  SessionState session;
  int64_t queued = 0;  // texts the session does not have yet
  int64_t ended = 0, cancelled = 0, failed = 0;
  int64_t prompt_tokens = 0, new_tokens = 0, reused_tokens = 0;
  int64_t steps = 0;
  double step_seconds = 0;
};

class EngineThread {
 public:
  // `session` outlives it. At most `most_waiting` texts wait, those in the session's own queue among them.
  EngineThread(Session& session, int64_t most_waiting);
  ~EngineThread();  // gives up what is left
  EngineThread(const EngineThread&) = delete;
  EngineThread& operator=(const EngineThread&) = delete;

  // Number of the list for cancel(); nullopt when there is no room for all of it. Faults of single texts are said to
  // the owner.
  [[nodiscard]] std::optional<int64_t> submit(std::vector<SessionRequest> texts, std::shared_ptr<TextOwner> owner);
  // What is left of a list; nothing when it has ended. The owner hears of it no more once a step has passed.
  void cancel(int64_t list);
  [[nodiscard]] EngineCounts counts() const;

 private:
  struct List {
    int64_t number = 0;
    std::vector<SessionRequest> texts;
    std::shared_ptr<TextOwner> owner;
  };
  struct Text {
    int64_t list = 0;
    size_t index = 0;
    std::shared_ptr<TextOwner> owner;
    bool began = false;
  };
  void run();
  void take(std::vector<List> lists, const std::vector<int64_t>& cancelled);
  void add(List& list);
  void drop(int64_t list);
  void step();
  void hand_over(SessionToken&& token);
  void publish();

  Session& session_;
  const int64_t most_waiting_;
  mutable std::mutex mutex_;
  std::condition_variable wakes_;
  std::vector<List> given_;
  std::vector<int64_t> cancelled_;
  int64_t given_texts_ = 0;
  int64_t next_list_ = 0;
  bool ends_ = false;
  EngineCounts counts_;
  // Of the thread alone.
  std::map<int64_t, Text> texts_;  // by their number in the session
  EngineCounts own_;
  std::thread thread_;
};

}  // namespace arkit::serve
