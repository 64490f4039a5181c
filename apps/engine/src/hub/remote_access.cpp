#include "hub/remote_access.h"

#include <cstring>

#include <arkit/error.h>
#include <arkit/str.h>

#include "hub/local_file.h"
#include "hub/repo_names.h"
#include "hub/retries.h"

namespace arkit::hub {
namespace {

class RemoteAccess final : public RandomAccess {
 public:
  RemoteAccess(TransferContext context, Snapshot snapshot, RemoteFile file, std::function<void()> doubted)
      : context_(context),
        snapshot_(std::move(snapshot)),
        file_(std::move(file)),
        doubted_(std::move(doubted)),
        what_(str(describe(snapshot_.repo), ": '", file_.path, "'")) {}

  int64_t size() const override { return file_.size; }

  void read(int64_t offset, int64_t count, void* to) override {
    require_inside(offset, count, file_.size, what_);
    Retries retries(context_.settings, context_.voice, what_, context_.pool.stop());
    for (int64_t done = 0; done < count;) {
      try {
        request(offset, count, static_cast<char*>(to), done, retries);
      } catch (const WrongFile&) {
        doubted_();
        throw;
      } catch (const NetworkFault& fault) {
        retries.after(fault);
      }
    }
  }

 private:
  // Asks for what is missing after `done`.
  void request(int64_t offset, int64_t count, char* to, int64_t& done, Retries& retries) {
    Request request{
        .url = context_.protocol.file_url(snapshot_, file_.path), .begin = offset + done, .end = offset + count};
    request.on_start = [&](const Response& answer) { require_part(answer, offset + done); };
    request.on_body = [&](std::string_view bytes) {
      if (static_cast<int64_t>(bytes.size()) > count - done)
        throw_resource(str(what_, ": the hub sends more than it is asked for"));
      std::memcpy(to + done, bytes.data(), bytes.size());
      done += static_cast<int64_t>(bytes.size());
      retries.progress(done);
    };
    const Response response = context_.pool.use([&](Http& http) { return http.get(request); });
    if (response.ok() && done < count)
      throw NetworkFault(str("'", origin_of(response.url), "': ended early"), NetworkFault::Kind::broken);
    if (response.ok()) return;
    if (!Retries::is_passing(response)) context_.protocol.refuse(response, snapshot_.repo, file_.path);
    retries.after(response);
  }

  // Whole files are fetched, not opened: a hub without ranges would send gigabytes for a few bytes.
  void require_part(const Response& answer, int64_t begin) const {
    const std::string_view range = answer.header("content-range");
    const std::string expected = str("bytes ", begin, "-");
    const std::string total = str("/", file_.size);
    if (answer.status == 200 && begin == 0 && answer.header("content-length") == std::to_string(file_.size)) return;
    if (answer.status != 206 || !range.starts_with(expected) || !range.ends_with(total))
      throw WrongFile(str(what_, ": the hub does not send the bytes it is asked for ('", printable(range, 60),
                          "'); it has no ranges, or another file than it lists"));
  }

  TransferContext context_;
  Snapshot snapshot_;
  RemoteFile file_;
  std::function<void()> doubted_;
  std::string what_;
};

}  // namespace

std::unique_ptr<RandomAccess> open_remote(TransferContext context, const Snapshot& snapshot, const RemoteFile& file,
                                          std::function<void()> doubted) {
  return std::make_unique<RemoteAccess>(context, snapshot, file, std::move(doubted));
}

}  // namespace arkit::hub
