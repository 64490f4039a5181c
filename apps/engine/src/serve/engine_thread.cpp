#include "serve/engine_thread.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include <arkit/str.h>

#include "util/seconds.h"

namespace arkit::serve {

EngineThread::EngineThread(Session& session, int64_t most_waiting)
    : session_(session), most_waiting_(most_waiting), thread_([this] { run(); }) {}

EngineThread::~EngineThread() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  wakes_.notify_one();
  thread_.join();
}

std::optional<int64_t> EngineThread::submit(std::vector<SessionRequest> texts, std::shared_ptr<TextOwner> owner) {
  const std::lock_guard lock(mutex_);
  const auto count = static_cast<int64_t>(texts.size());
  if (given_texts_ + counts_.session.waiting + count > most_waiting_) return std::nullopt;
  given_texts_ += count;
  given_.push_back({next_list_, std::move(texts), std::move(owner)});
  wakes_.notify_one();
  return next_list_++;
}

void EngineThread::cancel(int64_t list) {
  const std::lock_guard lock(mutex_);
  cancelled_.push_back(list);
  wakes_.notify_one();
}

EngineCounts EngineThread::counts() const {
  const std::lock_guard lock(mutex_);
  EngineCounts counts = counts_;
  counts.queued = given_texts_;
  return counts;
}

void EngineThread::run() {
  for (;;) {
    std::vector<List> lists;
    std::vector<int64_t> cancelled;
    {
      std::unique_lock lock(mutex_);
      wakes_.wait(lock, [&] { return ends_ || !given_.empty() || !cancelled_.empty() || session_.unfinished() > 0; });
      if (ends_) break;
      lists = std::exchange(given_, {});
      cancelled = std::exchange(cancelled_, {});
    }
    take(std::move(lists), cancelled);
    step();
    publish();
  }
  const Error stopped(ErrorCode::interrupted, "the server was stopped");
  for (auto& [id, text] : texts_) text.owner->failed(text.index, stopped);
  const std::lock_guard lock(mutex_);
  for (const List& list : given_)
    for (size_t i = 0; i < list.texts.size(); ++i) list.owner->failed(i, stopped);
}

void EngineThread::take(std::vector<List> lists, const std::vector<int64_t>& cancelled) {
  for (List& list : lists) add(list);
  for (const int64_t list : cancelled) drop(list);
}

void EngineThread::add(List& list) {
  for (size_t i = 0; i < list.texts.size(); ++i) try {
      own_.prompt_tokens += static_cast<int64_t>(list.texts[i].prompt.size());
      texts_[session_.add(list.texts[i])] = {list.number, i, list.owner, false};
    } catch (const Error& error) {
      ++own_.failed;
      list.owner->failed(i, error);
    } catch (const std::exception& error) {
      ++own_.failed;
      list.owner->failed(i, Error(ErrorCode::resource, error.what()));
    }
}

void EngineThread::drop(int64_t list) {
  std::erase_if(texts_, [&](const auto& one) {
    if (one.second.list != list) return false;
    (void)session_.cancel(one.first);
    ++own_.cancelled;
    return true;
  });
}

void EngineThread::step() {
  if (session_.unfinished() == 0) return;
  const auto start = std::chrono::steady_clock::now();
  try {
    std::vector<SessionToken> made = session_.step();
    ++own_.steps;
    own_.step_seconds += seconds_since(start);
    for (SessionToken& token : made) hand_over(std::move(token));
  } catch (const std::exception& error) {
    // Whatever it was, it may have left any of them half done.
    const auto* own = dynamic_cast<const Error*>(&error);
    const Error said = own != nullptr ? *own : Error(ErrorCode::resource, str("computing failed: ", error.what()));
    for (auto& [id, text] : texts_) {
      (void)session_.cancel(id);
      ++own_.failed;
      text.owner->failed(text.index, said);
    }
    texts_.clear();
  }
}

void EngineThread::hand_over(SessionToken&& token) {
  const auto found = texts_.find(token.sequence);
  if (found == texts_.end()) return;
  Text& text = found->second;
  const int64_t id = token.sequence;
  const bool last = token.last;
  if (token.token >= 0) ++own_.new_tokens;
  if (!std::exchange(text.began, true)) own_.reused_tokens += token.reused;
  const bool goes_on = text.owner->token(text.index, std::move(token));
  if (last) {
    ++own_.ended;
  } else if (!goes_on) {
    (void)session_.cancel(id);
    ++own_.ended;
  } else {
    return;
  }
  texts_.erase(found);
}

// What others may know between two steps.
void EngineThread::publish() {
  own_.session = session_.state();
  const std::lock_guard lock(mutex_);
  counts_ = own_;
  given_texts_ = 0;
  for (const List& list : given_) given_texts_ += static_cast<int64_t>(list.texts.size());
}

}  // namespace arkit::serve
