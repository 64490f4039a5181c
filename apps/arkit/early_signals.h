#pragma once
// Signals before the half that works is there to stop cleanly (apps/arkit/run.cpp): its libraries take 0.2 s to open.

#include "error_report.h"

namespace arkit::cli {

// From now on SIGINT, SIGTERM and SIGHUP end the program with exit code 130 and the sentence of every interrupted run.
// Nothing is open yet that would have to be removed.
void end_on_signals(ErrorStyle style);

}  // namespace arkit::cli
