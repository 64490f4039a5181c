// embed MODEL OUTPUT_DIR: rounds a model to 4 bits, prints what became of it, and writes it for AutoRound's readers.
#include <iostream>

#include <arkit/engine/jobs.h>
#include <arkit/error.h>

int main(int argc, char** argv) try {
  if (argc != 3) arkit::throw_usage("usage: embed MODEL OUTPUT_DIR");
  const arkit::Registry registry(arkit::default_search({}));
  arkit::Reporter silent;
  arkit::QuantizeOptions options;
  options.model = argv[1];
  options.output_dir = argv[2];
  options.scheme = "W4A16";
  options.recipe = "rtn";
  options.formats = {"auto_round"};
  std::cout << arkit::json::dump(arkit::quantize(options, registry, silent), 2) << '\n';
} catch (const arkit::Error& error) {
  std::cerr << "embed: " << error.what() << '\n';
  return error.exit_code();
}
