// `arkit serve`: a model behind HTTP until Ctrl-C.
#include <cstdlib>
#include <string>

#include <arkit/engine/server.h>
#include <arkit/error.h>
#include <arkit/str.h>

#include "command.h"
#include "read_options.h"
#include "render.h"
#include "text_output.h"

namespace arkit::cli {

Result cmd_serve(const Arguments& arguments, Plugins& plugins, Reporter& reporter) {
  ServeOptions options;
  options.model = arguments.positional(0);
  read_options(options, arguments);
  if (!arguments.given("api_key"))
    if (const char* key = std::getenv("ARKIT_API_KEY"); key != nullptr) options.api_key = key;
  Server server(options, plugins.registry(), reporter);
  throw_if_interrupted();
  // A line of its own, for people and for programs that wait for it.
  if (arguments.flag("json"))
    write_piece(
        json::dump(json::Object{
            {"event", "listening"}, {"url", server.url()}, {"port", server.port()}, {"model", server.model()}}) +
        "\n");
  else
    write_piece(str("listening on ", server.url(), "\n"));
  reporter.info(str("requests call the model '", server.model(), "'; a chat page is at ", server.url(),
                    "/; Ctrl-C stops the server"));
  Result result;
  result.json = server.run();
  if (!arguments.flag("json"))
    reporter.info(str("stopped after ", json::dump(result.json.at("requests")), " requests"));
  return result;
}

}  // namespace arkit::cli
